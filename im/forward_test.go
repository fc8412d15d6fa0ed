package im_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/archive"
	"rollcall/sip"
	"rollcall/sip/siptest"
)

// What is passed on is what came, but for what a proxy must touch (RFC 3261
// §16.6) and what is nobody else's business.
func TestForwardedRequest(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.online("bob", "192.0.2.10:5060")
		body := "\x00\x01\xff\r\n\r\n\x1b\n漢字"
		r := h.send("bob", body,
			"c: Application/octet-stream",
			"Content-Encoding: deflate",
			"Contact: <sip:alice@192.0.2.1>",
			"m: <sip:alice@192.0.2.1:5070>",
			"X-Odd:   as \t it  came ",
			"P-Preferred-Identity: <sip:alice@example.com>",
			`Proxy-Authorization: Digest username="alice", realm="example.com", nonce="n", uri="sip:bob@example.com", response="00000000000000000000000000000000"`,
			`Proxy-Authorization: Digest username="alice@example.com", realm="example.net", nonce="n", uri="sip:bob@example.com", response="00000000000000000000000000000000"`,
			`Authorization: Digest username="alice", realm="Example.com", nonce="n", uri="sip:bob@example.com", response="00000000000000000000000000000000"`,
			`Proxy-Authorization: Digest realm="example.com", algorithm=odd`,
			"User-Agent: Test")
		r.want(200)
		branch := p.last().Via().Branch
		want := siptest.Text(`MESSAGE sip:bob@192.0.2.10:5060 SIP/2.0
Via: SIP/2.0/UDP 203.0.113.1:5060;rport;branch=`+branch+`
Max-Forwards: 69
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=`+r.branch+`;rport=5060;received=192.0.2.1
From: <sip:alice@example.com>;tag=a
To: <sip:bob@example.com>
Call-ID: `+r.callID+`
CSeq: 1 MESSAGE
c: Application/octet-stream
Content-Encoding: deflate
X-Odd:   as `+"\t"+` it  came `+`
Proxy-Authorization: Digest username="alice@example.com", realm="example.net", nonce="n", uri="sip:bob@example.com", response="00000000000000000000000000000000"
User-Agent: Test`, body)
		if d := siptest.Diff(want, p.last().Raw()); d != "" {
			t.Error(d)
		}
		// The record has the request as it came.
		rec := h.recordOf(r.callID)
		if d := siptest.Diff(r.text, rec.Raw); d != "" {
			t.Errorf("recorded otherwise:\n%s", d)
		}
		for _, x := range [][2]string{
			{rec.From, "sip:alice@example.com"}, {rec.To, "sip:bob@example.com"}, {rec.Source, "udp 192.0.2.1:5060"},
			{rec.Decision, "allow"}, {rec.Rule, "company"}, {rec.CallID, r.callID}, {rec.Branch, r.branch}, {rec.UserAgent, "Test"},
			{rec.Direction.String(), archive.Internal.String()}, {rec.RequestURI, "sip:bob@example.com"}, {rec.Method, "MESSAGE"},
		} {
			if x[0] != x[1] {
				t.Errorf("recorded %q, want %q", x[0], x[1])
			}
		}
		// A message out of the queue is the same but for its Date.
		p.answers(480, 200)
		r = h.send("bob", body, "Contact: <sip:alice@192.0.2.1>", "Proxy-Authorization: Digest realm=\"example.com\"")
		r.want(202)
		sent := time.Now()
		settle(10 * time.Second)
		h.refresh("bob", p)
		settle(time.Second)
		last := p.last()
		if last.Body() != body || last.Has(sip.HeaderContact) || last.Has(sip.HeaderProxyAuthorization) {
			t.Errorf("redelivered:\n%s", last.Raw())
		}
		if d, err := sip.ParseDate(last.Get(sip.HeaderDate)); err != nil || sent.Sub(d).Abs() > 2*time.Second {
			t.Errorf("Date %q, sent %v", last.Get(sip.HeaderDate), sent)
		}
	})
}

// A device's 2xx has neither Contact nor body by the time it reaches the sender
// (RFC 3428 §7); a failure comes as it was.
func TestForwardedResponse(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.online("bob", "192.0.2.10:5060")
		p.lines = []string{"Contact: <sip:bob@192.0.2.10>", "X-Phone: yes", `Warning: 399 example.com "no pictures"`, "Accept: text/plain"}
		p.body = "thanks"
		for _, status := range []int{200, 415} {
			p.answers(status)
			m := h.send("bob", "hello").want(status)
			if m.Other("X-Phone") != "yes" || m.Count(sip.HeaderVia) != 1 {
				t.Errorf("changed:\n%s", m.Raw())
			}
			if good := status == 200; m.Has(sip.HeaderContact) == good || m.Has(sip.HeaderContentType) == good || (m.Body() == "") != good {
				t.Errorf("%d:\n%s", status, m.Raw())
			}
		}
	})
}

func TestCPIMMessageID(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		const cpim = "From: <sip:alice@example.com>\r\nNS: imdn <urn:ietf:params:imdn>\r\n%s\r\n\r\nContent-Type: text/plain\r\n\r\nimdn.Message-ID: in the text"
		for head, want := range map[string]string{
			"imdn.Message-ID: 34jk324j":                                    "34jk324j",
			"IMDN.message-id:34jk324j ":                                    "34jk324j",
			"Subject: none":                                                "",
			"Message-ID: not of IMDN":                                      "",
			"imdn.Message-ID: " + strings.Repeat("x", 300):                 "",
			"imdn.Disposition-Notification: display\r\nimdn.Message-ID: 1": "1",
		} {
			r := h.send("bob", fmt.Sprintf(cpim, head), "Content-Type: Message/CPIM")
			r.want(202)
			if got := h.recordOf(r.callID).MessageID; got != want {
				t.Errorf("%q: Message-ID %q, want %q", head, got, want)
			}
		}
		r := h.send("bob", "imdn.Message-ID: 1\r\n\r\n", "Content-Type: text/plain")
		r.want(202)
		if got := h.recordOf(r.callID).MessageID; got != "" {
			t.Errorf("text/plain: Message-ID %q", got)
		}
	})
}

// A Route that named this server is taken off (RFC 3261 §16.4), also when the
// message waited.
func TestOwnRouteIsTakenOff(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.online("bob", "192.0.2.10:5060")
		h.dropRoutes = 1
		h.send("bob", "hello", "Route: <sip:203.0.113.1;lr>").want(200)
		if p.last().Has(sip.HeaderRoute) {
			t.Errorf("Route stays:\n%s", p.last().Raw())
		}
		p.answers(480, 200)
		h.send("bob", "later", "Route: <sip:203.0.113.1;lr>").want(202)
		h.refresh("bob", p)
		settle(time.Second)
		if p.last().Body() != "later" || p.last().Has(sip.HeaderRoute) {
			t.Errorf("Route stays:\n%s", p.last().Raw())
		}
	})
}

// A device that loses the sender's Via on the way is understood all the same.
func TestResponseWithoutSendersVia(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.online("bob", "192.0.2.10:5060")
		p.oneVia = true
		for _, status := range []int{200, 415, 603} {
			p.answers(status)
			if m := h.send("bob", "hello").want(status); m.Via().Branch == "" || m.Count(sip.HeaderVia) != 1 {
				t.Errorf("answered\n%s", m.Raw())
			}
		}
	})
}
