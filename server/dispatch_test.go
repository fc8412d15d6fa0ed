package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/sip"
)

// TestAnswers sends requests without credentials and looks at the answers.
func TestAnswers(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *config.Config) {
		c.Limits.URIBytes, c.Limits.MessageBytes, c.Limits.HeaderCount = 1000, 8000, 40
	})
	const ours, bob = "sip:example.com", "sip:bob@example.com"
	for _, c := range []struct {
		name        string
		method, uri string
		body        string
		lines       []string
		status      int
		field       string // of the answer
		value       string
	}{
		{"INVITE", "INVITE", bob, "", nil, 405, "Allow", allow},
		{"a method nobody knows", "FOO", bob, "", nil, 405, "Allow", allow},
		{"a method in lower case", "register", ours, "", nil, 405, "Allow", allow}, // RFC 3261 §7.1
		{"stray BYE", "BYE", bob, "", nil, 481, "", ""},
		{"stray NOTIFY", "NOTIFY", bob, "", nil, 481, "", ""},
		{"stray CANCEL", "CANCEL", bob, "", nil, 481, "", ""},
		{"REGISTER", "REGISTER", ours, "", nil, 401, "", ""},
		{"REGISTER at an address", "REGISTER", "sip:127.0.0.1", "", nil, 401, "", ""},
		{"SUBSCRIBE", "SUBSCRIBE", bob, "", []string{"Event: presence"}, 401, "", ""},
		{"PUBLISH", "PUBLISH", bob, "", []string{"Event: presence"}, 401, "", ""},
		{"MESSAGE", "MESSAGE", bob, "hi", nil, 407, "", ""},
		{"MESSAGE to another domain", "MESSAGE", "sip:x@example.net", "hi", nil, 407, "", ""}, // who asks comes first
		{"unknown extension", "REGISTER", ours, "", []string{"Require: path, foo, bar"}, 420, "Unsupported", "foo, bar"},
		{"unknown extension of a proxy", "MESSAGE", bob, "", []string{"Proxy-Require: foo"}, 420, "Unsupported", "foo"},
		{"what the user must know is passed on", "MESSAGE", bob, "", []string{"Require: foo"}, 407, "", ""},
		{"scheme", "REGISTER", "tel:+4930123", "", nil, 416, "", ""},
		{"scheme of a message", "MESSAGE", "tel:+4930123", "", nil, 416, "", ""},
		{"secure scheme of a message", "MESSAGE", "sips:bob@example.com", "", nil, 416, "", ""}, // there is no TLS
		{"scheme nobody knows", "OPTIONS", "foo:bar", "", nil, 416, "", ""},
		{"domain of nobody", "REGISTER", "sip:example.net", "", nil, 404, "", ""},
		{"content coding", "PUBLISH", bob, "xx", []string{"Event: presence", "Content-Encoding: gzip"}, 415, "Accept-Encoding", "deflate, identity"},
		{"content coding without content", "SUBSCRIBE", bob, "", []string{"Event: presence", "Content-Encoding: deflate"}, 401, "", ""},
		{"no hop left", "MESSAGE", bob, "hi", []string{"Max-Forwards: 0"}, 483, "", ""},
		{"no hop left to a user", "OPTIONS", bob, "", []string{"Max-Forwards: 0"}, 483, "", ""},
		{"no hop left, written long", "OPTIONS", bob, "", []string{"Max-Forwards: 000"}, 483, "", ""},
		{"OPTIONS of the server without hops", "OPTIONS", ours, "", []string{"Max-Forwards: 0"}, 200, "Allow", allow},
		{"OPTIONS of a user", "OPTIONS", bob, "", nil, 405, "Allow", "MESSAGE"},
		{"long URI", "OPTIONS", "sip:" + strings.Repeat("a", 2000) + "@example.com", "", []string{"To: <" + ours + ">"}, 414, "", ""},
		{"long message", "OPTIONS", ours, strings.Repeat("x", 9000), nil, 513, "", ""},
		{"many headers", "OPTIONS", ours, "", manyHeaders(50), 400, "", ""},
		{"no Call-ID", "OPTIONS", ours, "", []string{"Call-ID:"}, 400, "", ""},
		{"no From", "OPTIONS", ours, "", []string{"From:"}, 400, "", ""},
		{"CSeq of another method", "OPTIONS", ours, "", []string{"CSeq: 1 REGISTER"}, 400, "", ""},
		{"CSeq too large", "OPTIONS", ours, "", []string{"CSeq: 4294967296 OPTIONS"}, 400, "", ""},
		{"Max-Forwards too large", "OPTIONS", ours, "", []string{"Max-Forwards: 300"}, 400, "", ""},
		{"two From", "OPTIONS", ours, "", []string{"f: <sip:x@example.com>;tag=1"}, 400, "", ""},
		{"foreign Route", "MESSAGE", bob, "", []string{"Route: <sip:192.0.2.99;lr>"}, 403, "", ""},
		{"own Route", "MESSAGE", bob, "", []string{"Route: <sip:127.0.0.1;lr>"}, 407, "", ""},
		{"own Route, then foreign", "MESSAGE", bob, "", []string{"Route: <sip:example.com;lr>, <sip:192.0.2.99;lr>"}, 403, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, proto := range []string{"UDP", "TCP"} {
				cl := h.client("alice", proto)
				cl.t = t
				m := cl.ask(cl.request(c.method, c.uri, c.body, c.lines...))
				if m.Status() != c.status {
					t.Errorf("%s: %d %s, want %d", proto, m.Status(), m.Reason(), c.status)
					continue
				}
				if c.field != "" && !strings.Contains(m.Raw(), "\r\n"+c.field+": "+c.value+"\r\n") {
					t.Errorf("%s: want %q in\n%s", proto, c.value, m.Raw())
				}
				if to, err := m.To(); err != nil || to.Tag() == "" {
					t.Errorf("%s: no tag in To: %s", proto, m.Raw())
				}
			}
		})
	}
	if n := h.counters.panics.n.Load(); n != 0 {
		t.Errorf("%d panics", n)
	}
}

func TestOptionsTellWhatTheServerDoes(t *testing.T) {
	t.Parallel()
	c := start(t).client("alice", "UDP")
	m := c.ask(c.request("OPTIONS", "sip:example.org", ""))
	if m.Status() != 200 || m.Get(sip.HeaderAllow) != allow || m.Get(sip.HeaderAccept) == "" || m.Other("Accept-Encoding") != "identity" {
		t.Errorf("answered\n%s", m.Raw())
	}
	if got := m.Get(sip.HeaderAllowEvents); !strings.HasPrefix(got, "presence, ") {
		t.Errorf("Allow-Events: %s", got)
	}
	for _, tag := range []string{"path", "outbound", "eventlist", "recipient-list-subscribe"} {
		if !sip.HasToken(m.Get(sip.HeaderSupported), tag) {
			t.Errorf("%s is not supported: %s", tag, m.Get(sip.HeaderSupported))
		}
	}
	// What Allow says is what the table has, but for CANCEL, which belongs to
	// INVITE, and BYE.
	for name := range methods {
		if listed := sip.HasToken(allow, name); listed == (name == "BYE" || name == "CANCEL") {
			t.Errorf("Allow and the table differ on %s", name)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	c := start(t).client("alice", "UDP")
	if m := c.ask(strings.Replace(c.request("OPTIONS", "sip:example.com", ""), "SIP/2.0\r\n", "SIP/7.0\r\n", 1)); m.Status() != 505 {
		t.Errorf("answered %d, want 505", m.Status())
	}
}

// What has nowhere to answer to, or is never answered, gets silence and takes
// nothing down.
func TestSilence(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := h.client("alice", "UDP")
	for _, text := range []string{
		c.request("ACK", "sip:bob@example.com", ""),
		c.request("ACK", "sip:bob@example.com", "", "Call-ID:"),
		c.request("OPTIONS", "sip:example.com", "", "Via:"),
		c.request("OPTIONS", "sip:example.com", "", "Via: nonsense"),
		"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKstray\r\nFrom: <sip:a@b>\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n\r\n",
		"SIP/2.0 200 OK\r\n\r\n",
		"\r\n\r\n", "\x00", "hello", strings.Repeat("\xff", 5000),
	} {
		c.send(text)
	}
	if m := c.next(300 * time.Millisecond); m != nil {
		t.Errorf("answered\n%s", m.Raw())
	}
	if m := c.ask(c.request("OPTIONS", "sip:example.com", "")); m.Status() != 200 {
		t.Errorf("afterwards: %d", m.Status())
	}
	if h.tx.Counters.Stray.Load() != 1 || h.counters.malformed.n.Load() != 4 {
		t.Errorf("counted %d stray, %d malformed", h.tx.Counters.Stray.Load(), h.counters.malformed.n.Load())
	}
}

func TestAuthenticatedAnswers(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := h.client("alice", "UDP")
	const bob = "sip:bob@example.com"
	c.want(489, "SUBSCRIBE", bob, "", "Event: nothing")
	c.want(481, "SUBSCRIBE", bob, "", "Event: presence", "To: <"+bob+">;tag=x")
	c.want(489, "PUBLISH", bob, "", "Event: nothing")
	c.want(404, "MESSAGE", "sip:nobody@example.com", "hi")
	c.want(403, "MESSAGE", "sip:x@example.net", "hi")
	c.want(403, "MESSAGE", bob, "hi", "From: <sip:bob@example.com>;tag=1") // forged
	c.want(403, "REGISTER", "sip:example.com", "", "To: <sip:bob@example.com>", "Contact: <sip:x@127.0.0.1>")
	m := c.want(423, "REGISTER", "sip:example.com", "", "Contact: <sip:alice@192.0.2.1>;expires=5")
	if m.Get(sip.HeaderMinExpires) != "60" {
		t.Errorf("Min-Expires %q", m.Get(sip.HeaderMinExpires))
	}
	if b, err := h.registrar.Lookup(t.Context(), aor(t, "alice")); len(b) != 0 || err != nil {
		t.Errorf("something was bound: %v, %v", b, err)
	}
}

// The main job over sockets, and a loop that comes back from the device.
func TestMessage(t *testing.T) {
	for _, proto := range []string{"UDP", "TCP"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			h := start(t)
			alice, bob := h.client("alice", proto), h.client("bob", proto)
			bob.register("")
			text := alice.authorized("MESSAGE", "sip:bob@example.com", "hello", "Content-Type: text/plain")
			alice.send(text)
			m := bob.answer(200)
			if m.Body() != "hello" || m.Has(sip.HeaderProxyAuthorization) {
				t.Errorf("bob got\n%s", m.Raw())
			}
			if a := alice.next(10 * time.Second); a == nil || a.Status() != 200 {
				t.Fatalf("alice heard %v", a)
			}
			if proto == "UDP" { // a retransmission is answered again and goes no further
				if a := alice.ask(text); a.Status() != 200 {
					t.Errorf("retransmission: %d", a.Status())
				}
				if x := bob.next(100 * time.Millisecond); x != nil {
					t.Errorf("bob got it again")
				}
			}
			looped := strings.Replace(m.Raw(), m.RequestURI(), "sip:bob@example.com", 1)
			looped = strings.Replace(looped, "\r\n", fmt.Sprintf("\r\nVia: SIP/2.0/%s %s;branch=z9hG4bKloop\r\n", proto, bob.conn.LocalAddr()), 1)
			if a := bob.ask(looped); a.Status() != 482 {
				t.Errorf("a loop: %d", a.Status())
			}
		})
	}
}

func manyHeaders(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("X-%d: y", i))
	}
	return lines
}
