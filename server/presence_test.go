package server

import (
	"testing"

	"rollcall/xcap"
)

// TestExplain: each source of what a watcher sees is named.
func TestExplain(t *testing.T) {
	h := start(t)
	b := backend{h.Server}
	const alice, bob = "sip:alice@example.com", "sip:bob@example.com"
	x, err := b.Explain(t.Context(), alice, bob)
	if err != nil || x.Standing != "active" || x.Sees == nil || x.Sees.Basic != "closed" || !x.Sees.Whole ||
		len(x.Presence.Publications)+len(x.Presence.Registrations)+len(x.Subscriptions) != 0 || x.Presence.Permanent != nil {
		t.Errorf("of nothing: %+v, %v", x, err)
	}
	w := h.watch("alice", "TCP", bob)
	w.notify()
	device := h.client("bob", "UDP")
	device.register(";expires=600")
	if x, err = b.Explain(t.Context(), alice, bob); err != nil || x.Sees.Basic != "open" || len(x.Presence.Registrations) != 1 {
		t.Errorf("of a registered user: %+v, %v", x, err)
	}
	if len(x.Subscriptions) != 1 || x.Subscriptions[0].Watcher != alice || x.Subscriptions[0].Standing != "active" {
		t.Errorf("subscriptions %+v", x.Subscriptions)
	}
	device.want(200, "PUBLISH", bob, `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com"><tuple id="a1b2c3"><status>`+
		`<basic>closed</basic></status><note>at lunch</note></tuple></presence>`, "Event: presence", "Content-Type: application/pidf+xml")
	if _, err := h.documents.Put(t.Context(), aor(t, "bob"), xcap.PIDFManipulation, "index", []byte(
		`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com"><tuple id="mail"><status/>`+
			`<contact>mailto:bob@example.com</contact></tuple></presence>`)); err != nil {
		t.Fatal(err)
	}
	x, err = b.Explain(t.Context(), alice, bob)
	if err != nil || x.Sees.Basic != "closed" || x.Sees.Note != "at lunch" || x.Presence.Permanent == nil || len(x.Presence.Publications) != 1 {
		t.Fatalf("of a publication: %+v, %v", x, err)
	}
	if p := x.Presence.Publications[0]; p.Publisher != bob || p.Basic != "closed" || p.Note != "at lunch" || p.Lost {
		t.Errorf("publication %+v", p)
	}
}
