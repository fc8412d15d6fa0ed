package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"rollcall/config"
	"rollcall/event"
	"rollcall/event/messagesummary"
	"rollcall/presence"
	"rollcall/sip"
)

// TestWatcherComesBackOverAnotherConnection: when a watcher's connection is gone its
// subscription is kept and nothing is sent, and a SUBSCRIBE of its dialog over
// another connection brings the state there.
func TestWatcherComesBackOverAnotherConnection(t *testing.T) {
	h := start(t)
	w := h.watch("alice", "TCP", bobURI)
	w.notify()
	_ = w.conn.Close()
	suspended := func() bool {
		list := h.notifier.Subscriptions(aor(t, "bob"))
		return len(list) == 1 && list[0].Suspended
	}
	eventually(t, "suspended", suspended)
	before := h.notifier.Counters.Notified.Load()
	bob := h.client("bob", "UDP")
	etag := ""
	for i := range 5 {
		lines := []string{}
		if etag != "" {
			lines = []string{"SIP-If-Match: " + etag}
		}
		etag = bob.publish(200, pidf("bob", "open", fmt.Sprint("note ", i)), lines...)
	}
	if !suspended() || h.notifier.Counters.Notified.Load() != before {
		t.Errorf("%d NOTIFYs to a connection that is gone", h.notifier.Counters.Notified.Load()-before)
	}
	back := h.client("alice", "TCP")
	w.client, w.contact = back, "<sip:alice@"+back.conn.LocalAddr().String()+";transport=tcp>"
	w.session = back.session(back.ask(back.request("SUBSCRIBE", bobURI, "", "Event: presence")))
	m := w.asking(w.subscribe(bobURI, "<"+bobURI+">;tag="+w.tag))
	if m.Status() != 200 {
		t.Fatalf("SUBSCRIBE of the dialog: %d", m.Status())
	}
	if m := w.notify(); !strings.Contains(m.Body(), "note 4") || m.CallID() != w.callID {
		t.Errorf("over the new connection:\n%s", m.Raw())
	}
	bob.publish(200, pidf("bob", "open", "after"), "SIP-If-Match: "+etag)
	w.sees("after")
}

// TestStaleNonceKeepsTheSubscription: a SUBSCRIBE of the dialog that is challenged
// anew goes on with it.
func TestStaleNonceKeepsTheSubscription(t *testing.T) {
	h := start(t)
	w := h.watch("alice", "UDP", bobURI)
	w.notify()
	w.session.challenge.Nonce = strings.Repeat("0", len(w.session.challenge.Nonce)) // of a process that is no more
	to := "<" + bobURI + ">;tag=" + w.tag
	m := w.asking(w.subscribe(bobURI, to))
	if m.Status() != 401 || !strings.Contains(m.Other("WWW-Authenticate"), "stale=true") {
		t.Fatalf("%d %s", m.Status(), m.Other("WWW-Authenticate"))
	}
	w.session = w.client.session(m)
	if m = w.asking(w.subscribe(bobURI, to)); m.Status() != 200 {
		t.Fatalf("with the new nonce: %d", m.Status())
	}
	w.notify()
	if n := h.notifier.Counters.Subscriptions.Load(); n != 1 {
		t.Errorf("%d subscriptions", n)
	}
}

// TestPublishBeforeRegister: credentials are all that PUBLISH needs.
func TestPublishBeforeRegister(t *testing.T) {
	h := start(t)
	h.client("bob", "UDP").publish(200, pidf("bob", "open", "not registered"))
	w := h.watch("alice", "UDP", bobURI)
	w.sees("not registered")
}

// TestUnknownResourceKeepsNothing: neither a subscription nor a publication is for
// an address without account.
func TestUnknownResourceKeepsNothing(t *testing.T) {
	h := start(t, byPBX)
	alice := h.client("alice", "UDP")
	for _, event := range []string{"presence", "dialog", "message-summary", "conference"} {
		alice.want(404, "SUBSCRIBE", "sip:nobody@example.com", "", "Event: "+event, "Contact: <sip:alice@192.0.2.1>")
	}
	alice.want(404, "PUBLISH", "sip:nobody@example.com", pidf("nobody", "open", ""), "Event: presence", "Content-Type: application/pidf+xml")
	if n := h.notifier.Counters.Subscriptions.Load(); n != 0 {
		t.Errorf("%d subscriptions", n)
	}
}

// TestMailboxWithoutMessages: a telephone that asks for its messages is answered 200
// and told that there are none; some try again without end otherwise.
func TestMailboxWithoutMessages(t *testing.T) {
	h := start(t)
	w := h.subscriber("bob", "UDP", bobURI, messagesummary.Name, 200)
	if m := w.notify(); !strings.HasPrefix(m.Body(), "Messages-Waiting: no\r\n") || !strings.HasPrefix(m.Get(sip.HeaderSubscriptionState), "active;expires=") {
		t.Errorf("first NOTIFY:\n%s", m.Raw())
	}
}

// TestLostPublicationIsRefreshed: what was published over a connection that is gone
// is as it was until its grace is over, and stays if it is refreshed before.
func TestLostPublicationIsRefreshed(t *testing.T) {
	h := start(t, func(c *config.Config) { c.Presence.FlowGrace.Duration = 10 * time.Minute })
	w := h.watch("alice", "UDP", bobURI)
	w.notify()
	bob := h.client("bob", "TCP")
	etag := bob.publish(200, pidf("bob", "open", "here"))
	w.sees("here")
	_ = bob.conn.Close()
	published := func() event.Publication {
		pubs, err := h.notifier.Publications(t.Context(), presence.Name, aor(t, "bob"))
		if err != nil || len(pubs) != 1 {
			t.Fatal(len(pubs), err)
		}
		return pubs[0]
	}
	eventually(t, "lost", func() bool { return published().Lost })
	if left := time.Until(published().Expires); left > 10*time.Minute {
		t.Errorf("it ends in %v", left)
	}
	h.client("bob", "TCP").publish(200, "", "SIP-If-Match: "+etag)
	if p := published(); p.Lost || time.Until(p.Expires) < 50*time.Minute {
		t.Errorf("after the refresh: %+v", p)
	}
	h.client("bob", "UDP").publish(200, pidf("bob", "closed", "another device"))
	if m := w.notify(); !strings.Contains(m.Body(), "another device") {
		t.Errorf("somebody was told:\n%s", m.Raw())
	}
}

// TestOneOfManyPublications: of PUBLISHes with one entity-tag that come at once one is
// taken, and the watcher is told that one's state last.
func TestOneOfManyPublications(t *testing.T) { onBothStores(t, testOneOfManyPublications) }

func testOneOfManyPublications(t *testing.T, onStore func(*config.Config)) {
	h := start(t, onStore)
	w := h.watch("alice", "UDP", bobURI)
	w.notify()
	etag := h.client("bob", "UDP").publish(200, pidf("bob", "open", "begin"))
	w.sees("begin")
	var clients []*client
	var requests []string
	for i := range 8 {
		c := h.client("bob", "UDP")
		clients = append(clients, c)
		requests = append(requests, c.authorized("PUBLISH", bobURI, pidf("bob", "open", fmt.Sprintf("device %d.", i)),
			"Event: presence", "Content-Type: application/pidf+xml", "SIP-If-Match: "+etag))
	}
	for i, c := range clients {
		c.send(requests[i])
	}
	won := -1
	for i, c := range clients {
		m := c.next(20 * time.Second)
		switch {
		case m == nil:
			t.Fatal("no answer")
		case m.Status() == 200 && won < 0:
			won = i
		case m.Status() != 412:
			t.Errorf("device %d: %d %s", i, m.Status(), m.Reason())
		}
	}
	pubs, err := h.notifier.Publications(t.Context(), presence.Name, aor(t, "bob"))
	if err != nil || won < 0 || len(pubs) != 1 || !strings.Contains(string(pubs[0].Body), fmt.Sprintf("device %d.", won)) {
		t.Fatalf("device %d won, %d publications, %v", won, len(pubs), err)
	}
	if m := w.notify(); !strings.Contains(m.Body(), fmt.Sprintf("device %d.", won)) {
		t.Errorf("device %d won, told:\n%s", won, m.Raw())
	}
}

// TestPublicationOfALostProcess: a connection that ended with the server's process is
// gone like any other.
func TestPublicationOfALostProcess(t *testing.T) {
	c := testConfig(t, func(c *config.Config) { c.Presence.FlowGrace.Duration = 200 * time.Millisecond })
	h := startWith(t, c, zap.NewNop())
	c.Listen[0].Address, c.Listen[1].Address = h.Addrs()[0].String(), h.Addrs()[1].String()
	w := h.watch("alice", "UDP", bobURI)
	w.notify()
	h.client("bob", "TCP").publish(200, pidf("bob", "open", "over a connection"))
	w.sees("over a connection")
	h.client("bob", "UDP").publish(200, strings.Replace(pidf("bob", "closed", "over none"), `id="t1"`, `id="t2"`, 1))
	w.sees("over none")
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	startWith(t, c, zap.NewNop())
	for {
		m := w.notify()
		if strings.Contains(m.Body(), "over none") && !strings.Contains(m.Body(), "over a connection") {
			return
		}
	}
}
