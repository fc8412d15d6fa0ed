package server

import (
	"testing"

	"rollcall/sip"
)

// TestStrangersKeepNothing: a flood of requests without credentials pushes out no
// answer that a known sender may ask for again.
func TestStrangersKeepNothing(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := h.client("alice", "UDP")
	for range 50 {
		c.ask(c.request("OPTIONS", "sip:example.com", ""))
		c.ask(c.request("FROBNICATE", "sip:example.com", ""))
		c.ask(c.request("MESSAGE", "tel:+15550100", "hi"))
		c.ask(c.request("MESSAGE", "sip:bob@example.com", "hi", "Max-Forwards: 0"))
		c.ask(c.request("BYE", "sip:bob@example.com", ""))
	}
	if n, _ := h.tx.FinishedBytes(); n != 0 {
		t.Errorf("%d transactions are kept", n)
	}
	forged := c.authorized("MESSAGE", "sip:bob@example.com", "hi", "From: <sip:bob@example.com>;tag=1")
	for range 2 { // its nonce count is used up, so the answer has to be a kept one
		if m := c.ask(forged); m.Status() != 403 {
			t.Errorf("a forged From and its retransmission: %d", m.Status())
		}
	}
}

// TestDisabledAccountWithBindings: bindings that are left of an account that was
// disabled elsewhere get no messages, and those are kept.
func TestDisabledAccountWithBindings(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.client("alice", "UDP"), h.client("bob", "UDP")
	bob.register("")
	if err := h.directory.SetDisabled(t.Context(), aor(t, "bob"), true); err != nil {
		t.Fatal(err)
	}
	alice.want(sip.StatusAccepted, "MESSAGE", "sip:bob@example.com", "hello", "Content-Type: text/plain")
	if m := bob.next(0); m != nil {
		t.Errorf("he got\n%s", m.Raw())
	}
	if err := h.directory.SetDisabled(t.Context(), aor(t, "bob"), false); err != nil {
		t.Fatal(err)
	}
	bob.register("")
	if m := bob.answer(200); m.Body() != "hello" {
		t.Errorf("he got\n%s", m.Raw())
	}
}
