package server

import (
	"slices"
	"strings"
	"testing"

	"rollcall/config"
	"rollcall/presence"
	"rollcall/sip"
	"rollcall/xcap"
	"rollcall/xmltree"
)

// TestHardState: what a user puts down by XCAP is seen at once by those who watch,
// here as partial documents (RFC 5263 §4.4).
func TestHardState(t *testing.T) {
	h := start(t)
	w := h.watch("alice", "TCP", "sip:bob@example.com", "Accept: application/pidf+xml, application/pidf-diff+xml")
	first := w.notify()
	if typ := first.Get(sip.HeaderContentType); typ != presence.TypeDiff {
		t.Fatalf("first NOTIFY:\n%s", first.Raw())
	}
	local, err := xmltree.Parse([]byte(first.Body()), xmltree.Limits{})
	if err != nil || !local.Is(presence.SpaceDiff, "pidf-full") {
		t.Fatal(local, err)
	}
	bob, err := sip.ParseAORString("sip:bob@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, note := range []string{"On holiday", "Back on Monday"} {
		_, err = h.documents.Put(t.Context(), bob, xcap.PIDFManipulation, "index", []byte(
			`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com"><tuple id="mail"><status><basic>closed</basic></status>`+
				`<contact>mailto:bob@example.com</contact><note>`+note+`</note></tuple></presence>`))
		if err != nil {
			t.Fatal(err)
		}
		m := w.notify()
		root, err := xmltree.Parse([]byte(m.Body()), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if root.Is(presence.SpaceDiff, "pidf-full") {
			local = root
		} else if local, err = xmltree.Patch(local, slices.Collect(root.Elements()), xmltree.Limits{}); err != nil {
			t.Fatalf("%v of\n%s", err, m.Raw())
		}
		if text := local.String(); !strings.Contains(text, note) || !strings.Contains(text, "mailto:") {
			t.Errorf("after\n%s\nthe watcher has\n%s", m.Raw(), text)
		}
	}
}

// TestRegistrationHint: who is registered is open, if the settings say so.
func TestRegistrationHint(t *testing.T) {
	for _, hint := range []bool{true, false} {
		h := start(t, func(c *config.Config) { c.Presence.RegistrationHint = hint })
		h.client("bob", "TCP").register("")
		want := "<basic>closed</basic>"
		if hint {
			want = "<basic>open</basic>"
		}
		if m := h.watch("alice", "TCP", "sip:bob@example.com").notify(); !strings.Contains(m.Body(), want) {
			t.Errorf("hint %v:\n%s", hint, m.Raw())
		}
	}
}
