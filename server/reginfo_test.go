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
