package im_test

import (
	"testing"
	"time"

	"rollcall/sip"
)

// TestDeviceMovesWhileItsMessageIsUnderWay: a device that restarts at another port
// has the message that went to its old one as soon as it registers, not when it
// registers once more after that try has run out.
func TestDeviceMovesWhileItsMessageIsUnderWay(t *testing.T) {
	for name, after := range map[string]time.Duration{"before it is stored": 3 * time.Second, "after": 15 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				const instance = `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000000000001>"`
				old := h.wire.phone(t, "198.51.100.7:5060")
				old.answers(0)
				h.bind("bob", old.udp(), "<sip:bob@198.51.100.7:5060>"+instance)
				r := h.send("bob", "hello")
				time.Sleep(after)
				p := h.wire.phone(t, "198.51.100.7:5070")
				h.bind("bob", p.udp(), "<sip:bob@198.51.100.7:5070>"+instance)
				time.Sleep(12 * time.Second)
				if m := r.answer(); m == nil || m.Status()/100 != 2 {
					t.Errorf("answered %v", m)
				}
				p.want("hello")
				h.waiting("bob", 0)
			})
		})
	}
}

// TestAssertedIdentityOfTheSender: a user does not assert who it is (RFC 3325 §5).
func TestAssertedIdentityOfTheSender(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.online("bob", "198.51.100.7:5060")
		h.send("bob", "pay at once", "P-Asserted-Identity: \"The Boss\" <sip:boss@example.com>",
			"Remote-Party-ID: \"The Boss\" <sip:boss@example.com>", "p-asserted-identity: <tel:+15550100>").want(200)
		m := p.last()
		if m.Has(sip.HeaderAssertedIdentity) || m.Other("Remote-Party-ID") != "" {
			t.Errorf("the device was told:\n%s", m.Raw())
		}
	})
}

// TestHopsThatNoDeviceIsAt: where a device says it is, is not believed of
// addresses of many hosts, and of this host only from this host.
func TestHopsThatNoDeviceIsAt(t *testing.T) {
	for _, c := range []struct{ contact, path string }{
		{"<sip:bob@127.0.0.1:6379;transport=tcp>", ""}, // with two Via, so that its source is a proxy's
		{"<sip:bob@203.0.113.10;maddr=127.0.0.1>", ""},
		{"<sip:bob@203.0.113.10;maddr=0.0.0.0>", ""},
		{"<sip:bob@[::1]>", ""},
		{"<sip:bob@[::ffff:127.0.0.1]>", ""},
		{"<sip:bob@203.0.113.10>", "<sip:127.0.0.1:6379;transport=tcp;lr>"},
		{"<sip:bob@203.0.113.10>", "<sip:224.0.1.75;lr>"},
		{"<sip:bob@203.0.113.10>", "<sip:255.255.255.255;lr>"},
		{"<sip:bob@203.0.113.10>", "<sip:203.0.113.20;maddr=239.1.1.1;lr>"},
	} {
		t.Run(c.contact+c.path, func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				p := h.wire.phone(t, "198.51.100.10:40000")
				lines := []string{"Via: SIP/2.0/UDP 10.0.0.5;branch=z9hG4bK1"}
				if c.path != "" {
					lines = append(lines, "Path: "+c.path, "Supported: path")
				}
				h.bind("bob", p.udp(), c.contact, lines...)
				h.send("bob", "FLUSHALL").want(202)
				if sent := h.wire.messages(); len(sent) > 0 || h.wire.dials > 0 {
					t.Errorf("%d sent, %d dials", len(sent), h.wire.dials)
				}
			})
		})
	}
}
