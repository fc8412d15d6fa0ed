package sip_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"rollcall/sip"
	"rollcall/sip/siptest"
)

const register = "REGISTER sip:example.com SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKnashds7;rport\r\n" +
	"Max-Forwards: 70\r\n" +
	"From: Alice <sip:alice@example.com>;tag=456248\r\n" +
	"To: Alice <sip:alice@example.com>\r\n" +
	"Call-ID: 843817637684230@998sdasdh09\r\n" +
	"CSeq: 1826 REGISTER\r\n" +
	"Contact: <sip:alice@192.0.2.1:5060>;expires=3600\r\n" +
	"User-Agent: example/1.0\r\n" +
	"Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"84a4cc6f3082121f32b42a2187831a9e\", uri=\"sip:example.com\", response=\"7587245234b3434cc3412213e5f113a5\", algorithm=MD5, cnonce=\"0a4f113b\", qop=auth, nc=00000001\r\n" +
	"Content-Length: 0\r\n\r\n"

const message = "MESSAGE sip:bob@example.com SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776sgdkse;rport\r\n" +
	"Route: <sip:proxy.example.com;lr>\r\n" +
	"Max-Forwards: 70\r\n" +
	"From: \"Alice\" <sip:alice@example.com>;tag=49583\r\n" +
	"To: <sip:bob@example.com>\r\n" +
	"Call-ID: asd88asd77a@192.0.2.1\r\n" +
	"CSeq: 1 MESSAGE\r\n" +
	"Date: Sat, 13 Nov 2010 23:29:00 GMT\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\n" +
	"Content-Length: 22\r\n\r\n" +
	"Watson, come here. Now"

// parse returns a message that must be right.
func parse(t testing.TB, s string) *sip.Message {
	t.Helper()
	m := new(sip.Message)
	if err := m.Parse([]byte(s)); err != nil {
		t.Fatalf("%v:\n%s", err, s)
	}
	if fault := m.Check(); fault != nil {
		t.Fatalf("%v:\n%s", fault, s)
	}
	return m
}

// replace changes one part of a message that must be there.
func replace(t testing.TB, s, old, with string) string {
	t.Helper()
	if !strings.Contains(s, old) {
		t.Fatalf("no %q in\n%s", old, s)
	}
	return strings.Replace(s, old, with, 1)
}

func TestCheck(t *testing.T) {
	long := strings.Repeat("a", 9<<10)
	for _, c := range []struct {
		name, old, with string
		status          int
	}{
		{"as it is", "REGISTER", "REGISTER", accepted},
		{"no Via", "Via", "X-Via", 400},
		{"malformed Via", "SIP/2.0/UDP 192", "SIP/2.0/UDP 192 192", 400},
		{"no From", "From", "X-From", 400},
		{"no To", "To:", "X-To:", 400},
		{"no Call-ID", "Call-ID", "X-ID", 400},
		{"no CSeq", "CSeq", "X-CSeq", 400},
		{"empty Call-ID", "843817637684230@998sdasdh09", "", 400},
		{"no Max-Forwards", "Max-Forwards: 70\r\n", "", accepted}, // RFC 3261 §16.3 item 3
		{"Max-Forwards above 255", "70", "256", 400},
		{"Max-Forwards with letters", "70", "seventy", 400},
		{"CSeq without method", "1826 REGISTER", "1826", 400},
		{"CSeq without space", "1826 REGISTER", "1826REGISTER", 400},
		{"CSeq of 33 bits", "1826 ", "4294967296 ", 400},
		{"CSeq of 32 bits", "1826 ", "4294967295 ", accepted},
		{"CSeq of another method", "1826 REGISTER", "1826 MESSAGE", 400},
		{"methods have case", "1826 REGISTER", "1826 register", 400},
		{"Request-URI with a bad port", "sip:example.com SIP", "sip:example.com:x SIP", 400},
		{"Request-URI of another scheme", "sip:example.com SIP", "tel:+12125551212 SIP", accepted},
		{"no Request-URI", "sip:example.com SIP", "SIP", 400},
		{"From without a scheme", "<sip:alice@example.com>;tag=456248", "<alice@example.com>;tag=456248", 400},
		{"To with an unclosed bracket", "To: Alice <sip:alice@example.com>", "To: Alice <sip:alice@example.com", 400},
		{"version 3.0", "SIP/2.0", "SIP/3.0", 505},
		{"version in lower case", "SIP/2.0", "sip/2.0", accepted},
		{"version HTTP", "SIP/2.0", "HTTP/1.1", dropped},
		{"no version", " SIP/2.0", "", dropped},
		{"method is no token", "REGISTER sip", "REG<STER sip", dropped},
		{"leading space", "REGISTER sip", " REGISTER sip", dropped},
		{"Request-URI of 8 KiB", "sip:example.com SIP", "sip:" + long + "@example.com SIP", 414},
		{"header line without a colon", "User-Agent: ", "User-Agent ", 400},
		{"field name with a space", "User-Agent:", "User Agent:", 400},
		{"space before the colon", "User-Agent:", "User-Agent \t:", accepted},
		{"empty field name", "User-Agent:", ":", 400},
		{"fold before the first field", "Via:", " Via:", 400},
		{"Expires above 2^32-1", "User-Agent: example/1.0", "Expires: 4294967296", 400},
		{"Expires that is no number", "User-Agent: example/1.0", "Expires: later", accepted}, // RFC 3261 §10.3: 3600 is assumed
		{"LF alone ends a line", "example/1.0\r\n", "example/1.0\n", 400},
		{"CR alone inside a value", "example/1.0", "example\r1.0", 400},
		{"LF alone makes the blank line", "Content-Length: 0\r\n\r\n", "Content-Length: 0\n\r\n\r\n", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m sip.Message
			same(t, "verdict", verdict(&m, []byte(replace(t, register, c.old, c.with))), c.status)
		})
	}
}

// TestDoubledFields: RFC 4475 §3.3.8; what may be a list may come twice.
func TestDoubledFields(t *testing.T) {
	for field, status := range map[string]int{
		"From: <sip:alice@example.com>;tag=1": 400, "f: <sip:alice@example.com>;tag=1": 400, "To: <sip:alice@example.com>": 400,
		"Call-ID: x": 400, "i: x": 400, "CSeq: 1826 REGISTER": 400, "Max-Forwards: 70": 400, "Content-Length: 0": 400, "L: 0": 400,
		"Via: SIP/2.0/UDP 192.0.2.9": accepted, "Contact: <sip:alice@192.0.2.9>": accepted, "Authorization: Digest x=y": accepted,
		"User-Agent: x": accepted, "X-Any: a\r\nX-Any: b": accepted, "Supported: a\r\nk: b": accepted,
	} {
		var m sip.Message
		same(t, field, verdict(&m, []byte(replace(t, register, "Content-Length", field+"\r\nContent-Length"))), status)
	}
	for _, field := range []string{"Event: presence", "o: presence", "Expires: 1", "Content-Type: text/plain", "c: text/plain", "Date: x", "Subject: x", "s: x", "SIP-If-Match: x"} {
		var m sip.Message
		same(t, field, verdict(&m, []byte(replace(t, register, "User-Agent: example/1.0", field+"\r\n"+field))), 400)
		same(t, field+" once", verdict(&m, []byte(replace(t, register, "User-Agent: example/1.0", field))), accepted)
	}
}

func TestLimits(t *testing.T) {
	l := sip.Limits{MessageBytes: 2000, Headers: 20, URIBytes: 100}
	check := func(name, s string, status int) {
		t.Helper()
		var m sip.Message
		if err := m.ParseLimited([]byte(s), &l); err != nil {
			t.Fatal(err)
		}
		got := accepted
		if fault := m.Check(); fault != nil {
			got = fault.Status
		}
		same(t, name, got, status)
		if b := m.AppendReply(nil, source, &sip.Reply{Status: max(got, 200)}); verdict(new(sip.Message), b) != accepted {
			t.Errorf("%s: the answer is no message:\n%s", name, b)
		}
	}
	check("within", register, accepted)
	fill := func(n int) string {
		return replace(t, register, "example/1.0", strings.Repeat("x", n-len(register)+len("example/1.0")))
	}
	check("2000 bytes", fill(2000), accepted)
	check("2001 bytes", fill(2001), 513)
	check("20 fields", replace(t, register, "Content-Length", strings.Repeat("X: y\r\n", 10)+"Content-Length"), accepted)
	check("21 fields", replace(t, register, "Content-Length", strings.Repeat("X: y\r\n", 11)+"Content-Length"), 400)
	check("URI of 100 bytes", replace(t, register, "sip:example.com SIP", "sip:"+strings.Repeat("a", 84)+"@example.com SIP"), accepted)
	check("URI of 101 bytes", replace(t, register, "sip:example.com SIP", "sip:"+strings.Repeat("a", 85)+"@example.com SIP"), 414)
	check("a body that would be too large", replace(t, register, "Content-Length: 0", "Content-Length: 2000"), 513)
}

// TestContentLength: RFC 3261 §18.3 for datagrams.
func TestContentLength(t *testing.T) {
	for _, c := range []struct {
		name, s, body string
		status        int
	}{
		{"right", message, "Watson, come here. Now", accepted},
		{"more bytes than announced", message + "trailing", "Watson, come here. Now", accepted},
		{"zero", replace(t, message, ": 22", ": 0"), "", accepted},
		{"none", replace(t, message, "Content-Length: 22\r\n", ""), "Watson, come here. Now", accepted},
		{"compact, leading zeros", replace(t, message, "Content-Length: 22", "l:0006"), "Watson", accepted},
		{"fewer bytes than announced", replace(t, message, ": 22", ": 23"), "", 400},
		{"negative", replace(t, message, ": 22", ": -1"), "", 400},
		{"hexadecimal", replace(t, message, ": 22", ": 0x16"), "", 400},
		{"empty", replace(t, message, ": 22", ":"), "", 400},
		{"a list", replace(t, message, ": 22", ": 22, 22"), "", 400},
		{"more than 32 bits", replace(t, message, ": 22", ": 4294967318"), "", 400},
	} {
		var m sip.Message
		same(t, c.name, verdict(&m, []byte(c.s)), c.status)
		if c.status == accepted {
			same(t, c.name, m.Body(), c.body)
			same(t, c.name+": Raw ends with the body", strings.HasSuffix(m.Raw(), "\r\n\r\n"+c.body), true)
			same(t, c.name+": HeadLen", m.HeadLen(), len(m.Raw())-len(c.body))
		}
	}
}

// TestNames: compact forms and any case name the same field (RFC 3261 §7.3.3).
func TestNames(t *testing.T) {
	for long, id := range map[string]sip.HeaderID{
		"Via v": sip.HeaderVia, "From f": sip.HeaderFrom, "To t": sip.HeaderTo, "Call-ID i": sip.HeaderCallID, "CSeq": sip.HeaderCSeq,
		"Max-Forwards": sip.HeaderMaxForwards, "Content-Length l": sip.HeaderContentLength, "Content-Type c": sip.HeaderContentType,
		"Content-Encoding e": sip.HeaderContentEncoding, "Contact m": sip.HeaderContact, "Expires": sip.HeaderExpires, "Route": sip.HeaderRoute,
		"Record-Route": sip.HeaderRecordRoute, "Path": sip.HeaderPath, "Authorization": sip.HeaderAuthorization,
		"Proxy-Authorization": sip.HeaderProxyAuthorization, "Require": sip.HeaderRequire, "Proxy-Require": sip.HeaderProxyRequire,
		"Supported k": sip.HeaderSupported, "Event o": sip.HeaderEvent, "Allow-Events u": sip.HeaderAllowEvents, "Accept": sip.HeaderAccept,
		"Date": sip.HeaderDate, "Subject s": sip.HeaderSubject, "User-Agent": sip.HeaderUserAgent, "Retry-After": sip.HeaderRetryAfter,
		"P-Preferred-Identity": sip.HeaderPreferredIdentity, "P-Asserted-Identity": sip.HeaderAssertedIdentity, "Allow": sip.HeaderAllow,
		"Timestamp": sip.HeaderTimestamp, "Min-Expires": sip.HeaderMinExpires, "Subscription-State": sip.HeaderSubscriptionState,
		"SIP-If-Match": sip.HeaderIfMatch,
	} {
		for _, name := range strings.Fields(long) {
			for _, n := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
				var m sip.Message
				if err := m.Parse([]byte("OPTIONS sip:example.com SIP/2.0\r\n" + n + ": value\r\n\r\n")); err != nil {
					t.Fatal(err)
				}
				same(t, n, m.Get(id), "value")
				same(t, n+" is known by its name only", m.Other(n), "")
			}
		}
	}
}

func TestFoldsAndLists(t *testing.T) {
	m := parse(t, replace(t, register, "User-Agent: example/1.0\r\n",
		"User-Agent: example\r\n  /1.0\r\n\tbeta\r\n"+
			"Supported:\r\n path, outbound\r\n ,gruu\r\nk:\r\nSupported: , timer ,\r\n"+
			"Contact: \"a, b\" <sip:a,b@example.com>;x=\"c,d\", sip:e@example.com\r\n , <sip:f@example.com>\r\n"+
			"X-Fold:\r\n one\r\n two\r\n"))
	get(t, m, sip.HeaderUserAgent, "example /1.0 beta")
	same(t, "an unknown field", m.Other("x-fold"), "one two")
	same(t, "Supported", strings.Join(items(t, m, sip.HeaderSupported), "|"), "path|outbound|gruu|timer")
	same(t, "HasTag", m.HasTag(sip.HeaderSupported, "GRUU"), true)
	same(t, "HasTag of a part", m.HasTag(sip.HeaderSupported, "out"), false)
	same(t, "lines", m.Count(sip.HeaderSupported), 3)
	same(t, "Contact", strings.Join(items(t, m, sip.HeaderContact)[1:], "|"),
		`"a, b" <sip:a,b@example.com>;x="c,d"|sip:e@example.com|<sip:f@example.com>`)
	m = parse(t, replace(t, register, "<sip:alice@192.0.2.1:5060>", `"open <sip:alice@192.0.2.1:5060>`))
	if err := m.EachItem(sip.HeaderContact, func(string) bool { return true }); err == nil {
		t.Error("a list with an open quote is taken")
	}
	n := 0
	m.Each(sip.HeaderVia, func(string) bool { n++; return false })
	same(t, "Each stops", n, 1)
}

func TestStatusLine(t *testing.T) {
	response := func(line string) string {
		return line + replace(t, register, "REGISTER sip:example.com SIP/2.0", "")
	}
	for line, status := range map[string]int{
		"SIP/2.0 200 OK": 200, "SIP/2.0 200 ": 200, "SIP/2.0 200": 200, "sip/2.0 699 What a  reason ": 699, "SIP/2.0 100 Trying": 100,
	} {
		m := parse(t, response(line))
		same(t, line, m.Status(), status)
		same(t, line+" is a request", m.IsRequest(), false)
		same(t, line+" method", m.Method(), "REGISTER")
	}
	for _, line := range []string{"SIP/2.0 99 X", "SIP/2.0 700 X", "SIP/2.0 20 X", "SIP/2.0 2000 X", "SIP/2.0 2x0 X", "SIP/3.0 200 OK", "SIP/2.0", "SIP/2.0200 OK", "SIP/2.0  200 OK", "SIP/2.0 +20 X"} {
		same(t, line, verdict(new(sip.Message), []byte(response(line))), dropped)
	}
}

// TestNotSIP: bytes that nobody can be answered for.
func TestNotSIP(t *testing.T) {
	for _, s := range []string{"", "\r\n", "\r\n\r\n", "\x00", "GET / HTTP/1.1\r\n\r\n", "REGISTER", "REGISTER sip:example.com SIP/2.0", "REGISTER\r\n\r\n", strings.Repeat("\x00", 100)} {
		same(t, fmt.Sprintf("%q", s), verdict(new(sip.Message), []byte(s)), dropped)
	}
	same(t, "cut off", verdict(new(sip.Message), []byte(register[:len(register)-2])), 400)
}

// TestClone: a clone lives on when the buffer is used again, and a message may
// be parsed into many times.
func TestClone(t *testing.T) {
	buf := make([]byte, len(message)+1000)
	n := copy(buf, message)
	var m sip.Message
	if m.Parse(buf[:n]) != nil || m.Check() != nil {
		t.Fatal("the message does not parse")
	}
	c := m.Clone()
	want := string(c.AppendForward(nil, &sip.Forward{URI: c.RequestURI(), Via: []byte("SIP/2.0/UDP 192.0.2.5;branch=z9hG4bK1"), Source: source}))
	for i := range buf {
		buf[i] = 0xff
	}
	n = copy(buf, register)
	if m.Parse(buf[:n]) != nil || m.Check() != nil {
		t.Fatal("the next message does not parse")
	}
	if d := siptest.Diff(message, c.Raw()); d != "" {
		t.Errorf("the clone changed:\n%s", d)
	}
	same(t, "method", c.Method(), "MESSAGE")
	same(t, "branch", c.Via().Branch, "z9hG4bK776sgdkse")
	same(t, "Via host", c.Via().Host, "192.0.2.1")
	same(t, "URI", c.URI().String(), "sip:bob@example.com")
	same(t, "user", c.URI().User, "bob")
	same(t, "body", c.Body(), "Watson, come here. Now")
	number, _ := c.CSeq()
	same(t, "CSeq", number, 1)
	got := c.AppendForward(nil, &sip.Forward{URI: c.RequestURI(), Via: []byte("SIP/2.0/UDP 192.0.2.5;branch=z9hG4bK1"), Source: source})
	if d := siptest.Diff(want, got); d != "" {
		t.Errorf("the clone is forwarded otherwise:\n%s", d)
	}
	same(t, "the parsed message", m.Method(), "REGISTER")
	if !bytes.Equal(m.Bytes(), buf[:n]) {
		t.Error("Bytes are not the message's")
	}
}
