package sip

import (
	"net/netip"
	"strconv"
	"strings"
)

// Reply is what a response says beyond what it copies from the request.
type Reply struct {
	Status  int
	Reason  string // "" means the standard phrase
	ToTag   string // added when the request's To has none (RFC 3261 §8.2.6.2)
	Fields  []Field
	Lines   []byte // further header lines, each with its CRLF
	Body    []byte
	BodyTyp string // Content-Type of Body
}

// AppendReply writes the response to req, which came from src, behind dst. Via,
// From, To, Call-ID and CSeq are copied as they came (RFC 3261 §8.2.6.2); the
// top Via tells the source (§18.2.1, RFC 3581 §4).
func (m *Message) AppendReply(dst []byte, src netip.AddrPort, r *Reply) []byte {
	reason := r.Reason
	if reason == "" {
		reason = StatusText(r.Status)
	}
	dst = append(dst, "SIP/2.0 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reason...)
	dst = append(dst, "\r\n"...)
	top := true
	for i := range m.fields {
		f := &m.fields[i]
		switch f.id {
		case HeaderVia:
			if top {
				dst = m.appendTopVia(dst, f, src)
				top = false
			} else {
				dst = m.appendLine(dst, f)
			}
		case HeaderFrom, HeaderCallID, HeaderCSeq:
			if int(m.first[f.id])-1 == i {
				dst = m.appendLine(dst, f)
			}
		case HeaderTo:
			if int(m.first[f.id])-1 == i {
				dst = m.appendTo(dst, f, r.ToTag)
			}
		case HeaderTimestamp:
			if r.Status == StatusTrying { // §8.2.6.1
				dst = m.appendLine(dst, f)
			}
		}
	}
	for _, f := range r.Fields {
		dst = appendField(dst, f.Name, f.Value)
	}
	dst = append(dst, r.Lines...)
	if len(r.Body) > 0 {
		dst = appendField(dst, "Content-Type", r.BodyTyp)
	}
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(r.Body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, r.Body...)
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// appendLine copies a header line as it came.
func (m *Message) appendLine(dst []byte, f *field) []byte {
	s := m.str(f.line)
	dst = append(dst, s...)
	if !strings.HasSuffix(s, "\r\n") { // cut off, or ended by LF alone
		dst = append(trimNewline(dst), "\r\n"...)
	}
	return dst
}

func trimNewline(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}

func (m *Message) appendTo(dst []byte, f *field, tag string) []byte {
	if tag == "" {
		return m.appendLine(dst, f)
	}
	if to, err := m.To(); err != nil || to.Params.Has("tag") {
		return m.appendLine(dst, f)
	}
	dst = append(dst, m.raw[f.line.from:f.value.to]...)
	dst = append(dst, ";tag="...)
	dst = append(dst, tag...)
	return append(dst, "\r\n"...)
}

// appendTopVia writes the line that holds the top Via with received and rport
// set to the source (RFC 3261 §18.2.1, RFC 3581 §4). What a client wrote there
// itself does not count.
func (m *Message) appendTopVia(dst []byte, f *field, src netip.AddrPort) []byte {
	value := m.str(f.value)
	item, rest, more, ok := cutItem(value)
	via := m.parsedVia
	if via.head == "" { // not checked
		var err error
		via, err = ParseVia(item)
		ok = ok && err == nil
	}
	if !ok || !src.IsValid() {
		return m.appendLine(dst, f)
	}
	dst = append(dst, m.str(f.name)...)
	dst = append(dst, ": "...)
	dst = append(dst, via.head...)
	rport := false
	for p := via.Params; ; {
		name, val, next, done, ok := p.Next()
		if done || !ok {
			break
		}
		p = next
		switch {
		case EqualFold(name, "rport"):
			rport = true
			continue
		case EqualFold(name, "received"):
			continue
		}
		dst = append(dst, ';')
		dst = append(dst, name...)
		if val != "" {
			dst = append(dst, '=')
			dst = append(dst, val...)
		}
	}
	if rport {
		dst = append(dst, ";rport="...)
		dst = strconv.AppendUint(dst, uint64(src.Port()), 10)
	}
	if rport || !sentByIs(via, src.Addr()) {
		dst = append(dst, ";received="...)
		dst = src.Addr().AppendTo(dst)
	}
	if more {
		dst = append(dst, ", "...)
		dst = append(dst, trimLeft(rest)...)
	}
	return append(dst, "\r\n"...)
}

func sentByIs(v Via, a netip.Addr) bool {
	h, err := netip.ParseAddr(v.Host)
	return err == nil && h.Unmap() == a
}

// Forward says what a proxy changes in a request (RFC 3261 §16.6).
type Forward struct {
	URI        string         // new Request-URI
	Via        []byte         // our Via value
	Source     netip.AddrPort // where the request came from, for its top Via
	Routes     []string       // put in front of the Route set: the Path of a binding (RFC 3327 §5.3)
	DropRoutes int            // first Route values that named this server (§16.4)
	Drop       func(id HeaderID, value string) bool
	Fields     []Field // added
}

// AppendForward writes the request as it is to be passed on: the original bytes
// with the start line, Via, Max-Forwards and Route touched. What Drop returns
// true for is left out. The body is untouched.
func (m *Message) AppendForward(dst []byte, f *Forward) []byte {
	dst = append(dst, m.str(m.method)...)
	dst = append(dst, ' ')
	dst = append(dst, f.URI...)
	dst = append(dst, " SIP/2.0\r\n"...)
	dst = append(append(append(dst, "Via: "...), f.Via...), "\r\n"...)
	for _, r := range f.Routes {
		dst = appendField(dst, "Route", r)
	}
	drop := f.DropRoutes
	top := true
	hops := 70 // §16.6 item 3: add one where there is none
	if m.Has(HeaderMaxForwards) {
		n, _ := ParseUint(m.Get(HeaderMaxForwards))
		hops = int(n) - 1
	}
	dst = append(dst, "Max-Forwards: "...)
	dst = strconv.AppendInt(dst, int64(max(hops, 0)), 10)
	dst = append(dst, "\r\n"...)
	for i := range m.fields {
		h := &m.fields[i]
		switch {
		case h.id == HeaderMaxForwards:
		case h.id == HeaderContentLength: // written anew: a datagram may have come without
		case h.id == HeaderVia && top:
			dst = m.appendTopVia(dst, h, f.Source)
			top = false
		case h.id == HeaderRoute && drop > 0:
			dst, drop = m.appendRoutesLeft(dst, h, drop)
		case f.Drop != nil && f.Drop(h.id, m.str(h.value)):
		default:
			dst = m.appendLine(dst, h)
		}
	}
	for _, x := range f.Fields {
		dst = appendField(dst, x.Name, x.Value)
	}
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(m.body.to-m.body.from), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, m.Body()...)
}

// appendRoutesLeft writes what remains of a Route line when its first values
// are taken off.
func (m *Message) appendRoutesLeft(dst []byte, h *field, drop int) ([]byte, int) {
	value := m.str(h.value)
	for drop > 0 {
		item, rest, more, ok := cutItem(value)
		if item != "" {
			drop--
		}
		if !ok || !more {
			return dst, drop
		}
		value = trimLeft(rest)
	}
	if emptyList(value) {
		return dst, 0
	}
	return appendField(dst, "Route", value), 0
}

// emptyList reports a comma list without items: "Route: <sip:a;lr>," leaves one
// behind.
func emptyList(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != ',' && !isLWS(s[i]) {
			return false
		}
	}
	return true
}

// AppendUpstream writes a response without its top Via, as a proxy passes it on
// (RFC 3261 §16.7 item 3), leaving out the fields that drop returns true for.
func (m *Message) AppendUpstream(dst []byte, drop func(HeaderID) bool) []byte {
	dst = append(dst, "SIP/2.0 "...)
	dst = strconv.AppendInt(dst, int64(m.status), 10)
	dst = append(dst, ' ')
	dst = append(dst, m.Reason()...)
	dst = append(dst, "\r\n"...)
	top := true
	for i := range m.fields {
		h := &m.fields[i]
		switch {
		case h.id == HeaderVia && top:
			top = false
			if _, rest, _, ok := cutItem(m.str(h.value)); ok && !emptyList(rest) {
				dst = appendField(dst, "Via", trimLeft(rest))
			}
		case h.id == HeaderContentLength:
		case drop != nil && drop(h.id):
		default:
			dst = m.appendLine(dst, h)
		}
	}
	body := m.Body()
	if drop != nil && drop(HeaderContentType) {
		body = ""
	}
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}
