package sip

// HeaderID names a header field that the server looks at. All others are
// HeaderOther and pass through untouched.
type HeaderID uint8

// The header fields known by name; compact forms are RFC 3261 §7.3.3, RFC 6665
// §8.4 (o, u), RFC 3841 §10 and the registry of SIP header fields.
const (
	HeaderOther HeaderID = iota
	HeaderVia
	HeaderFrom
	HeaderTo
	HeaderCallID
	HeaderCSeq
	HeaderMaxForwards
	HeaderContentLength
	HeaderContentType
	HeaderContentEncoding
	HeaderContact
	HeaderExpires
	HeaderRoute
	HeaderRecordRoute
	HeaderPath
	HeaderAuthorization
	HeaderProxyAuthorization
	HeaderRequire
	HeaderProxyRequire
	HeaderSupported
	HeaderEvent
	HeaderAllowEvents
	HeaderAccept
	HeaderDate
	HeaderSubject
	HeaderUserAgent
	HeaderPreferredIdentity
	HeaderAssertedIdentity
	HeaderRemotePartyID
	HeaderRetryAfter
	HeaderAllow
	HeaderTimestamp
	HeaderMinExpires
	HeaderSubscriptionState
	HeaderIfMatch
	headerCount
)

// single tells which fields may stand once only (RFC 3261 §7.3.1, §20: no
// comma list in their grammar). RFC 4475 §3.3.8 and §3.3.9 want 400 for more.
var single = [headerCount]bool{
	HeaderFrom: true, HeaderTo: true, HeaderCallID: true, HeaderCSeq: true,
	HeaderMaxForwards: true, HeaderContentLength: true, HeaderContentType: true,
	HeaderExpires: true, HeaderEvent: true, HeaderDate: true, HeaderSubject: true,
	HeaderTimestamp: true, HeaderSubscriptionState: true, HeaderIfMatch: true,
}

// headerID recognizes a field name without regard to case (RFC 3261 §7.3.1).
func headerID(name string) HeaderID {
	if id, ok := exactHeaderID(name); ok {
		return id
	}
	if len(name) > 24 {
		return HeaderOther
	}
	var buf [24]byte
	for i := 0; i < len(name); i++ {
		buf[i] = lower(name[i])
	}
	return lowerHeaderID(string(buf[:len(name)]))
}

// exactHeaderID is the fast path for the spelling that nearly everybody uses.
func exactHeaderID(name string) (HeaderID, bool) {
	switch name {
	case "Via":
		return HeaderVia, true
	case "From":
		return HeaderFrom, true
	case "To":
		return HeaderTo, true
	case "Call-ID":
		return HeaderCallID, true
	case "CSeq":
		return HeaderCSeq, true
	case "Max-Forwards":
		return HeaderMaxForwards, true
	case "Content-Length":
		return HeaderContentLength, true
	case "Content-Type":
		return HeaderContentType, true
	case "Contact":
		return HeaderContact, true
	case "Expires":
		return HeaderExpires, true
	case "User-Agent":
		return HeaderUserAgent, true
	case "Authorization":
		return HeaderAuthorization, true
	case "Proxy-Authorization":
		return HeaderProxyAuthorization, true
	}
	return HeaderOther, false
}

func lowerHeaderID(name string) HeaderID {
	switch name {
	case "via", "v":
		return HeaderVia
	case "from", "f":
		return HeaderFrom
	case "to", "t":
		return HeaderTo
	case "call-id", "i":
		return HeaderCallID
	case "cseq":
		return HeaderCSeq
	case "max-forwards":
		return HeaderMaxForwards
	case "content-length", "l":
		return HeaderContentLength
	case "content-type", "c":
		return HeaderContentType
	case "content-encoding", "e":
		return HeaderContentEncoding
	case "contact", "m":
		return HeaderContact
	case "expires":
		return HeaderExpires
	case "route":
		return HeaderRoute
	case "record-route":
		return HeaderRecordRoute
	case "path":
		return HeaderPath
	case "authorization":
		return HeaderAuthorization
	case "proxy-authorization":
		return HeaderProxyAuthorization
	case "require":
		return HeaderRequire
	case "proxy-require":
		return HeaderProxyRequire
	case "supported", "k":
		return HeaderSupported
	case "event", "o":
		return HeaderEvent
	case "allow-events", "u":
		return HeaderAllowEvents
	case "accept":
		return HeaderAccept
	case "date":
		return HeaderDate
	case "subject", "s":
		return HeaderSubject
	case "user-agent":
		return HeaderUserAgent
	case "p-preferred-identity":
		return HeaderPreferredIdentity
	case "p-asserted-identity":
		return HeaderAssertedIdentity
	case "remote-party-id":
		return HeaderRemotePartyID
	case "retry-after":
		return HeaderRetryAfter
	case "allow":
		return HeaderAllow
	case "timestamp":
		return HeaderTimestamp
	case "min-expires":
		return HeaderMinExpires
	case "subscription-state":
		return HeaderSubscriptionState
	case "sip-if-match":
		return HeaderIfMatch
	}
	return HeaderOther
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
