package server

import (
	"strings"
	"testing"
)

// TestRegistrationsAreTold: bob learns where his account is registered; alice does
// not.
func TestRegistrationsAreTold(t *testing.T) {
	t.Parallel()
	h := start(t)
	w := h.subscriber("bob", "TCP", bobURI, "reg", 200)
	if m := w.notify(); !strings.Contains(m.Body(), `state="init"`) {
		t.Errorf("before REGISTER:\n%s", m.Raw())
	}
	phone := h.client("bob", "UDP")
	phone.register("")
	contact := "<uri>sip:bob@" + phone.conn.LocalAddr().String()
	if m := w.sees(contact); !strings.Contains(m.Body(), `event="registered"`) {
		t.Errorf("after REGISTER:\n%s", m.Raw())
	}
	h.subscriber("alice", "UDP", bobURI, "reg", 403)
}

// TestGRUUsAreTold: who may see a registration sees its GRUUs, those that the device was told (RFC 5627 §5.5).
func TestGRUUsAreTold(t *testing.T) {
	t.Parallel()
	h := start(t)
	w := h.subscriber("bob", "TCP", bobURI, "reg", 200)
	w.notify()
	phone := h.client("bob", "UDP")
	for range 2 {
		public, temporary := phone.gruus("urn:uuid:00000000-0000-1000-8000-000000000003")
		if m := w.sees(`uri="` + temporary + `"`); !strings.Contains(m.Body(), `uri="`+public+`"`) || !strings.Contains(m.Body(), `xmlns:gr="urn:ietf:params:xml:ns:gruuinfo"`) ||
			!strings.Contains(m.Body(), "first-cseq=") {
			t.Errorf("heard\n%s", m.Raw())
		}
	}
}
