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

// TestSphere: rules may ask in which sphere somebody is, as all their publications say;
// a change takes effect at once, in other packages as well.
func TestSphere(t *testing.T) {
	h := start(t)
	_, err := h.documents.Put(t.Context(), aor(t, "bob"), xcap.PresRules, "index", []byte(`<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">
<rule id="work"><conditions><sphere value="work"/></conditions><actions><pr:sub-handling>allow</pr:sub-handling></actions>
<transformations><pr:provide-services><pr:all-services/></pr:provide-services></transformations></rule>
<rule id="else"><actions><pr:sub-handling>confirm</pr:sub-handling></actions></rule></ruleset>`))
	if err != nil {
		t.Fatal(err)
	}
	in := func(sphere string) string {
		return strings.Replace(pidf("bob", "open", ""), "</presence>", `<dm:person xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" id="p"><r:sphere>`+
			sphere+`</r:sphere></dm:person></presence>`, 1)
	}
	pending := func(w *watcher) {
		t.Helper()
		for {
			if m := w.notify(); strings.HasPrefix(m.Get(sip.HeaderSubscriptionState), "pending") {
				return
			}
		}
	}
	phone := h.client("bob", "UDP")
	tag := phone.publish(200, in("<r:home/>"))
	w := h.watch("alice", "UDP", bobURI)
	calls := h.subscriber("alice", "UDP", bobURI, "dialog", 200)
	pending(w)
	pending(calls)
	tag = phone.publish(200, in("<r:work/>"), "SIP-If-Match: "+tag)
	w.sees("<basic>open</basic>")
	calls.sees("dialog-info")
	other := h.client("bob", "TCP")
	other.publish(200, in("Work"))
	phone.publish(200, in("<r:home/>"), "SIP-If-Match: "+tag) // they do not agree: it is not defined
	pending(w)
	pending(calls)
}

// TestRulesInTwoPlaces: what the documents of either kind of client allow holds together.
func TestRulesInTwoPlaces(t *testing.T) {
	h := start(t)
	for at, part := range map[string]string{xcap.PresRules + " index": "services", xcap.OMAPresRules + " pres-rules": "persons"} {
		auid, name, _ := strings.Cut(at, " ")
		_, err := h.documents.Put(t.Context(), aor(t, "bob"), auid, name, []byte(`<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">
<rule id="`+part+`"><conditions><identity><one id="sip:alice@example.com"/></identity></conditions><actions><pr:sub-handling>allow</pr:sub-handling></actions>
<transformations><pr:provide-`+part+`><pr:all-`+part+`/></pr:provide-`+part+`><pr:provide-mood>true</pr:provide-mood></transformations></rule></ruleset>`))
		if err != nil {
			t.Fatal(err)
		}
	}
	h.client("bob", "UDP").publish(200, strings.Replace(pidf("bob", "open", ""), "</presence>",
		`<dm:person xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" id="p"><r:mood><r:happy/></r:mood></dm:person></presence>`, 1))
	if m := h.watch("alice", "UDP", bobURI).sees("<basic>open</basic>"); !strings.Contains(m.Body(), "happy") {
		t.Errorf("one of them holds alone:\n%s", m.Body())
	}
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
