package bench

// What all SUBSCRIBE and PUBLISH requests of a presence load share.
const (
	subscribeFields = "\r\nEvent: presence\r\nAccept: application/pidf+xml\r\nExpires: "
	publishFields   = "\r\nEvent: presence\r\nExpires: "
	noBody          = "\r\nContent-Length: 0\r\n\r\n"
	pidfFields      = "\r\nContent-Type: application/pidf+xml\r\nContent-Length: "
)

// subscription writes a SUBSCRIBE: the first of a dialog, or one inside it. A
// watcher's Contact is the number of its subscription.
func (e *engine) subscription(b []byte, slot int32, x *exchange, u *user) []byte {
	p := &e.pieces
	s := &e.presence.subs[x.peer]
	s.cseq++
	presentity := e.users[int(x.peer)/e.presence.watchers].name
	b = append(b, "SUBSCRIBE "...)
	uri := len(b)
	if s.target != "" {
		b = append(b, s.target...)
	} else {
		b = e.appendURI(b, presentity)
	}
	uriEnd := len(b)
	b = e.head(b, slot, x, u, presentity, s.tag)
	b = append(b, e.tag...)
	b = append(b, 's')
	b = appendHex32(b, uint32(x.peer))
	b = append(b, "\r\nCSeq: "...)
	b = appendInt(b, s.cseq)
	b = append(b, " SUBSCRIBE\r\nContact: <sip:"...)
	b = append(b, e.tag...)
	b = appendHex32(b, uint32(x.peer))
	b = append(b, p.contact[u.socket]...)
	b = append(b, subscribeFields...)
	if x.kind == kindUnsubscribe {
		b = append(b, '0')
	} else {
		b = append(b, p.expires...)
	}
	b = e.sign(b, x, u, "SUBSCRIBE", b[uri:uriEnd])
	return append(b, noBody...)
}

// publication writes a PUBLISH: the first has no SIP-If-Match, each later one
// that of the answer before (RFC 3903 §4.1).
func (e *engine) publication(b []byte, slot int32, x *exchange, u *user) []byte {
	p := &e.pieces
	who := &e.presence.presentities[x.user]
	b = append(b, "PUBLISH "...)
	uri := len(b)
	b = e.appendURI(b, u.name)
	uriEnd := len(b)
	b = e.head(b, slot, x, u, u.name, "")
	b = append(b, e.tag...)
	b = append(b, 'p')
	b = append(b, u.name...)
	b = append(b, "\r\nCSeq: "...)
	b = appendInt(b, u.cseq)
	b = append(b, " PUBLISH"...)
	b = append(b, publishFields...)
	if x.kind == kindUnpublish {
		b = append(b, '0')
	} else {
		b = append(b, p.expires...)
	}
	if who.etag != "" {
		b = append(b, "\r\nSIP-If-Match: "...)
		b = append(b, who.etag...)
	}
	b = e.sign(b, x, u, "PUBLISH", b[uri:uriEnd])
	if x.kind == kindUnpublish {
		return append(b, noBody...)
	}
	e.document = e.appendDocument(e.document[:0], u.name, x.number)
	b = append(b, pidfFields...)
	b = appendInt(b, uint32(len(e.document)))
	b = append(b, endOfHeaders...)
	return append(b, e.document...)
}

func (e *engine) appendURI(b []byte, user string) []byte {
	b = append(b, "sip:"...)
	b = append(b, user...)
	b = append(b, '@')
	return append(b, e.o.Domain...)
}

// appendDocument writes a PIDF document (RFC 3863 §4) of 500 to 600 bytes for
// names of usual length, as a softphone publishes it: a tuple with a note, and
// a person (RFC 4479 §3.2) with an activity (RFC 4480 §3.2). The note has the
// number of the state; status and activity change with it.
func (e *engine) appendDocument(b []byte, user string, number uint32) []byte {
	b = append(b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+
		`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"`+
		` xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="`...)
	b = e.appendURI(b, user)
	b = append(b, `"><tuple id="softphone"><status><basic>`...)
	if number%8 == 7 {
		b = append(b, "closed"...)
	} else {
		b = append(b, "open"...)
	}
	b = append(b, `</basic></status><contact priority="0.8">`...)
	b = e.appendURI(b, user)
	b = append(b, `</contact><note>`+bodyMark...)
	b = append(b, e.tag...)
	b = appendHex32(b, number)
	b = append(b, `</note><timestamp>2026-11-25T08:00:00Z</timestamp></tuple><dm:person id="someone"><rpid:activities>`...)
	b = append(b, [...]string{"<rpid:away/>", "<rpid:busy/>", "<rpid:meeting/>", "<rpid:on-the-phone/>"}[number%4]...)
	return append(b, `</rpid:activities><dm:note>Back in the office at six</dm:note></dm:person></presence>`+"\n"...)
}
