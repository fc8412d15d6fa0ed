package digest

import (
	"crypto/subtle"
	"encoding/hex"

	"rollcall/sip"
)

// Credentials are what a client sends in Authorization or Proxy-Authorization
// (RFC 7616 §3.4, RFC 3261 §22.4). Values are without their quotes; those read by
// ParseCredentials share memory with the message.
type Credentials struct {
	Username  string
	Realm     string
	Nonce     string
	URI       string
	Algorithm Algorithm
	Response  string // hex
	CNonce    string
	Opaque    string

	// QOP is the value of qop as sent, "auth", or empty for credentials in the
	// form of RFC 2069, to which no nonce count belongs.
	QOP string

	// Count is the nonce count, at least 1, or 0 without QOP. NC is the same as
	// sent, as the hash covers its spelling.
	Count uint32
	NC    string
}

const (
	gotUsername = 1 << iota
	gotRealm
	gotNonce
	gotURI
	gotResponse
	gotAlgorithm
	gotCNonce
	gotOpaque
	gotQOP
	gotNC

	gotMandatory = gotUsername | gotRealm | gotNonce | gotURI | gotResponse
)

// ParseCredentials reads the value of one field. It fails with ErrScheme,
// ErrUnsupported, ErrMalformed or ErrLimits. A field is one set of credentials:
// SIP does not combine them with commas (RFC 3261 §7.3.1).
//
// Unknown parameters are passed over (RFC 7616 §3.4), a known one that stands
// twice is refused: two readers might pick different ones.
func ParseCredentials(field string) (Credentials, error) {
	var c Credentials
	s, err := cutScheme(field)
	if err != nil {
		return Credentials{}, err
	}
	got, unsupported := 0, false
	for n := 0; ; n++ {
		var name, value string
		name, value, s, err = nextParam(s)
		if err != nil {
			return Credentials{}, err
		}
		if name == "" {
			break
		}
		bit := credentialParam(name)
		switch {
		case n == maxParams:
			return Credentials{}, ErrLimits
		case len(value) > maxValue && (bit != gotURI || len(value) > maxURI):
			return Credentials{}, ErrLimits
		case got&bit != 0:
			return Credentials{}, ErrMalformed
		}
		got |= bit
		switch bit {
		case gotUsername:
			c.Username = value
		case gotRealm:
			c.Realm = value
		case gotNonce:
			c.Nonce = value
		case gotURI:
			c.URI = value
		case gotResponse:
			c.Response = value
		case gotAlgorithm:
			var ok bool
			c.Algorithm, ok = ParseAlgorithm(value)
			unsupported = unsupported || !ok
		case gotCNonce:
			c.CNonce = value
		case gotOpaque:
			c.Opaque = value
		case gotQOP:
			c.QOP = value
			unsupported = unsupported || !sip.EqualFold(value, "auth")
		case gotNC:
			// In quotes against the grammar: libpurple does that, and sends no qop
			// with it, so that it counts for nothing.
			c.NC = value
		}
	}
	switch {
	case unsupported:
		return Credentials{}, ErrUnsupported
	case got&gotMandatory != gotMandatory:
		return Credentials{}, ErrMalformed
	case got&gotQOP == 0:
		c.NC = ""
		return c, nil
	case got&gotNC == 0 || got&gotCNonce == 0: // RFC 7616 §3.4: MUST be specified with qop
		return Credentials{}, ErrMalformed
	}
	var ok bool
	if c.Count, ok = parseCount(c.NC); !ok {
		return Credentials{}, ErrMalformed
	}
	return c, nil
}

// credentialParam returns the bit of a parameter, 0 for one that is not known.
func credentialParam(name string) int {
	switch len(name) {
	case 2:
		if sip.EqualFold(name, "nc") {
			return gotNC
		}
	case 3:
		if sip.EqualFold(name, "uri") {
			return gotURI
		}
		if sip.EqualFold(name, "qop") {
			return gotQOP
		}
	case 5:
		if sip.EqualFold(name, "realm") {
			return gotRealm
		}
		if sip.EqualFold(name, "nonce") {
			return gotNonce
		}
	case 6:
		if sip.EqualFold(name, "cnonce") {
			return gotCNonce
		}
		if sip.EqualFold(name, "opaque") {
			return gotOpaque
		}
	case 8:
		if sip.EqualFold(name, "username") {
			return gotUsername
		}
		if sip.EqualFold(name, "response") {
			return gotResponse
		}
	case 9:
		if sip.EqualFold(name, "algorithm") {
			return gotAlgorithm
		}
	}
	return 0
}

// parseCount reads nc: hex of up to eight digits, never zero (RFC 7616 §3.4).
func parseCount(s string) (n uint32, ok bool) {
	if s == "" || len(s) > 8 {
		return 0, false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | uint32(c)
	}
	return n, n != 0
}

// stackBytes holds what is hashed for credentials of usual size; longer ones
// cost an allocation.
const stackBytes = 512

// compute returns the response, a.Size() bytes of it.
func (c *Credentials) compute(s *Secrets, method string) [maxSize]byte {
	var buf [stackBytes]byte
	var ha1, ha2 [2 * maxSize]byte
	a, n := c.Algorithm, c.Algorithm.Size()

	// A2 = Method ":" digest-uri-value (RFC 7616 §3.4.3).
	b := append(buf[:0], method...)
	b = append(b, ':')
	b = append(b, c.URI...)
	h := a.sum(b)
	hex.Encode(ha2[:], h[:n])

	// KD(H(A1), unq(nonce) ":" nc ":" unq(cnonce) ":" unq(qop) ":" H(A2)), and
	// without qop what RFC 2069 §2.1.2 has (RFC 7616 §3.4.1, RFC 2617 §3.2.2.1).
	h = s.get(a)
	hex.Encode(ha1[:], h[:n])
	b = append(b[:0], ha1[:2*n]...)
	b = append(b, ':')
	b = append(b, c.Nonce...)
	if c.QOP != "" {
		b = append(b, ':')
		b = append(b, c.NC...)
		b = append(b, ':')
		b = append(b, c.CNonce...)
		b = append(b, ':')
		b = append(b, c.QOP...)
	}
	b = append(b, ':')
	b = append(b, ha2[:2*n]...)
	return a.sum(b)
}

// Verify reports whether the response was made with the secret for a request of
// that method. The time it takes does not tell how much of the response is right.
func (c *Credentials) Verify(s *Secrets, method string) bool {
	want := c.compute(s, method)
	n := c.Algorithm.Size()
	var text [2 * maxSize]byte
	var got [maxSize]byte
	// What does not decode is compared all the same: that it does not is the peer's
	// own doing and tells nothing. LHEX is lower case; be tolerant.
	_, err := hex.Decode(got[:n], text[:copy(text[:2*n], c.Response)])
	right := subtle.ConstantTimeCompare(got[:n], want[:n]) == 1
	return right && err == nil && len(c.Response) == 2*n
}

// AppendResponse writes the right response in hex behind dst: the client's side.
func (c *Credentials) AppendResponse(dst []byte, s *Secrets, method string) []byte {
	h := c.compute(s, method)
	return hex.AppendEncode(dst, h[:c.Algorithm.Size()])
}

// Append writes the field's value behind dst.
func (c *Credentials) Append(dst []byte) []byte {
	dst = append(dst, "Digest "...)
	dst = appendQuoted(dst, "username", c.Username)
	dst = append(dst, ", "...)
	dst = appendQuoted(dst, "realm", c.Realm)
	dst = append(dst, ", "...)
	dst = appendQuoted(dst, "nonce", c.Nonce)
	dst = append(dst, ", "...)
	dst = appendQuoted(dst, "uri", c.URI)
	dst = append(dst, ", "...)
	dst = appendQuoted(dst, "response", c.Response)
	dst = append(dst, ", algorithm="...)
	dst = append(dst, c.Algorithm.String()...)
	if c.QOP != "" {
		dst = append(dst, ", "...)
		dst = appendQuoted(dst, "cnonce", c.CNonce)
		dst = append(dst, ", qop="...)
		dst = append(dst, c.QOP...)
		dst = append(dst, ", nc="...)
		dst = append(dst, c.NC...)
	}
	if c.Opaque != "" {
		dst = append(dst, ", "...)
		dst = appendQuoted(dst, "opaque", c.Opaque)
	}
	return dst
}

func appendQuoted(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, '=', '"')
	for i := range len(value) {
		if value[i] == '"' || value[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, value[i])
	}
	return append(dst, '"')
}
