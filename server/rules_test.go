package server

import (
	"strings"
	"testing"

	"rollcall/config"
	"rollcall/sip"
	"rollcall/xcap"
)

// TestExternalList: clients of OMA allow their contact list, not single users.
func TestExternalList(t *testing.T) {
	h := start(t)
	put := func(auid, name, doc string) {
		t.Helper()
		if _, err := h.documents.Put(t.Context(), aor(t, "bob"), auid, name, []byte(doc)); err != nil {
			t.Fatal(err)
		}
	}
	contacts := func(entries string) {
		t.Helper()
		put(xcap.ResourceLists, "index", `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="granted">`+entries+`</list></resource-lists>`)
	}
	contacts("")
	put(xcap.OMAPresRules, "pres-rules", `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules" xmlns:o="urn:oma:xml:xdm:common-policy">
<rule id="granted"><conditions><o:external-list><o:entry anc="`+bobList+`"/></o:external-list></conditions>
<actions><pr:sub-handling>allow</pr:sub-handling></actions>
<transformations><pr:provide-services><pr:all-services/></pr:provide-services></transformations></rule>
<rule id="unlisted"><conditions><o:other-identity/></conditions><actions><pr:sub-handling>confirm</pr:sub-handling></actions></rule></ruleset>`)
	h.client("bob", "UDP").publish(200, pidf("bob", "open", ""))
	w := h.watch("alice", "UDP", bobURI)
	if m := w.notify(); m.Body() != "" || !strings.HasPrefix(m.Get(sip.HeaderSubscriptionState), "pending") {
		t.Errorf("not in the list:\n%s", m.Raw())
	}
	contacts(`<entry uri="sip:alice@example.com"/>`)
	w.sees("<basic>open</basic>")
}

const bobList = `https://xcap.example.com/xcap/resource-lists/users/sip:bob@example.com/index/~~/resource-lists/list%5b@name=%22granted%22%5d`

// TestPolicyForAll: the settings say who sees accounts without rules of their own.
func TestPolicyForAll(t *testing.T) {
	h := start(t, func(c *config.Config) { c.Presence.Colleagues = "confirm" })
	w := h.watch("alice", "UDP", bobURI)
	if m := w.notify(); m.Body() != "" || !strings.HasPrefix(m.Get(sip.HeaderSubscriptionState), "pending") {
		t.Errorf("confirm:\n%s", m.Raw())
	}
	own := h.watch("bob", "UDP", bobURI)
	if m := own.notify(); m.Body() == "" {
		t.Errorf("one's own presence:\n%s", m.Raw())
	}
}
