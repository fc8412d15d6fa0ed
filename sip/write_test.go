package sip_test

import (
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rollcall/sip"
	"rollcall/sip/siptest"
)

var source = netip.MustParseAddrPort("198.51.100.7:4711")

// equal compares two messages.
func equal[T ~string | ~[]byte](t *testing.T, got T, want string) {
	t.Helper()
	if d := siptest.Diff(want, got); d != "" {
		t.Errorf("want (-) and got (+) differ:\n%s", d)
	}
}

func TestAppendReply(t *testing.T) {
	m := parse(t, replace(t, message, "Route:", "v: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKb , SIP/2.0/UDP 192.0.2.8\r\nTimestamp: 54.2\r\nRoute:"))
	equal(t, m.AppendReply([]byte("before"), source, &sip.Reply{Status: 407, ToTag: "srv",
		Fields: []sip.Field{{Name: "Server", Value: "rollcall"}}, Lines: []byte("Allow: MESSAGE\r\n"),
		Body: []byte("why"), BodyTyp: "text/plain"}),
		"beforeSIP/2.0 407 Proxy Authentication Required\r\n"+
			"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776sgdkse;rport=4711;received=198.51.100.7\r\n"+
			"v: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKb , SIP/2.0/UDP 192.0.2.8\r\n"+
			"From: \"Alice\" <sip:alice@example.com>;tag=49583\r\n"+
			"To: <sip:bob@example.com>;tag=srv\r\n"+
			"Call-ID: asd88asd77a@192.0.2.1\r\n"+
			"CSeq: 1 MESSAGE\r\n"+
			"Server: rollcall\r\n"+
			"Allow: MESSAGE\r\n"+
			"Content-Type: text/plain\r\n"+
			"Content-Length: 3\r\n\r\nwhy")
	trying := string(m.AppendReply(nil, source, &sip.Reply{Status: 100, Reason: "Working"}))
	same(t, "a 100 copies Timestamp (RFC 3261 §8.2.6.1)", strings.Contains(trying, "Timestamp: 54.2\r\n"), true)
	same(t, "reason", strings.HasPrefix(trying, "SIP/2.0 100 Working\r\n"), true)
	same(t, "no tag", strings.Contains(trying, "To: <sip:bob@example.com>\r\n"), true)

	tagged := parse(t, replace(t, message, "To: <sip:bob@example.com>", "To: sip:bob@example.com;tag=own"))
	same(t, "a tag stays (RFC 3261 §8.2.6.2)", strings.Contains(string(tagged.AppendReply(nil, source, &sip.Reply{Status: 200, ToTag: "srv"})), "To: sip:bob@example.com;tag=own\r\n"), true)
}

// TestReplyToFaults: the answer to a message that is wrong is a message itself,
// though it copies from it.
func TestReplyToFaults(t *testing.T) {
	for _, c := range [][2]string{
		{"Call-ID: asd88asd77a@192.0.2.1\r\n", "Call-ID: asd88asd77a@192.0.2.1\n"},
		{"tag=49583\r\n", "tag=49583\n"},
		{"SIP/2.0\r\n", "SIP/3.0\r\n"},
		{": 22\r\n", ": 99\r\n"},
		{"To: <sip:bob@example.com>", "To: <sip:bob@example.com>\r\n "},
	} {
		var m sip.Message
		if err := m.Parse([]byte(replace(t, message, c[0], c[1]))); err != nil {
			t.Fatal(err)
		}
		status := 200
		if fault := m.Check(); fault != nil {
			status = fault.Status
		}
		reply := parse(t, string(m.AppendReply(nil, source, &sip.Reply{Status: status, ToTag: "srv"})))
		same(t, "Call-ID", reply.CallID(), "asd88asd77a@192.0.2.1")
		to, _ := reply.To()
		same(t, "To tag", to.Tag(), "srv")
	}
	var m sip.Message // cut off behind its Call-ID
	if err := m.Parse([]byte(message[:strings.Index(message, "\r\nCSeq")])); err != nil {
		t.Fatal(err)
	}
	reply := string(m.AppendReply(nil, source, &sip.Reply{Status: 400}))
	same(t, "line ends", strings.Count(reply, "\r"), strings.Count(reply, "\n"))
	same(t, "cut off", strings.Contains(reply, "Call-ID: asd88asd77a@192.0.2.1\r\nContent-Length: 0\r\n\r\n"), true)
}

// TestReplyVia: received and rport tell the source and nothing else (RFC 3261
// §18.2.1, RFC 3581 §4).
func TestReplyVia(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("[2001:db8::1]:5070")
	for _, c := range []struct {
		via  string
		src  netip.AddrPort
		want string
	}{
		{"SIP/2.0/UDP 192.0.2.1;branch=a", v4, "SIP/2.0/UDP 192.0.2.1;branch=a"},
		{"SIP/2.0/UDP 192.0.2.1;branch=a", source, "SIP/2.0/UDP 192.0.2.1;branch=a;received=198.51.100.7"},
		{"SIP/2.0/UDP pc33.example.com;branch=a", v4, "SIP/2.0/UDP pc33.example.com;branch=a;received=192.0.2.1"},
		{"SIP/2.0/UDP 192.0.2.1;rport;branch=a", v4, "SIP/2.0/UDP 192.0.2.1;branch=a;rport=5060;received=192.0.2.1"},
		{"SIP/2.0/UDP 192.0.2.1;rport=9;received=203.0.113.9;branch=a", source, "SIP/2.0/UDP 192.0.2.1;branch=a;rport=4711;received=198.51.100.7"},
		{"SIP/2.0/UDP 192.0.2.1;received=203.0.113.9;branch=a", v4, "SIP/2.0/UDP 192.0.2.1;branch=a"},
		{"SIP/2.0/TCP [2001:db8::1]:5060;branch=a", v6, "SIP/2.0/TCP [2001:db8::1]:5060;branch=a"},
		{"SIP/2.0/TCP [2001:db8::2]:5060;branch=a", v6, "SIP/2.0/TCP [2001:db8::2]:5060;branch=a;received=2001:db8::1"},
		{"SIP/2.0/UDP [::ffff:192.0.2.1];branch=a", v4, "SIP/2.0/UDP [::ffff:192.0.2.1];branch=a"},
		{"SIP / 2.0 / UDP  192.0.2.1 : 5060 ; branch = a ; x = \"b;c\" ; y", source, "SIP / 2.0 / UDP  192.0.2.1 : 5060;branch=a;x=\"b;c\";y;received=198.51.100.7"},
		{"SIP/2.0/UDP 192.0.2.1;branch=a, SIP/2.0/UDP 192.0.2.2;rport", source, "SIP/2.0/UDP 192.0.2.1;branch=a;received=198.51.100.7, SIP/2.0/UDP 192.0.2.2;rport"},
	} {
		m := parse(t, replace(t, message, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776sgdkse;rport", c.via))
		reply := parse(t, string(m.AppendReply(nil, c.src, &sip.Reply{Status: 200})))
		same(t, c.via, reply.Get(sip.HeaderVia), c.want)
	}
}

func TestAppendForward(t *testing.T) {
	odd := replace(t, message, "Date:", "x-Odd  :  \"as it,  came\" ;;\r\n  folded\r\nSUBJECT: a\r\nRoute: <sip:a.example.com;lr> , <sip:b.example.com;lr>\r\nDate:")
	m := parse(t, replace(t, odd, "70", "007"))
	got := m.AppendForward(nil, &sip.Forward{URI: "sip:bob@192.0.2.33:5062;ob", Via: []byte("SIP/2.0/TCP 192.0.2.5;branch=z9hG4bKsrv"), Source: source,
		Routes: []string{"<sip:edge.example.com;lr>", "<sip:token@flow.example.com;lr>"}, DropRoutes: 2,
		Drop:   func(id sip.HeaderID, value string) bool { return id == sip.HeaderSubject && value == "a" },
		Fields: []sip.Field{{Name: "P-Asserted-Identity", Value: "<sip:alice@example.com>"}}})
	equal(t, got, "MESSAGE sip:bob@192.0.2.33:5062;ob SIP/2.0\r\n"+
		"Via: SIP/2.0/TCP 192.0.2.5;branch=z9hG4bKsrv\r\n"+
		"Route: <sip:edge.example.com;lr>\r\n"+
		"Route: <sip:token@flow.example.com;lr>\r\n"+
		"Max-Forwards: 6\r\n"+
		"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776sgdkse;rport=4711;received=198.51.100.7\r\n"+
		"From: \"Alice\" <sip:alice@example.com>;tag=49583\r\n"+
		"To: <sip:bob@example.com>\r\n"+
		"Call-ID: asd88asd77a@192.0.2.1\r\n"+
		"CSeq: 1 MESSAGE\r\n"+
		"x-Odd  :  \"as it,  came\" ;;\r\n  folded\r\n"+
		"Route: <sip:b.example.com;lr>\r\n"+
		"Date: Sat, 13 Nov 2010 23:29:00 GMT\r\n"+
		"Content-Type: text/plain; charset=utf-8\r\n"+
		"P-Asserted-Identity: <sip:alice@example.com>\r\n"+
		"Content-Length: 22\r\n\r\n"+
		"Watson, come here. Now")

	plain := &sip.Forward{URI: "sip:bob@192.0.2.33", Via: []byte("SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKsrv"), Source: source}
	none := parse(t, replace(t, message, "Max-Forwards: 70\r\n", ""))
	same(t, "Max-Forwards is added (RFC 3261 §16.6 item 3)", parse(t, string(none.AppendForward(nil, plain))).Get(sip.HeaderMaxForwards), "70")
	zero := parse(t, replace(t, message, "70", "0"))
	same(t, "never below zero", parse(t, string(zero.AppendForward(nil, plain))).Get(sip.HeaderMaxForwards), "0")

	body := "\x00\xff binary \r\n\r\nVia: no header\r\n"
	bin := parse(t, replace(t, strings.TrimSuffix(message, "Watson, come here. Now")+body, "Content-Length: 22\r\n", ""))
	sent := parse(t, string(bin.AppendForward(nil, plain)))
	equal(t, sent.Body(), body)
	same(t, "Content-Length is added", sent.Get(sip.HeaderContentLength), "30")
}

// TestForwardKeepsTorture: what a proxy does not change of the valid torture
// messages leaves as it came, byte for byte (RFC 3261 §16.6).
func TestForwardKeepsTorture(t *testing.T) {
	for folder, all := range map[string][]torture{"rfc4475": rfc4475, "rfc5118": rfc5118} {
		for _, c := range all {
			var m sip.Message
			if verdict(&m, load(t, folder+"/"+c.name)) != accepted || !m.IsRequest() {
				continue
			}
			out := parse(t, string(m.AppendForward(nil, &sip.Forward{URI: m.RequestURI(), Via: []byte("SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKsrv"), Source: source})))
			if want, got := untouched(m.Raw()[:m.HeadLen()]), untouched(out.Raw()[:out.HeadLen()]); want != got {
				t.Errorf("%s:\n%s", c.name, siptest.Diff(want, got))
			}
			equal(t, out.Body(), m.Body())
			same(t, c.name+": Via values", len(vias(t, out)), len(vias(t, &m))+1)
		}
	}
}

// untouched returns the header lines that forwarding leaves alone.
func untouched(head string) string {
	var keep []string
	take := true
	for _, line := range strings.SplitAfter(head, "\r\n")[1:] {
		if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			name, _, _ := strings.Cut(line, ":")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "via", "v", "max-forwards", "content-length", "l":
				take = false
			default:
				take = true
			}
		}
		if take {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "")
}

func TestRouteDrop(t *testing.T) {
	for _, c := range []struct {
		routes, left string
		drop         int
	}{
		{"Route: <sip:a;lr>\r\nRoute: <sip:b;lr>\r\n", "<sip:a;lr>|<sip:b;lr>", 0},
		{"Route: <sip:a;lr>\r\nRoute: <sip:b;lr>\r\n", "<sip:b;lr>", 1},
		{"Route: <sip:a;lr>, <sip:b;lr>\r\nRoute: <sip:c;lr>\r\n", "<sip:c;lr>", 2},
		{"Route: <sip:a;lr>, <sip:b,x;lr>,<sip:c;lr>\r\n", "<sip:b,x;lr>|<sip:c;lr>", 1},
		{"Route: <sip:a;lr>\r\n", "", 5},
		{"Route: , <sip:a;lr>,, <sip:b;lr>\r\n", "<sip:b;lr>", 1},
		{"Route: <sip:a;lr> , ,\r\n", "", 1},
	} {
		m := parse(t, replace(t, message, "Route: <sip:proxy.example.com;lr>\r\n", c.routes))
		out := parse(t, string(m.AppendForward(nil, &sip.Forward{URI: "sip:bob@192.0.2.33", Via: []byte("SIP/2.0/UDP 192.0.2.5"), Source: source, DropRoutes: c.drop})))
		same(t, c.routes, strings.Join(items(t, out, sip.HeaderRoute), "|"), c.left)
		same(t, c.routes+" is there", out.Has(sip.HeaderRoute), c.left != "")
	}
}

func TestAppendUpstream(t *testing.T) {
	const response = "SIP/2.0 200 Very well\r\n" +
		"Via: SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKsrv\r\n" +
		"v:SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776sgdkse;rport=4711;received=198.51.100.7\r\n" +
		"f: \"Alice\" <sip:alice@example.com>;tag=49583\r\n" +
		"To: <sip:bob@example.com>;tag=b\r\n" +
		"Call-ID: asd88asd77a@192.0.2.1\r\n" +
		"CSeq: 1 MESSAGE\r\n" +
		"Contact: <sip:bob@192.0.2.33>\r\n" +
		"x-odd : kept\r\n" +
		"Content-Type: text/plain\r\n" +
		"l: 2\r\n\r\nok"
	const want = "SIP/2.0 200 Very well\r\n" +
		"v:SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776sgdkse;rport=4711;received=198.51.100.7\r\n" +
		"f: \"Alice\" <sip:alice@example.com>;tag=49583\r\n" +
		"To: <sip:bob@example.com>;tag=b\r\n" +
		"Call-ID: asd88asd77a@192.0.2.1\r\n" +
		"CSeq: 1 MESSAGE\r\n" +
		"Contact: <sip:bob@192.0.2.33>\r\n" +
		"x-odd : kept\r\n" +
		"Content-Type: text/plain\r\n" +
		"Content-Length: 2\r\n\r\nok"
	equal(t, parse(t, response).AppendUpstream(nil, nil), want)
	joined := replace(t, response, "z9hG4bKsrv\r\nv:", "z9hG4bKsrv , ")
	equal(t, parse(t, joined).AppendUpstream(nil, nil), replace(t, want, "v:", "Via: "))
	trailing := replace(t, response, "z9hG4bKsrv\r\n", "z9hG4bKsrv ,\r\n , \r\n")
	equal(t, parse(t, trailing).AppendUpstream(nil, nil), want)
	bare := replace(t, replace(t, replace(t, want, "Contact: <sip:bob@192.0.2.33>\r\n", ""), "Content-Type: text/plain\r\n", ""), "2\r\n\r\nok", "0\r\n\r\n")
	equal(t, parse(t, response).AppendUpstream(nil, func(id sip.HeaderID) bool {
		return id == sip.HeaderContact || id == sip.HeaderContentType
	}), bare)
}

func TestDate(t *testing.T) {
	when := time.Date(2010, 11, 13, 23, 29, 0, 0, time.UTC)
	same(t, "written", sip.FormatDate(when.In(time.FixedZone("", 3600))), "Sat, 13 Nov 2010 23:29:00 GMT")
	got, err := sip.ParseDate(" Sat, 13 Nov 2010 23:29:00 GMT ")
	if err != nil || !got.Equal(when) {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"Sat, 13 Nov 2010 23:29:00 UTC", "Sat, 13 Nov 2010 23:29:00 +0000", "13 Nov 2010 23:29:00 GMT", ""} {
		if got, err := sip.ParseDate(s); err == nil {
			t.Errorf("%q reads as %v", s, got)
		}
	}
}

func TestError(t *testing.T) {
	e := sip.NewError(sip.StatusIntervalTooBrief, "", sip.Field{Name: "Min-Expires", Value: "60"})
	same(t, "text", e.Error(), "423 Interval Too Brief")
	e.Cause = io.ErrUnexpectedEOF
	same(t, "with its cause", e.Error(), "423 Interval Too Brief: unexpected EOF")
	same(t, "unwrapped", errors.Is(e, io.ErrUnexpectedEOF), true)
	same(t, "an unknown code", sip.StatusText(499), "Request Failure")
	same(t, "a reason of its own", sip.NewError(403, "Not you").Text(), "Not you")
}

// TestReplyToMalformedVia: a Via that does not parse is copied as it came, whether
// the request was checked or not.
func TestReplyToMalformedVia(t *testing.T) {
	const line = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa;;=x"
	raw := "OPTIONS sip:example.com SIP/2.0\r\n" + line + "\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\n\r\n"
	for _, check := range []bool{false, true} {
		m := new(sip.Message)
		if err := m.Parse([]byte(raw)); err != nil {
			t.Fatal(err)
		}
		if check && m.Check() == nil {
			t.Fatal("a malformed Via passed")
		}
		got := string(m.AppendReply(nil, netip.MustParseAddrPort("192.0.2.1:5060"), &sip.Reply{Status: 400}))
		if !strings.Contains(got, line+"\r\n") {
			t.Errorf("checked %v: answered\n%s", check, got)
		}
	}
}
