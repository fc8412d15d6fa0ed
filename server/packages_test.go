package server

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/event/dialoginfo"
	"rollcall/event/messagesummary"
	"rollcall/sip"
	"rollcall/xmltree"
)

// TestAllowEvents: each package is there once.
func TestAllowEvents(t *testing.T) {
	h := start(t)
	m := h.client("alice", "UDP").want(489, "SUBSCRIBE", bobURI, "", "Event: unheard-of", "Contact: <sip:alice@192.0.2.1>")
	const want = "presence, presence.winfo, dialog, conference, xcap-diff, message-summary, reg"
	if got := m.Get(sip.HeaderAllowEvents); got != want {
		t.Errorf("Allow-Events: %s, want %s", got, want)
	}
}

func byPBX(c *config.Config) { c.Presence.Publishers = []string{"sip:alice@example.com"} }

const busyBob = `<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full" entity="sip:bob@example.com">` +
	`<dialog id="1" call-id="a84b4c76e66710" local-tag="1928301774"><state>STATE</state></dialog></dialog-info>`

func TestDialogs(t *testing.T) {
	h := start(t, byPBX)
	lines := []string{"Event: " + dialoginfo.Name, "Content-Type: " + dialoginfo.Type}
	w := h.watch("bob", "UDP", bobURI, lines[0])
	first := w.notify()
	if strings.Contains(first.Body(), "<dialog ") {
		t.Errorf("first NOTIFY:\n%s", first.Raw())
	}
	pbx := h.client("alice", "UDP")
	pbx.want(200, "PUBLISH", bobURI, strings.Replace(busyBob, "STATE", "early", 1), lines...)
	if m := w.sees("early"); versionOf(t, m) != versionOf(t, first)+1 { // RFC 4235 §4.1
		t.Errorf("second NOTIFY:\n%s", m.Raw())
	}
	// A PBX that has forgotten its entity-tag leaves no second dialog.
	pbx.want(200, "PUBLISH", bobURI, strings.Replace(busyBob, "STATE", "confirmed", 1), lines...)
	if m := w.sees("confirmed"); strings.Contains(m.Body(), "early") {
		t.Errorf("a ghost:\n%s", m.Raw())
	}
	h.client("bob", "UDP").want(403, "PUBLISH", "sip:alice@example.com", busyBob, lines...)
}

func versionOf(t *testing.T, m *sip.Message) int {
	t.Helper()
	root, err := xmltree.Parse([]byte(m.Body()), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := root.Attr("", "version")
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%v in\n%s", err, m.Raw())
	}
	return n
}

func TestMessagesWaiting(t *testing.T) {
	h := start(t, byPBX)
	lines := []string{"Event: " + messagesummary.Name, "Content-Type: " + messagesummary.Type}
	w := h.watch("bob", "TCP", bobURI, lines[0])
	if m := w.notify(); m.Body() != "Messages-Waiting: no\r\n" {
		t.Errorf("first NOTIFY:\n%s", m.Raw())
	}
	h.client("alice", "UDP").want(202, "MESSAGE", bobURI, "call me", "Content-Type: text/plain")
	w.sees("Pager-Message: 1/0 (0/0)")
	h.client("alice", "UDP").want(200, "PUBLISH", bobURI, "Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n", lines...)
	w.sees("Pager-Message: 1/0 (0/0)\r\nVoice-Message: 2/8 (0/2)\r\n")
	w.quiet(200 * time.Millisecond)
	h.client("bob", "UDP").want(403, "PUBLISH", bobURI, "Messages-Waiting: no\r\n", lines...)
	h.client("alice", "UDP").want(403, "SUBSCRIBE", bobURI, "", lines[0], "Contact: <sip:alice@127.0.0.1:9>")
}

// TestPartialDialogs: a telephone that takes dialog-info gets the whole first and
// after each SUBSCRIBE, and then what changed where that is shorter.
func TestPartialDialogs(t *testing.T) {
	h := start(t, byPBX)
	lines := []string{"Event: " + dialoginfo.Name, "Content-Type: " + dialoginfo.Type}
	call := func(id, state string) string {
		return strings.Replace(strings.Replace(strings.Replace(busyBob, "STATE", state, 1), `id="1"`, `id="`+id+`"`, 1), "a84b4c76e66710", "call"+id, 1)
	}
	pbx := h.client("alice", "UDP")
	for _, id := range []string{"1", "2", "3"} {
		pbx.want(200, "PUBLISH", bobURI, call(id, "confirmed"), lines...)
	}
	w := h.watch("bob", "UDP", bobURI, lines[0], "Accept: "+dialoginfo.Type)
	first := w.notify()
	if strings.Count(first.Body(), "<dialog ") != 3 || !strings.Contains(first.Body(), `state="full"`) {
		t.Errorf("first NOTIFY:\n%s", first.Raw())
	}
	pbx.want(200, "PUBLISH", bobURI, call("4", "early"), lines...)
	second := w.sees("early")
	if strings.Count(second.Body(), "<dialog ") != 1 || !strings.Contains(second.Body(), `state="partial"`) || versionOf(t, second) != versionOf(t, first)+1 {
		t.Errorf("second NOTIFY:\n%s", second.Raw())
	}
	pbx.want(200, "PUBLISH", bobURI, call("2", "terminated"), lines...)
	if m := w.sees("terminated"); strings.Count(m.Body(), "<dialog ") != 1 || versionOf(t, m) != versionOf(t, first)+2 {
		t.Errorf("third NOTIFY:\n%s", m.Raw())
	}
	if m := w.asking(w.subscribe(bobURI, "<"+bobURI+">;tag="+w.tag, lines[0])); m.Status() != 200 {
		t.Fatal(m.Status())
	}
	if m := w.notify(); strings.Count(m.Body(), "<dialog ") != 4 || !strings.Contains(m.Body(), `state="full"`) {
		t.Errorf("after SUBSCRIBE:\n%s", m.Raw())
	}
}
