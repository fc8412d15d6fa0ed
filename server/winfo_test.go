package server

import (
	"fmt"
	"strings"
	"testing"

	"rollcall/sip"
)

// subscriber subscribes to an event package other than presence.
func (h *house) subscriber(user, proto, resource, event string, status int) *watcher {
	h.t.Helper()
	c := h.client(user, proto)
	n := numbers.Add(1)
	w := &watcher{client: c, contact: fmt.Sprintf("<sip:%s@%s;transport=%s>", user, c.conn.LocalAddr(), strings.ToLower(proto)),
		from: fmt.Sprintf("<sip:%s@example.com>;tag=w%d", user, n), callID: fmt.Sprintf("w%d", n)}
	w.session = c.session(w.ask(w.subscribeTo(event, resource, "")))
	m := w.asking(w.subscribeTo(event, resource, ""))
	if m.Status() != status {
		h.t.Fatalf("SUBSCRIBE %s: %d %s, want %d", event, m.Status(), m.Reason(), status)
	}
	to, _ := m.To()
	w.tag = to.Tag()
	return w
}

func (w *watcher) subscribeTo(event, resource, to string) string {
	return strings.Replace(w.subscribe(resource, to), "Event: presence\r\n", "Event: "+event+"\r\n", 1)
}

// TestWatcherInformation: bob learns that alice watches him, and that she ended.
func TestWatcherInformation(t *testing.T) {
	h := start(t)
	alice := h.watch("alice", "UDP", bobURI)
	alice.notify()
	bob := h.subscriber("bob", "TCP", bobURI, "presence.winfo", 200)
	first := bob.notify()
	if typ := first.Get(sip.HeaderContentType); typ != "application/watcherinfo+xml" || first.Get(sip.HeaderEvent) != "presence.winfo" {
		t.Errorf("first NOTIFY:\n%s", first.Raw())
	}
	for _, want := range []string{`state="full"`, `version="0"`, `<watcher-list resource="sip:bob@example.com" package="presence">`,
		`id="` + alice.tag + `"`, `status="active" event="subscribe"`, `expiration="`, `>sip:alice@example.com</watcher>`} {
		if !strings.Contains(first.Body(), want) {
			t.Errorf("no %s in\n%s", want, first.Body())
		}
	}
	alice.asking(alice.subscribe(bobURI, "<"+bobURI+">;tag="+alice.tag, "Expires: 0"))
	alice.notify()
	eventually(t, "without her subscription", func() bool { return h.notifier.Counters.Subscriptions.Load() == 1 })
	if m := bob.asking(bob.subscribeTo("presence.winfo", bobURI, "<"+bobURI+">;tag="+bob.tag)); m.Status() != 200 {
		t.Fatal(m.Status())
	}
	m := bob.notify()
	for strings.Contains(m.Body(), "terminated") { // that she ends is told too
		m = bob.notify()
	}
	if strings.Contains(m.Body(), "alice") {
		t.Errorf("alice still watches:\n%s", m.Body())
	}
	h.subscriber("alice", "UDP", bobURI, "presence.winfo", 403)
}

// TestWatcherInformationIsTold: a watcher that comes is told unasked, one of a list
// too.
func TestWatcherInformationIsTold(t *testing.T) {
	t.Parallel()
	h := start(t)
	bob := h.subscriber("bob", "TCP", bobURI, "presence.winfo", 200)
	if m := bob.notify(); strings.Contains(m.Body(), "<watcher ") {
		t.Errorf("somebody watches:\n%s", m.Body())
	}
	c := h.client("alice", "TCP")
	lines := []string{"Event: presence", "Contact: <sip:alice@" + c.conn.LocalAddr().String() + ";transport=tcp>", "Supported: eventlist",
		"Require: recipient-list-subscribe", "Content-Type: application/resource-lists+xml", "Content-Disposition: recipient-list"}
	c.want(200, "SUBSCRIBE", "sip:alice@example.com", adHoc, lines...)
	m := bob.sees(">sip:alice@example.com</watcher>")
	if strings.Contains(m.Body(), `id=""`) || !strings.Contains(m.Body(), `status="active"`) {
		t.Errorf("a list's watcher:\n%s", m.Body())
	}
}
