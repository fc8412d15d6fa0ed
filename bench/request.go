package bench

import (
	"bytes"
	"time"
)

// pieces are the parts of requests that are the same for all, or for all of
// one socket.
type pieces struct {
	registerLine []byte   // request line and the start of Via
	registerURI  []byte   // digest-uri of REGISTER
	via          [][]byte // by socket: sent-by and the start of the branch
	contact      [][]byte // by socket: what follows the user in Contact
	afterBranch  []byte   // end of Via to the start of From
	from         []byte   // what follows the user in From
	afterFrom    []byte   // what follows the tag in From, to the start of To
	to           []byte   // what follows the user in To, to the tag
	callID       []byte   // what follows To
	expires      []byte
	body         []byte // MESSAGE headers from Content-Type, and the body without its number
	filler       []byte
}

func (p *pieces) prepare(e *engine, sockets int) {
	o := e.o
	version := " SIP/2.0\r\nVia: SIP/2.0/UDP "
	param := ""
	if !e.udp {
		version = " SIP/2.0\r\nVia: SIP/2.0/TCP "
		param = ";transport=tcp"
	}
	p.registerURI = []byte("sip:" + o.Domain)
	p.registerLine = []byte("REGISTER sip:" + o.Domain)
	for i := range sockets {
		a := e.w.local(i).String()
		p.via = append(p.via, append([]byte(version+a+";rport;branch="), e.branch...))
		p.contact = append(p.contact, []byte("@"+a+param+">"))
	}
	p.afterBranch = []byte("\r\nMax-Forwards: 70\r\nFrom: <sip:")
	p.from = []byte("@" + o.Domain + ">;tag=" + e.tag)
	p.afterFrom = []byte("\r\nTo: <sip:")
	p.to = []byte("@" + o.Domain + ">")
	p.callID = []byte("\r\nCall-ID: ")
	p.expires = appendInt(nil, uint32(o.Expires/time.Second))
	p.body = []byte("\r\nContent-Type: text/plain\r\nContent-Length: ")
	p.body = appendInt(p.body, uint32(o.BodySize))
	p.body = append(p.body, "\r\n\r\n"+bodyMark+e.tag...)
	p.filler = bytes.Repeat([]byte("rollcall bench "), o.BodySize/15+1)[:o.BodySize-len(bodyMark)-16]
	if n := len(p.filler); n > 0 {
		p.filler[0] = ' '
	}
}

// head appends everything from the request line's version to the start of the
// Call-ID. The tag of To is empty outside a dialog.
func (e *engine) head(b []byte, slot int32, x *exchange, u *user, to, toTag string) []byte {
	p := &e.pieces
	b = append(b, p.via[u.socket]...)
	b = appendHex32(b, uint32(slot))
	b = appendHex32(b, x.gen)
	b = append(b, p.afterBranch...)
	b = append(b, u.name...)
	b = append(b, p.from...)
	b = append(b, p.afterFrom...)
	b = append(b, to...)
	b = append(b, p.to...)
	if toTag != "" {
		b = append(b, ";tag="...)
		b = append(b, toTag...)
	}
	return append(b, p.callID...)
}

// registration writes a REGISTER. A user keeps one Call-ID, and CSeq rises
// (RFC 3261 §10.2.4).
func (e *engine) registration(b []byte, slot int32, x *exchange, u *user) []byte {
	p := &e.pieces
	b = append(b, p.registerLine...)
	b = e.head(b, slot, x, u, u.name, "")
	b = append(b, e.tag...)
	b = append(b, '-')
	b = append(b, u.name...)
	b = append(b, "\r\nCSeq: "...)
	b = appendInt(b, u.cseq)
	b = append(b, " REGISTER\r\nContact: <sip:"...)
	b = append(b, u.name...)
	b = append(b, p.contact[u.socket]...)
	b = append(b, "\r\nExpires: "...)
	if x.kind == kindUnregister {
		b = append(b, '0')
	} else {
		b = append(b, p.expires...)
	}
	if u.register.nonce != "" {
		b = append(b, "\r\nAuthorization: "...)
		x.signed = true
		b = e.digest.appendCredentials(b, &u.register, u.name, "REGISTER", p.registerURI)
	}
	return append(b, "\r\nContent-Length: 0\r\n\r\n"...)
}

// message writes a MESSAGE to the peer. Each operation has its own Call-ID; a
// request that answers a challenge keeps it.
func (e *engine) message(b []byte, slot int32, x *exchange, u *user) []byte {
	p := &e.pieces
	peer := e.users[x.peer].name
	b = append(b, "MESSAGE "...)
	uri := len(b)
	b = append(b, "sip:"...)
	b = append(b, peer...)
	b = append(b, '@')
	b = append(b, e.o.Domain...)
	uriEnd := len(b)
	b = e.head(b, slot, x, u, peer, "")
	b = append(b, e.tag...)
	b = appendHex32(b, x.number)
	b = append(b, "\r\nCSeq: "...)
	b = appendInt(b, u.cseq)
	b = append(b, " MESSAGE"...)
	b = e.sign(b, x, u, "MESSAGE", b[uri:uriEnd])
	b = append(b, p.body...)
	b = appendHex32(b, x.number)
	return append(b, p.filler...)
}

// sign appends the credentials of a request other than REGISTER, as the server
// asked for them last: of a user agent (RFC 3261 §22.2) or of a proxy (§22.3).
func (e *engine) sign(b []byte, x *exchange, u *user, method string, uri []byte) []byte {
	c, field := &u.relay, "\r\nProxy-Authorization: "
	if e.uas {
		c, field = &u.register, "\r\nAuthorization: "
	}
	if c.nonce == "" {
		return b
	}
	x.signed = true
	b = append(b, field...)
	return e.digest.appendCredentials(b, c, u.name, method, uri)
}

// indexBranch returns where the number stands in an answer's first Via, or -1.
func indexBranch(msg, branch []byte) int {
	at := bytes.Index(msg, branch)
	if at < 0 || len(msg) < at+len(branch)+16 {
		return -1
	}
	return at + len(branch)
}
