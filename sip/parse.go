package sip

import (
	"bytes"
	"errors"
	"strings"
)

// ErrNotSIP is returned for bytes that are no SIP message at all: they are
// dropped and counted, there is nobody to answer.
var ErrNotSIP = errors.New("not a SIP message")

// Parse reads a message from b, which the message refers to from now on. It
// fails with ErrNotSIP only. A message that is recognizable but wrong parses,
// and Check tells what to answer.
func (m *Message) Parse(b []byte) error { return m.ParseLimited(b, &DefaultLimits) }

// ParseLimited is Parse with limits other than the default ones.
func (m *Message) ParseLimited(b []byte, l *Limits) error {
	*m = Message{raw: view(b), fields: m.fields[:0]}
	rest, err := m.parseStartLine(l)
	if err != nil {
		return err
	}
	m.parseHeaders(rest, l)
	m.parseBody(l)
	if len(b) > l.MessageBytes {
		m.reject(StatusMessageTooLarge, "")
	}
	return nil
}

// reject keeps the first fault.
func (m *Message) reject(status int, reason string) {
	if m.fault == nil {
		m.fault = NewError(status, reason)
	}
}

// parseStartLine returns the offset behind it.
func (m *Message) parseStartLine(l *Limits) (int, error) {
	eol := strings.Index(m.raw, "\r\n")
	if eol < 0 {
		return 0, ErrNotSIP
	}
	line := m.raw[:eol]
	if len(line) >= 8 && EqualFold(line[:4], "SIP/") {
		return eol + 2, m.parseStatusLine(line)
	}
	// Request-Line = Method SP Request-URI SP SIP-Version (§7.1).
	sp := strings.IndexByte(line, ' ')
	if sp <= 0 || !isToken(line[:sp]) {
		return 0, ErrNotSIP
	}
	m.method = span{0, uint32(sp)}
	trimmed := trimBlanks(line)
	last := strings.LastIndexByte(trimmed, ' ')
	version := trimmed[last+1:]
	if len(version) < 4 || !EqualFold(version[:4], "SIP/") {
		return 0, ErrNotSIP
	}
	switch {
	case last <= sp: // "OPTIONS SIP/2.0": no Request-URI
		m.uri = span{uint32(last), uint32(last)}
		m.reject(StatusBadRequest, "Request line without Request-URI")
	default:
		m.uri = span{uint32(sp + 1), uint32(last)}
	}
	uri := m.RequestURI()
	switch {
	case !EqualFold(version, "SIP/2.0"):
		m.reject(StatusVersionNotSupported, "")
	case len(trimmed) != len(line), strings.HasPrefix(uri, " "), strings.HasSuffix(uri, " "):
		m.reject(StatusBadRequest, "Superfluous white space in the request line") // RFC 4475 §3.1.2.9, §3.1.2.10
	case len(uri) > l.URIBytes:
		m.reject(StatusURITooLong, "")
	}
	return eol + 2, nil
}

func (m *Message) parseStatusLine(line string) error {
	version, rest, ok := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	n, numeric := ParseUint(code)
	if !ok || !EqualFold(version, "SIP/2.0") || !numeric || len(code) != 3 || n < 100 || n > 699 {
		return ErrNotSIP // RFC 4475 §3.1.2.19: an overlarge code is dropped
	}
	m.status = int(n)
	m.reason = span{uint32(len(line) - len(reason)), uint32(len(line))}
	if strings.ContainsAny(reason, "\r\n") {
		m.reject(StatusBadRequest, "CR or LF alone in the reason phrase")
	}
	return nil
}

// parseHeaders fills the field table up to the blank line. CR and LF stand
// together or not at all (RFC 3261 §7): one alone would be a line end to some
// and not to others, which lets a field pass that was to be left out.
func (m *Message) parseHeaders(at int, l *Limits) {
	pairs := m.parseFields(at, l)
	if head := m.raw[at:m.body.from]; !pairs || strings.Count(head, "\r") != strings.Count(head, "\n") {
		m.reject(StatusBadRequest, "CR or LF alone in a header field")
	}
}

// parseFields reports whether a CR stands before each LF.
func (m *Message) parseFields(at int, l *Limits) (pairs bool) {
	raw := m.raw
	pairs = true
	for {
		if at == len(raw) {
			m.reject(StatusBadRequest, "No blank line behind the header fields")
			m.body = span{uint32(at), uint32(at)}
			return pairs
		}
		if strings.HasPrefix(raw[at:], "\r\n") {
			m.body = span{uint32(at + 2), uint32(len(raw))}
			return pairs
		}
		end, next, folded, crlf := lineEnd(raw, at)
		pairs = pairs && crlf
		if len(m.fields) == l.Headers {
			m.reject(StatusBadRequest, "Too many header fields")
			if i := strings.Index(raw[at:], "\r\n\r\n"); i >= 0 {
				m.body = span{uint32(at + i + 4), uint32(len(raw))}
			} else {
				m.body = span{uint32(len(raw)), uint32(len(raw))}
			}
			return pairs
		}
		m.addField(at, end, next, folded)
		at = next
	}
}

// lineEnd finds the end of the header line that begins at, with its folded
// continuation lines, and the start of what follows. Folded tells whether there
// are such lines, crlf whether a CR stands before each LF.
func lineEnd(raw string, at int) (end, next int, folded, crlf bool) {
	search := at
	crlf = true
	for {
		i := strings.IndexByte(raw[search:], '\n')
		if i < 0 {
			return len(raw), len(raw), folded, crlf
		}
		nl := search + i
		if nl == at || raw[nl-1] != '\r' {
			crlf = false
		}
		if nl+1 < len(raw) && (raw[nl+1] == ' ' || raw[nl+1] == '\t') {
			search, folded = nl+1, true
			continue
		}
		end = nl
		if nl > at && raw[nl-1] == '\r' {
			end--
		}
		return end, nl + 1, folded, crlf
	}
}

func (m *Message) addField(at, end, next int, folded bool) {
	line := m.raw[at:end]
	n := 0
	for n < len(line) && tokenChar[line[n]] {
		n++
	}
	name, colon := line[:n], n
	for colon < len(line) && (line[colon] == ' ' || line[colon] == '\t') { // HCOLON allows white space before it (§25.1)
		colon++
	}
	if n == 0 || colon == len(line) || line[colon] != ':' {
		if strings.IndexByte(line, ':') < 0 {
			m.reject(StatusBadRequest, "Header line without a colon")
		} else {
			m.reject(StatusBadRequest, "Malformed header field name")
		}
		return
	}
	from, to := colon+1, len(line)
	for from < to && isLWS(line[from]) {
		from++
	}
	for to > from && isLWS(line[to-1]) {
		to--
	}
	id := headerID(name)
	f := field{
		id:     id,
		folded: folded,
		line:   span{uint32(at), uint32(next)},
		name:   span{uint32(at), uint32(at + len(name))},
		value:  span{uint32(at + from), uint32(at + to)},
	}
	m.fields = append(m.fields, f)
	if id == HeaderOther {
		return
	}
	if m.first[id] == 0 {
		m.first[id] = uint16(len(m.fields))
	} else if single[id] {
		m.reject(StatusBadRequest, "Header field given twice: "+strings.Clone(name)) // RFC 4475 §3.3.8
	}
	m.count[id]++
}

// parseBody cuts the body by Content-Length: bytes behind it are dropped, and
// without one the body reaches to the end of b (RFC 3261 §18.3).
func (m *Message) parseBody(l *Limits) {
	if !m.Has(HeaderContentLength) {
		return
	}
	n, ok := ParseUint(m.Get(HeaderContentLength))
	switch have := m.body.to - m.body.from; {
	case !ok:
		m.reject(StatusBadRequest, "Malformed Content-Length")
	case n > have && uint64(m.body.from)+uint64(n) > uint64(l.MessageBytes):
		m.reject(StatusMessageTooLarge, "") // of a stream only the head was read
	case n > have && int64(n) > int64(l.MessageBytes):
		m.reject(StatusMessageTooLarge, "")
	case n > have:
		m.reject(StatusBadRequest, "Content-Length is larger than the message")
	case n < have:
		m.body.to = m.body.from + n
		m.raw = m.raw[:m.body.to]
	}
}

// Check validates what every element must before it acts on a message
// (RFC 3261 §8.2, §16.3 item 1). For a request the error is the answer to send;
// a response with an error is dropped. Answerable tells whether one can be.
func (m *Message) Check() *Error {
	if !m.checked {
		m.verdict, m.checked = m.check(), true
	}
	return m.verdict
}

func (m *Message) check() *Error {
	if !m.Has(HeaderVia) {
		return NewError(StatusBadRequest, "No Via")
	}
	var err error
	if m.parsedVia, err = ParseVia(m.topVia()); err != nil {
		m.parsedVia.head = "" // what was read of it is not to be written
		return NewError(StatusBadRequest, "Malformed Via")
	}
	number, method, ok := cutCSeq(m.Get(HeaderCSeq))
	m.cseq, m.cseqOK = number, ok
	if m.fault != nil {
		return m.fault
	}
	for _, id := range [...]HeaderID{HeaderFrom, HeaderTo, HeaderCallID, HeaderCSeq} {
		if m.Get(id) == "" {
			return NewError(StatusBadRequest, "Missing "+mandatoryName(id))
		}
	}
	if !ok {
		return NewError(StatusBadRequest, "Malformed CSeq")
	}
	if !m.IsRequest() {
		return nil // who it is from and to was for the request to say, and a proxy passes it on
	}
	if method != m.Method() {
		return NewError(StatusBadRequest, "CSeq method does not match the request line") // RFC 4475 §3.1.2.17
	}
	if fault := m.checkRequest(); fault != nil {
		return fault
	}
	if m.from.parse(m.Get(HeaderFrom), nil) != nil {
		return NewError(StatusBadRequest, "Malformed From")
	}
	if m.to.parse(m.Get(HeaderTo), &m.from) != nil {
		return NewError(StatusBadRequest, "Malformed To")
	}
	return nil
}

// party is a parsed From or To, kept as nearly every request is asked for both
// more than once.
type party struct {
	address Address
	aor     AOR // zero when the URI names no user
	parsed  bool
}

// parse reads the value. Like is the other party, nearly always of the same URI
// in a REGISTER.
func (p *party) parse(value string, like *party) error {
	a, err := ParseAddress(value)
	if err != nil {
		return err
	}
	if like != nil && like.address.URI == a.URI {
		*p = party{a, like.aor, true}
		return nil
	}
	u, err := ParseURI(a.URI)
	if err != nil {
		return err
	}
	aor, _ := ParseAOR(u) // what names nobody is for the caller to judge
	*p = party{a, aor, true}
	return nil
}

func mandatoryName(id HeaderID) string {
	switch id {
	case HeaderFrom:
		return "From"
	case HeaderTo:
		return "To"
	case HeaderCallID:
		return "Call-ID"
	}
	return "CSeq"
}

func (m *Message) checkRequest() *Error {
	uri := m.RequestURI()
	if strings.HasPrefix(uri, "<") {
		return NewError(StatusBadRequest, "Request-URI in angle brackets") // RFC 4475 §3.1.2.7
	}
	u, err := ParseURI(uri)
	if err != nil {
		return NewError(StatusBadRequest, "Malformed Request-URI: "+err.Error())
	}
	if u.Headers != "" {
		return NewError(StatusBadRequest, "Request-URI with headers") // RFC 4475 §3.1.2.11
	}
	m.parsedURI = u
	if m.Has(HeaderMaxForwards) {
		if n, ok := ParseUint(m.Get(HeaderMaxForwards)); !ok || n > 255 {
			return NewError(StatusBadRequest, "Malformed Max-Forwards") // RFC 3261 §20.22
		}
	}
	if v := m.Get(HeaderExpires); v != "" && allDigits(v) {
		if _, ok := ParseUint(v); !ok {
			return NewError(StatusBadRequest, "Expires is larger than 2^32-1") // RFC 4475 §3.1.2.4
		}
	}
	return nil
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// topVia returns the first value of the first Via line.
func (m *Message) topVia() string {
	item, _, _, ok := cutItem(m.str(m.fields[m.first[HeaderVia]-1].value))
	if !ok {
		return ""
	}
	return item
}

// cutCSeq splits "4711 INVITE" (§20.16).
func cutCSeq(s string) (n uint32, method string, ok bool) {
	s = trim(s)
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	n, ok = ParseUint(s[:i])
	method = trimLeft(s[i:])
	return n, method, ok && len(method) < len(s)-i && isToken(method)
}

// FrameStream looks at the start of a stream for one whole message. It returns
// how many bytes to skip before it (keep-alive CRLFs, RFC 3261 §7.5), its length,
// or 0 when more bytes are needed. The error means that the stream can't be
// followed any more: close it.
func FrameStream(b []byte, maxBytes int) (skip, length int, err error) {
	for skip < len(b) && (b[skip] == '\r' || b[skip] == '\n') {
		skip++
	}
	b = b[skip:]
	head := bytes.Index(b, []byte("\r\n\r\n"))
	if head < 0 {
		if len(b) > maxBytes {
			return skip, 0, NewError(StatusMessageTooLarge, "")
		}
		return skip, 0, nil
	}
	body, err := streamBodyLength(view(b[:head+2]))
	if err != nil {
		return skip, head + 4, err
	}
	total := head + 4 + body
	if total > maxBytes {
		return skip, head + 4, NewError(StatusMessageTooLarge, "")
	}
	if len(b) < total {
		return skip, 0, nil
	}
	return skip, total, nil
}

// maxFrameLines bounds the header lines of a message on a stream. They are looked
// through again whenever more of its body has come, and a peer may send that
// byte by byte.
const maxFrameLines = 1024

// streamBodyLength reads Content-Length out of a header block. Without one the
// body is taken as empty; one that is malformed or doubled ends the stream, as
// the next message can't be found (RFC 3261 §18.3, RFC 4475 §3.1.2.3, §3.3.9).
func streamBodyLength(head string) (int, error) {
	at := strings.Index(head, "\r\n") + 2
	length, seen := 0, false
	for lines := 0; at < len(head); lines++ {
		if lines == maxFrameLines {
			return 0, NewError(StatusBadRequest, "Too many header fields")
		}
		end, next, _, _ := lineEnd(head, at)
		name, value, _ := strings.Cut(head[at:end], ":")
		at = next
		if len(name) > 32 || headerID(trimBlanks(name)) != HeaderContentLength {
			continue
		}
		n, ok := ParseUint(trim(value))
		if !ok || seen {
			return 0, NewError(StatusBadRequest, "Malformed Content-Length")
		}
		if n > MaxMessageBytes {
			return 0, NewError(StatusMessageTooLarge, "")
		}
		length, seen = int(n), true
	}
	return length, nil
}
