package server

import (
	"bytes"
	"compress/zlib"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/auth"
	"rollcall/config"
	"rollcall/sip"
	"rollcall/xcap"
)

const adHoc = `<?xml version="1.0"?><resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>` +
	`<entry uri="sip:bob@example.com"><display-name>Bob</display-name></entry><entry uri="sip:nobody@example.com"/></list></resource-lists>`

func TestListInSubscribe(t *testing.T) {
	h := start(t)
	bob := h.client("bob", "TCP")
	bob.publish(200, pidf("bob", "open", "first"))
	c := h.client("alice", "TCP")
	w := &watcher{client: c, contact: "<sip:alice@" + c.conn.LocalAddr().String() + ";transport=tcp>", from: "<sip:alice@example.com>;tag=l", callID: "list"}
	var z bytes.Buffer
	zw := zlib.NewWriter(&z)
	_, _ = zw.Write([]byte(adHoc))
	_ = zw.Close()
	lines := []string{"Event: presence", "Contact: " + w.contact, "From: " + w.from, "Call-ID: list", "CSeq: 1 SUBSCRIBE",
		"Require: recipient-list-subscribe", "Supported: eventlist", "Content-Type: application/resource-lists+xml",
		"Content-Encoding: deflate", "Content-Disposition: recipient-list", "User-Agent: LinphoneTest (belle-sip)"}
	m := w.ask(w.request("SUBSCRIBE", "sip:alice@example.com", z.String(), lines...))
	w.session = c.session(m)
	lines[4] = "CSeq: 2 SUBSCRIBE"
	m = w.asking(w.session.request("SUBSCRIBE", "sip:alice@example.com", z.String(), lines...))
	if m.Status() != 200 || m.Get(sip.HeaderRequire) != "eventlist" {
		t.Fatalf("SUBSCRIBE:\n%s", m.Raw())
	}
	first := w.notify()
	for _, want := range []string{`fullState="true"`, `version="0"`, `<name>Bob</name>`, `state="active"`, `state="terminated" reason="rejected"`, "first"} {
		if !strings.Contains(first.Body(), want) {
			t.Errorf("no %s in\n%s", want, first.Raw())
		}
	}
	if typ := first.Get(sip.HeaderContentType); first.Get(sip.HeaderEvent) != "Presence" || strings.Contains(typ, `boundary="`) || strings.Contains(first.Body(), "Content-Id: <") {
		t.Errorf("not for linphone:\n%s", first.Raw())
	}
	bob.publish(200, pidf("bob", "open", "second"))
	if m := w.sees("second"); !strings.Contains(m.Body(), `fullState="false"`) || strings.Contains(m.Body(), "nobody") {
		t.Errorf("partial list:\n%s", m.Raw())
	}
}

// TestGroupList: a group of accounts is a list of contacts with an address, for accounts
// of the company; it follows the accounts, and leaves out who is behind a barrier.
func TestGroupList(t *testing.T) { onBothStores(t, testGroupList) }

func testGroupList(t *testing.T, onStore func(*config.Config)) {
	file := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(file, []byte(wall), 0o600); err != nil {
		t.Fatal(err)
	}
	h := start(t, onStore, func(c *config.Config) { c.Policy.File = file })
	h.join("alice", "Sales Team", "research")
	h.join("bob", "Sales Team")
	h.client("bob", "UDP").publish(200, pidf("bob", "open", "at the desk"))
	const group = "sip:group-sales-team@example.com"
	h.subscriber("alice", "UDP", group, "presence", 421)
	h.subscriber("alice", "UDP", "sip:group-nobody@example.com", "presence", 404)
	w := h.watch("alice", "TCP", group, "Supported: eventlist")
	if m := w.sees("at the desk"); strings.Contains(m.Body(), "sip:alice@example.com") || !strings.Contains(m.Body(), `<resource uri="sip:bob@example.com"`) {
		t.Errorf("the list has not bob alone:\n%s", m.Body())
	}
	if err := h.directory.Add(t.Context(), auth.Account{AOR: aor(t, "dave")}, "dave"); err != nil {
		t.Fatal(err)
	}
	h.join("dave", "Sales Team")
	if m := w.sees("sip:dave@example.com"); !strings.Contains(m.Body(), `fullState="true"`) {
		t.Errorf("dave came in a partial state:\n%s", m.Body())
	}
	h.join("dave", "Sales Team", "trading")
	for strings.Contains(w.sees(`fullState="true"`).Body(), "dave") {
	}
	root, err := h.companyDocument(t.Context(), aor(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	if text := root.String(); !strings.Contains(text, `<list name="Sales Team"><entry uri="sip:bob@example.com"/></list>`) || strings.Contains(text, "dave") {
		t.Errorf("document of the company for alice:\n%s", text)
	}
}

// TestListChanges: who watches a list is told of it whole when its members change, and
// no longer of those who are gone.
func TestListChanges(t *testing.T) { onBothStores(t, testListChanges) }

func testListChanges(t *testing.T, onStore func(*config.Config)) {
	h := start(t, onStore)
	const at = `https://xcap.example.com/xcap/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5b@name=%22friends%22%5d`
	friends := func(users ...string) {
		t.Helper()
		var b strings.Builder
		for _, u := range users {
			b.WriteString(`<entry uri="sip:` + u + `@example.com"/>`)
		}
		h.put("alice", xcap.ResourceLists, "index", `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="friends">`+b.String()+`</list></resource-lists>`)
	}
	friends("bob")
	h.service("friends", "<resource-list>"+at+"</resource-list>")
	bob := h.client("bob", "UDP")
	etag := bob.publish(200, pidf("bob", "open", "first"))
	w := h.watch("alice", "TCP", "sip:friends@example.com", "Supported: eventlist")
	w.sees("first")
	whole := func(want ...string) {
		t.Helper()
		for {
			m := w.notify()
			if !strings.Contains(m.Body(), `fullState="true"`) {
				continue
			}
			if n := strings.Count(m.Body(), "<resource "); n != len(want) {
				t.Errorf("%d members, want %v:\n%s", n, want, m.Body())
			}
			for _, u := range want {
				if !strings.Contains(m.Body(), `<resource uri="sip:`+u+`@example.com"`) {
					t.Errorf("no %s in\n%s", u, m.Body())
				}
			}
			return
		}
	}
	friends("bob", "alice")
	whole("bob", "alice")
	if n := h.notifier.Counters.Subscriptions.Load(); n != 3 {
		t.Errorf("%d subscriptions, want a list and two members", n)
	}
	h.client("alice", "UDP").publish(200, pidf("alice", "open", "of one who came"))
	w.sees("of one who came")
	friends("alice")
	whole("alice")
	bob.publish(200, pidf("bob", "closed", "of one who is gone"), "SIP-If-Match: "+etag)
	w.quiet(300 * time.Millisecond)
	if m := w.asking(w.subscribe("sip:friends@example.com", "<sip:friends@example.com>;tag="+w.tag, "Expires: 0")); m.Status() != 200 {
		t.Fatal(m.Status())
	}
	for !strings.HasPrefix(w.notify().Get(sip.HeaderSubscriptionState), "terminated") {
	}
	eventually(t, "without subscriptions", func() bool { return h.notifier.Counters.Subscriptions.Load() == 0 })
	friends("bob") // nobody watches
}
