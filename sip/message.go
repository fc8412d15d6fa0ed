package sip

import (
	"strings"
	"time"
	"unsafe"
)

// Limits of one message. One above a limit is answered with the status named
// beside it, or dropped where no answer is possible.
type Limits struct {
	MessageBytes int // 513 Message Too Large
	Headers      int // 400
	URIBytes     int // 414
}

// DefaultLimits are those of Parse.
var DefaultLimits = Limits{MessageBytes: MaxMessageBytes, Headers: 256, URIBytes: 8 << 10}

// MaxMessageBytes is the most that any limit allows: a UDP datagram holds no more.
const MaxMessageBytes = 64 << 10

// span is a part of the message's bytes.
type span struct{ from, to uint32 }

// field is one header line, folded lines included.
type field struct {
	id     HeaderID
	folded bool // the value may hold folds
	line   span // the whole line with its CRLF
	name   span
	value  span // trimmed; folds inside are kept
}

// Message is a request or response as received. It is filled by Parse and read
// only afterwards; reading is safe from several goroutines. Strings it returns
// share its memory.
type Message struct {
	raw    string
	method span // requests
	uri    span
	reason span
	status int // responses; 0 in a request

	fields []field
	first  [headerCount]uint16 // index+1 of the first field of that name
	count  [headerCount]uint16
	body   span
	fault  *Error // what Check returns first

	checked bool
	verdict *Error // of Check

	parsedVia Via
	parsedURI URI
	from, to  party
	cseq      uint32
	cseqOK    bool

	// Received is when it came, if whoever read it says so behind Parse, which clears it.
	Received time.Time
}

func (m *Message) str(s span) string { return m.raw[s.from:s.to] }

// IsRequest tells a request from a response.
func (m *Message) IsRequest() bool { return m.status == 0 }

// Method returns the request's method, or of a response the one in its CSeq.
func (m *Message) Method() string {
	if m.status == 0 {
		return m.str(m.method)
	}
	_, method, _ := cutCSeq(m.Get(HeaderCSeq))
	return method
}

// RequestURI returns the Request-URI as received.
func (m *Message) RequestURI() string { return m.str(m.uri) }

// URI returns the parsed Request-URI; valid after Check returned nil.
func (m *Message) URI() URI { return m.parsedURI }

// Status returns a response's code, 0 for a request.
func (m *Message) Status() int { return m.status }

// Reason returns a response's reason phrase.
func (m *Message) Reason() string { return m.str(m.reason) }

// Body returns the body as received.
func (m *Message) Body() string { return m.str(m.body) }

// Raw returns all bytes of the message.
func (m *Message) Raw() string { return m.raw }

// Bytes returns all bytes of the message, not to be changed.
func (m *Message) Bytes() []byte { return unsafe.Slice(unsafe.StringData(m.raw), len(m.raw)) }

// HeadLen returns how many bytes stand before the body.
func (m *Message) HeadLen() int { return int(m.body.from) }

// Via returns the top Via; valid after Check returned nil.
func (m *Message) Via() Via { return m.parsedVia }

// CSeq returns the sequence number; ok is false when it is malformed.
func (m *Message) CSeq() (n uint32, ok bool) { return m.cseq, m.cseqOK }

// Has reports whether a field of that name stands in the message.
func (m *Message) Has(id HeaderID) bool { return m.first[id] != 0 }

// Count returns how many lines of that name there are.
func (m *Message) Count(id HeaderID) int { return int(m.count[id]) }

// Get returns the value of the first field of that name, folds unfolded, or "".
func (m *Message) Get(id HeaderID) string {
	i := m.first[id]
	if i == 0 {
		return ""
	}
	return m.text(&m.fields[i-1])
}

// text returns the value of a field, folds unfolded.
func (m *Message) text(f *field) string {
	if f.folded {
		return unfold(m.str(f.value))
	}
	return m.str(f.value)
}

// unfold turns a line fold into one space (RFC 3261 §7.3.1).
func unfold(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\r' || s[i] == '\n' {
			for i+1 < len(s) && isLWS(s[i+1]) {
				i++
			}
			b.WriteByte(' ')
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Each calls f with the value of every field of that name, in order, until f
// returns false.
func (m *Message) Each(id HeaderID, f func(value string) bool) {
	if m.first[id] == 0 {
		return
	}
	for i := int(m.first[id]) - 1; i < len(m.fields); i++ {
		if m.fields[i].id == id && !f(m.text(&m.fields[i])) {
			return
		}
	}
}

// EachItem calls f with every item of every comma list of that name, in order,
// until f returns false. The error tells of a list that does not parse.
func (m *Message) EachItem(id HeaderID, f func(item string) bool) error {
	var fault error
	m.Each(id, func(v string) bool {
		for {
			item, rest, more, ok := cutItem(v)
			if !ok {
				fault = NewError(StatusBadRequest, "Malformed header field list")
				return false
			}
			if item != "" && !f(item) {
				return false
			}
			if !more {
				return true
			}
			v = rest
		}
	})
	return fault
}

// HasTag reports whether one of the comma lists of that name holds the token:
// option tags, event names, methods.
func (m *Message) HasTag(id HeaderID, token string) bool {
	found := false
	m.Each(id, func(v string) bool {
		found = HasToken(v, token)
		return !found
	})
	return found
}

// Other returns the value of the first field of a name without HeaderID.
func (m *Message) Other(name string) string {
	for i := range m.fields {
		if f := &m.fields[i]; f.id == HeaderOther && EqualFold(m.str(f.name), name) {
			return m.text(f)
		}
	}
	return ""
}

// From returns the parsed From.
func (m *Message) From() (Address, error) {
	if m.from.parsed {
		return m.from.address, nil
	}
	return ParseAddress(m.Get(HeaderFrom))
}

// FromAOR returns the address of record in From, zero when it names no user;
// valid in a request, after Check returned nil. Like all strings of a message it shares its
// memory.
func (m *Message) FromAOR() AOR { return m.from.aor }

// ToAOR is FromAOR for To.
func (m *Message) ToAOR() AOR { return m.to.aor }

// To returns the parsed To.
func (m *Message) To() (Address, error) {
	if m.to.parsed {
		return m.to.address, nil
	}
	return ParseAddress(m.Get(HeaderTo))
}

// CallID returns the Call-ID.
func (m *Message) CallID() string { return m.Get(HeaderCallID) }

// Clone returns a copy with memory of its own.
func (m *Message) Clone() *Message {
	c := new(Message)
	m.CopyTo(c)
	return c
}

// CopyTo makes c a copy with memory of its own. Strings of what c was before stay valid.
func (m *Message) CopyTo(c *Message) {
	buf := make([]byte, len(m.raw))
	copy(buf, m.raw)
	fields := c.fields[:0]
	*c = *m
	c.raw = view(buf)
	c.fields = append(fields, m.fields...)
	v, u := &c.parsedVia, &c.parsedURI
	for _, s := range [...]*string{&v.Transport, &v.Host, (*string)(&v.Params), &v.Branch, &v.head,
		&u.Scheme, &u.User, &u.Password, &u.Host, (*string)(&u.Params), &u.Headers, &u.Opaque, &u.raw,
		&c.from.address.Display, &c.from.address.URI, (*string)(&c.from.address.Params), &c.from.aor.s,
		&c.to.address.Display, &c.to.address.URI, (*string)(&c.to.address.Params), &c.to.aor.s} {
		*s = rebase(*s, m.raw, c.raw)
	}
}

// rebase returns the part of to that s is of from; a string that is no part of
// from is copied.
func rebase(s, from, to string) string {
	if s == "" {
		return ""
	}
	at := uintptr(unsafe.Pointer(unsafe.StringData(s))) - uintptr(unsafe.Pointer(unsafe.StringData(from)))
	if at > uintptr(len(from)-len(s)) {
		return strings.Clone(s)
	}
	return to[at : at+uintptr(len(s))]
}

// view gives the bytes as a string without a copy: the owner of the buffer
// promises not to change it while the message is in use.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
