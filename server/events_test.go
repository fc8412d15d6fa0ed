package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"rollcall/config"
	"rollcall/event"
	"rollcall/sip"
	"rollcall/store/redis/redistest"
	"rollcall/xcap"
)

// watcher is a client with one subscription.
type watcher struct {
	*client
	contact string
	tag     string // local tag of the server
	from    string
	callID  string
	cseq    int
	session *session
	pending []*sip.Message // NOTIFYs that came before an answer
}

func pidf(user, basic, note string) string {
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>`+
		`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:%s@example.com">`+
		`<tuple id="t1"><status><basic>%s</basic></status><contact>sip:%s@example.com</contact><note>%s</note></tuple></presence>`, user, basic, user, note)
}

// watch subscribes and returns the watcher.
func (h *house) watch(user, proto, resource string, lines ...string) *watcher {
	h.t.Helper()
	c := h.client(user, proto)
	n := numbers.Add(1)
	w := &watcher{client: c, contact: fmt.Sprintf("<sip:%s@%s;transport=%s>", user, c.conn.LocalAddr(), strings.ToLower(proto)),
		from: fmt.Sprintf("<sip:%s@example.com>;tag=w%d", user, n), callID: fmt.Sprintf("w%d", n)}
	m := w.ask(w.subscribe(resource, "", lines...))
	w.session = c.session(m)
	m = w.asking(w.subscribe(resource, "", lines...))
	if m.Status() != 200 {
		h.t.Fatalf("SUBSCRIBE: %d %s", m.Status(), m.Reason())
	}
	to, _ := m.To()
	w.tag = to.Tag()
	return w
}

func (w *watcher) subscribe(resource, to string, lines ...string) string {
	w.cseq++
	all := append([]string{"Event: presence", "Contact: " + w.contact, "From: " + w.from, "Call-ID: " + w.callID,
		fmt.Sprintf("CSeq: %d SUBSCRIBE", w.cseq)}, lines...)
	if to != "" {
		all = append(all, "To: "+to)
	}
	if w.session == nil {
		return w.request("SUBSCRIBE", resource, "", all...)
	}
	return w.session.request("SUBSCRIBE", resource, "", all...)
}

// asking sends a request and returns its answer; NOTIFYs that come first are kept.
func (w *watcher) asking(text string) *sip.Message {
	w.t.Helper()
	w.send(text)
	for {
		m := w.next(10 * time.Second)
		if m == nil {
			w.t.Fatalf("no answer to\n%.300s", text)
		}
		if !m.IsRequest() {
			return m
		}
		w.send(string(reply(m, 200)))
		w.pending = append(w.pending, m)
	}
}

// notify returns the next NOTIFY, which is answered.
func (w *watcher) notify() *sip.Message {
	w.t.Helper()
	if len(w.pending) > 0 {
		m := w.pending[0]
		w.pending = w.pending[1:]
		return m
	}
	m := w.next(10 * time.Second)
	if m == nil || m.Method() != "NOTIFY" {
		w.t.Fatalf("no NOTIFY but %v", m)
	}
	w.send(string(reply(m, 200)))
	return m
}

// sees waits for a NOTIFY whose body has the text.
func (w *watcher) sees(text string) *sip.Message {
	w.t.Helper()
	for range 20 {
		if m := w.notify(); strings.Contains(m.Body(), text) {
			return m
		}
	}
	w.t.Fatalf("never saw %q", text)
	return nil
}

func (w *watcher) quiet(d time.Duration) {
	w.t.Helper()
	if m := w.next(d); m != nil {
		w.t.Fatalf("came unasked:\n%s", m.Raw())
	}
}

const bobURI = "sip:bob@example.com"

func (c *client) publish(status int, body string, lines ...string) string {
	c.t.Helper()
	m := c.want(status, "PUBLISH", "sip:"+c.user+"@example.com", body, append([]string{"Event: presence", "Content-Type: application/pidf+xml"}, lines...)...)
	return m.Other("SIP-ETag")
}

// onBothStores runs a test over the store of this process and over Redis.
func onBothStores(t *testing.T, f func(t *testing.T, onStore func(*config.Config))) {
	t.Helper()
	t.Parallel()
	t.Run("embedded", func(t *testing.T) { f(t, func(*config.Config) {}) })
	t.Run("redis", func(t *testing.T) {
		url, _ := redistest.Start(t)
		f(t, func(c *config.Config) { c.Store.URL = url })
	})
}

func TestPresence(t *testing.T) { onBothStores(t, testPresence) }

func testPresence(t *testing.T, onStore func(*config.Config)) {
	for _, proto := range []string{"UDP", "TCP"} {
		t.Run(proto, func(t *testing.T) {
			h := start(t, onStore)
			w := h.watch("alice", proto, bobURI)
			first := w.notify()
			if state := first.Get(sip.HeaderSubscriptionState); !strings.HasPrefix(state, "active;expires=3600") {
				t.Errorf("Subscription-State: %s", state)
			}
			if !strings.Contains(first.Body(), "<basic>closed</basic>") {
				t.Errorf("first NOTIFY:\n%s", first.Raw())
			}
			bob := h.client("bob", proto)
			etag := bob.publish(200, pidf("bob", "open", "in the office"))
			m := w.sees("in the office")
			if from, _ := m.From(); from.Tag() != w.tag || m.CallID() != w.callID {
				t.Errorf("NOTIFY is of another dialog:\n%s", m.Raw())
			}
			next := bob.publish(200, pidf("bob", "open", "at lunch"), "SIP-If-Match: "+etag)
			w.sees("at lunch")
			bob.publish(412, pidf("bob", "open", "old tag"), "SIP-If-Match: "+etag)
			bob.publish(412, "", "SIP-If-Match: guessed")
			refreshed := bob.publish(200, "", "SIP-If-Match: "+next) // tells nobody anything new
			if refreshed == next {
				t.Error("a refresh has the same entity-tag")
			}
			w.quiet(200 * time.Millisecond)
			bob.publish(200, "", "SIP-If-Match: "+refreshed, "Expires: 0")
			w.sees("<basic>closed</basic>")

			m = w.asking(w.subscribe(bobURI, "<"+bobURI+">;tag="+w.tag, "Expires: 0"))
			if m.Status() != 200 {
				t.Fatalf("unsubscribe: %d", m.Status())
			}
			if m := w.notify(); m.Get(sip.HeaderSubscriptionState) != "terminated;reason=timeout" {
				t.Errorf("last NOTIFY: %s", m.Get(sip.HeaderSubscriptionState))
			}
			m = w.asking(w.subscribe(bobURI, "<"+bobURI+">;tag="+w.tag))
			if m.Status() != 481 {
				t.Errorf("an ended subscription: %d", m.Status())
			}
			eventually(t, "without subscriptions", func() bool { return h.notifier.Counters.Subscriptions.Load() == 0 })
		})
	}
}

func TestPublishRefused(t *testing.T) {
	h := start(t)
	w := h.watch("alice", "UDP", bobURI)
	w.notify()
	bob, alice := h.client("bob", "UDP"), h.client("alice", "UDP")
	bob.publish(400, "")                                  // nothing to publish
	bob.publish(400, "<presence")                         // no XML
	bob.publish(400, pidf("carol", "open", "of another")) // wrong entity
	bob.publish(423, pidf("bob", "open", "x"), "Expires: 5")
	bob.want(415, "PUBLISH", bobURI, "x", "Event: presence", "Content-Type: text/plain")
	bob.want(489, "PUBLISH", bobURI, "x", "Event: unheard-of", "Content-Type: text/plain")
	alice.want(403, "PUBLISH", bobURI, pidf("bob", "open", "forged"), "Event: presence", "Content-Type: application/pidf+xml")
	w.quiet(300 * time.Millisecond)
}

func TestStormOfChanges(t *testing.T) { onBothStores(t, testStormOfChanges) }

func testStormOfChanges(t *testing.T, onStore func(*config.Config)) {
	h := start(t, onStore)
	w := h.watch("alice", "TCP", bobURI)
	w.notify()
	bob := h.client("bob", "TCP")
	etag := bob.publish(200, pidf("bob", "open", "begin"))
	w.sees("begin")
	// The watcher answers nothing while the state changes a hundred times.
	for i := range 100 {
		etag = bob.publish(200, pidf("bob", "open", fmt.Sprintf("note %d.", i)), "SIP-If-Match: "+etag)
	}
	w.sees("note 99.")
}

func TestSubscriptionSurvivesRestart(t *testing.T) { onBothStores(t, testSubscriptionSurvivesRestart) }

func testSubscriptionSurvivesRestart(t *testing.T, onStore func(*config.Config)) {
	c := testConfig(t, onStore)
	h := startWith(t, c, zap.NewNop())
	c.Listen[0].Address, c.Listen[1].Address = h.Addrs()[0].String(), h.Addrs()[1].String()
	w := h.watch("alice", "UDP", bobURI)
	before := w.notify()
	bob := h.client("bob", "UDP")
	bob.publish(200, pidf("bob", "open", "kept"))
	w.sees("kept")
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	startWith(t, c, zap.NewNop())
	m := w.sees("kept")
	n, _ := before.CSeq()
	if after, _ := m.CSeq(); after <= n {
		t.Errorf("CSeq went from %d to %d", n, after)
	}
	if m.CallID() != w.callID {
		t.Error("another dialog")
	}
}

func TestWatcherThatKnowsNothing(t *testing.T) { onBothStores(t, testWatcherThatKnowsNothing) }

func testWatcherThatKnowsNothing(t *testing.T, onStore func(*config.Config)) {
	h := start(t, onStore)
	w := h.watch("alice", "UDP", bobURI)
	m := w.next(5 * time.Second)
	w.send(string(reply(m, 481)))
	eventually(t, "without subscriptions", func() bool { return h.notifier.Counters.Subscriptions.Load() == 0 })
}

func TestSubscriptionIsReplaced(t *testing.T) { onBothStores(t, testSubscriptionIsReplaced) }

func testSubscriptionIsReplaced(t *testing.T, onStore func(*config.Config)) {
	h := start(t, onStore)
	w := h.watch("alice", "UDP", bobURI)
	w.notify()
	w.tag, w.callID, w.from = "", "again", "<sip:alice@example.com>;tag=again" // it has restarted
	if m := w.asking(w.subscribe(bobURI, "")); m.Status() != 200 {
		t.Fatal(m.Status())
	}
	w.notify()
	if n := h.notifier.Counters.Subscriptions.Load(); n != 1 {
		t.Errorf("%d subscriptions, want 1", n)
	}
}

func TestConnectionOfPublisherCloses(t *testing.T) { onBothStores(t, testConnectionOfPublisherCloses) }

func testConnectionOfPublisherCloses(t *testing.T, onStore func(*config.Config)) {
	h := start(t, onStore)
	h.notifier.Reload(event.Settings{FlowGrace: 100 * time.Millisecond})
	w := h.watch("alice", "UDP", bobURI)
	w.notify()
	bob := h.client("bob", "TCP")
	bob.publish(200, pidf("bob", "open", "here"))
	w.sees("here")
	_ = bob.conn.Close()
	w.sees("<basic>closed</basic>")
}

func TestFetch(t *testing.T) { onBothStores(t, testFetch) }

func testFetch(t *testing.T, onStore func(*config.Config)) {
	h := start(t, onStore)
	w := h.watch("alice", "UDP", bobURI, "Expires: 0")
	if m := w.notify(); m.Get(sip.HeaderSubscriptionState) != "terminated;reason=timeout" || m.Body() == "" {
		t.Errorf("fetch:\n%s", m.Raw())
	}
	eventually(t, "without subscriptions", func() bool { return h.notifier.Counters.Subscriptions.Load() == 0 })
}

const blocking = `<cr:ruleset xmlns="urn:ietf:params:xml:ns:pres-rules" xmlns:cr="urn:ietf:params:xml:ns:common-policy"><cr:rule id="a">` +
	`<cr:conditions><cr:identity><cr:one id="sip:alice@example.com"/></cr:identity></cr:conditions>` +
	`<cr:actions><sub-handling>%s</sub-handling></cr:actions><cr:transformations>%s</cr:transformations></cr:rule></cr:ruleset>`

func TestRulesTakeEffectAtOnce(t *testing.T) { onBothStores(t, testRulesTakeEffectAtOnce) }

func testRulesTakeEffectAtOnce(t *testing.T, onStore func(*config.Config)) {
	h := start(t, onStore)
	put := func(handling, transformations string) {
		t.Helper()
		_, err := h.documents.Put(t.Context(), aor(t, "bob"), xcap.PresRules, "index", []byte(fmt.Sprintf(blocking, handling, transformations)))
		if err != nil {
			t.Fatal(err)
		}
	}
	bob := h.client("bob", "UDP")
	bob.publish(200, pidf("bob", "open", "secret"))
	w := h.watch("alice", "UDP", bobURI)
	w.sees("secret") // one company
	put("polite-block", "")
	if m := w.sees("<basic>closed</basic>"); strings.Contains(m.Body(), "secret") || !strings.HasPrefix(m.Get(sip.HeaderSubscriptionState), "active") {
		t.Errorf("polite block:\n%s", m.Raw())
	}
	put("allow", "<provide-services><all-services/></provide-services>")
	if m := w.sees("<basic>open</basic>"); strings.Contains(m.Body(), "secret") {
		t.Errorf("a note that is not provided:\n%s", m.Raw())
	}
	put("confirm", "")
	if m := w.notify(); m.Body() != "" || !strings.HasPrefix(m.Get(sip.HeaderSubscriptionState), "pending") {
		t.Errorf("confirm:\n%s", m.Raw())
	}
	bob.publish(200, pidf("bob", "open", "not for who waits"))
	w.quiet(200 * time.Millisecond)
	put("block", "")
	if m := w.notify(); m.Body() != "" || m.Get(sip.HeaderSubscriptionState) != "terminated;reason=rejected" {
		t.Errorf("block:\n%s", m.Raw())
	}
	h.client("alice", "UDP").want(403, "SUBSCRIBE", bobURI, "", "Event: presence", "Contact: <sip:alice@127.0.0.1>")
}

// A phone that is registered over UDP sends what is long over TCP, and closes that.
func TestLongPublicationOutlivesItsConnection(t *testing.T) {
	h := start(t)
	h.notifier.Reload(event.Settings{FlowGrace: 100 * time.Millisecond})
	w := h.watch("alice", "UDP", bobURI)
	w.notify()
	phone := h.client("bob", "UDP")
	phone.want(200, "REGISTER", "sip:example.com", "", "Contact: <sip:bob@"+phone.conn.LocalAddr().String()+">")
	long := h.client("bob", "TCP")
	long.publish(200, pidf("bob", "open", "long"))
	w.sees("long")
	_ = long.conn.Close()
	w.quiet(time.Second)
}
