package agent

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// watchPresence is watch with presentities.
func watchPresence(t *testing.T, cfg Config, presentities ...string) (<-chan Event, func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	events, done := make(chan Event, 100), make(chan error, 1)
	go func() { done <- Watch(ctx, cfg, func(e Event) { events <- e }, presentities...) }()
	stopped := false
	var result error
	stop := func() error {
		if !stopped {
			stopped = true
			cancel()
			result = <-done
		}
		return result
	}
	t.Cleanup(func() { _ = stop() })
	if e := next(t, events); e.Kind != Registered {
		t.Fatalf("first event is %v, want registered", e)
	}
	return events, stop
}

func publish(t *testing.T, cfg Config, p Presence) {
	t.Helper()
	pub, err := Publish(t.Context(), cfg, p, 0)
	if err != nil || pub.Status != 200 || pub.ETag != "tag-1" || pub.Expires != time.Hour {
		t.Fatalf("publish: %+v, %v", pub, err)
	}
}

func TestPublishIsSeenByWatch(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			n := startNotifier(t, nil)
			alice := config(n.testRegistrar, "alice", transport)
			publish(t, alice, Presence{Basic: "open"})
			events, stop := watchPresence(t, config(n.testRegistrar, "bob", transport), "sip:alice@example.com")
			if got := line(next(t, events)); got != "sip:alice@example.com is open" {
				t.Errorf("got %q", got)
			}
			for _, c := range []struct {
				p    Presence
				want string
			}{
				{Presence{Basic: "open", Activities: []string{"busy"}, Note: "in a <meeting> & more"}, "is busy: in a <meeting> & more"},
				{Presence{Basic: "open", Activities: []string{"away"}}, "is away"},
				{Presence{Basic: "closed", Note: greeting}, "is closed: " + greeting},
				{Presence{Basic: "open", Note: strings.Repeat("long ", 400) + "end"}, "is open: " + strings.Repeat("long ", 400) + "end"},
			} {
				publish(t, alice, c.p)
				e := next(t, events)
				if got := line(e); got != "sip:alice@example.com "+c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
				if e.Kind != State || e.From != "sip:alice@example.com" || e.Text != c.p.Word() {
					t.Errorf("got %+v", e)
				}
				publish(t, alice, c.p) // no change, no line
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if e := next(t, events); e.Kind != Unregistered || len(events) != 0 {
				t.Errorf("last event %v, %d more", e, len(events))
			}
			if !n.empty() {
				t.Error("the subscription was not ended")
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			for i, status := range n.answers {
				if status != 200 {
					t.Errorf("NOTIFY %d was answered %d", i+1, status)
				}
			}
		})
	}
}

func TestPublishRefusals(t *testing.T) {
	t.Parallel()
	n := startNotifier(t, nil)
	cfg := config(n.testRegistrar, "alice", "udp")
	// 423 names a longer time, which is taken.
	pub, err := Publish(t.Context(), cfg, Presence{Basic: "open"}, 10*time.Second)
	if err != nil || pub.Status != 200 || pub.Expires != time.Minute {
		t.Errorf("too brief: %+v, %v", pub, err)
	}
	cfg.Password = "wrong"
	pub, err = Publish(t.Context(), cfg, Presence{Basic: "open"}, 0)
	if err != nil || pub.Status != 401 || pub.Accepted() {
		t.Errorf("wrong password: %+v, %v", pub, err)
	}
	for _, p := range []Presence{{Basic: "perhaps"}, {Basic: "open", Note: "a\x1bb"}, {Basic: "open", Note: "\xff"}} {
		if _, err := Publish(t.Context(), cfg, p, 0); err == nil {
			t.Errorf("published %+v", p)
		}
	}
	if _, err := Publish(t.Context(), cfg, Presence{Basic: "open"}, time.Millisecond); err == nil {
		t.Error("published for a millisecond")
	}
}

func TestWatchRefusedPresence(t *testing.T) {
	t.Parallel()
	n := startNotifier(t, func(n *testNotifier) { n.refuse = 403 })
	events, stop := watchPresence(t, config(n.testRegistrar, "bob", "udp"), "sip:alice@example.com")
	if got := line(next(t, events)); got != "sip:alice@example.com is not watched: server answered 403" {
		t.Errorf("got %q", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if sent := len(n.seen(sip.SUBSCRIBE)); sent != 1 {
		t.Errorf("%d SUBSCRIBEs for a refusal", sent)
	}
}

// The subscription is refreshed in its dialog, and another made when the server
// has lost it.
func TestWatchRefreshesPresence(t *testing.T) {
	t.Parallel()
	n := startNotifier(t, func(n *testNotifier) { n.expires = 2 })
	events, _ := watchPresence(t, config(n.testRegistrar, "bob", "udp"), "sip:alice@example.com")
	if e := next(t, events); e.Kind != State || e.Text != "unknown" {
		t.Errorf("got %v", e)
	}
	within := func(i int) bool {
		sent := n.seen(sip.SUBSCRIBE)
		for end := time.Now().Add(10 * time.Second); len(sent) <= i && time.Now().Before(end); sent = n.seen(sip.SUBSCRIBE) {
			time.Sleep(20 * time.Millisecond)
		}
		if len(sent) <= i {
			t.Fatalf("SUBSCRIBE %d did not come", i)
		}
		req := sent[i]
		tag, ok := req.To().Params.Get("tag")
		if ok && (req.Recipient.User != "notifier-alice" || *req.CallID() != *sent[0].CallID() || tag == "" ||
			req.CSeq().SeqNo <= sent[i-1].CSeq().SeqNo || req.From().String() != sent[0].From().String()) {
			t.Errorf("refresh does not fit the dialog:\n%s", req)
		}
		return ok
	}
	if !within(1) {
		t.Error("the refresh is outside the dialog")
	}
	n.mu.Lock()
	clear(n.dialogs)
	n.mu.Unlock()
	i := len(n.seen(sip.SUBSCRIBE))
	if !within(i) || within(i+1) {
		t.Error("after 481 no new dialog was made")
	}
	select {
	case e := <-events:
		t.Errorf("nothing changed, and got %v", e)
	case <-time.After(300 * time.Millisecond):
	}
}

func TestWatchEndedByServer(t *testing.T) {
	t.Parallel()
	n := startNotifier(t, nil)
	events, stop := watchPresence(t, config(n.testRegistrar, "bob", "udp"), "sip:alice@example.com", "sip:carol@example.com")
	next(t, events)
	next(t, events)
	n.notify(n.dialog("alice"), "pending", "")
	if got := line(next(t, events)); got != "sip:alice@example.com has not yet said whether you may watch" {
		t.Errorf("got %q", got)
	}
	before := len(n.seen(sip.SUBSCRIBE))
	n.notify(n.dialog("alice"), "terminated;reason=rejected", "")
	if got := line(next(t, events)); got != "sip:alice@example.com is not watched: ended by the server: rejected" {
		t.Errorf("got %q", got)
	}
	n.notify(n.dialog("carol"), "terminated;reason=deactivated", "")
	if e := next(t, events); e.Kind != Unwatched || e.From != "sip:carol@example.com" {
		t.Errorf("got %v", e)
	}
	// The one is not watched again, the other soon.
	if e := next(t, events); e.Kind != State || e.From != "sip:carol@example.com" {
		t.Errorf("got %v", e)
	}
	if sent := len(n.seen(sip.SUBSCRIBE)) - before; sent != 1 {
		t.Errorf("%d SUBSCRIBEs, want one for carol", sent)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestNotifyAnswers(t *testing.T) {
	t.Parallel()
	n := startNotifier(t, nil)
	events, _ := watchPresence(t, config(n.testRegistrar, "bob", "udp"), "sip:alice@example.com")
	next(t, events)
	d := n.dialog("alice")
	const doc = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com"><tuple id="t1"><status><basic>open</basic></status></tuple></presence>`
	for _, c := range []struct {
		name        string
		tag         string
		cseq        uint32
		state, body string
		header      []string
		want        int
	}{
		{"another dialog", "other", 10, "active", doc, nil, 481},
		{"another package", d.tag, 10, "active", doc, []string{"Event: dialog"}, 489},
		{"no state", d.tag, 10, "", doc, nil, 400},
		{"another type", d.tag, 10, "active", "hello", []string{"Content-Type: text/plain"}, 415},
		{"not XML", d.tag, 10, "active", "<presence", nil, 400},
		{"entities", d.tag, 10, "active", `<!DOCTYPE p [<!ENTITY a "b">]>` + doc, nil, 400},
		{"another document", d.tag, 10, "active", `<list/>`, nil, 400},
		{"extension", d.tag, 10, "active", doc, []string{"Require: time-travel"}, 420},
		{"old CSeq", d.tag, 0, "active", doc, nil, 500},
		{"good", d.tag, 10, "active", doc, []string{"Event: Presence;id=1"}, 200},
		{"older than that", d.tag, 9, "active", doc, nil, 500},
	} {
		if got := n.send(d.req, c.tag, c.cseq, c.state, c.body, c.header...); got != c.want {
			t.Errorf("%s: answered %d, want %d", c.name, got, c.want)
		}
	}
	if e := next(t, events); e.Text != "open" || len(events) != 0 {
		t.Errorf("got %v and %d more", e, len(events))
	}
}

func TestReadPIDF(t *testing.T) {
	const head = `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" ` +
		`xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:a@example.com">`
	for body, want := range map[string]string{
		`<tuple id="a"><status><basic>closed</basic></status></tuple><tuple id="b"><status><basic> open </basic></status></tuple>`:             "open / ",
		`<tuple id="a"><status/></tuple><note>gone fishing</note>`:                                                                             "unknown / gone fishing",
		`<dm:person id="p"><r:activities><r:unknown/></r:activities></dm:person>`:                                                              "unknown / ",
		`<dm:person id="p"><r:activities><r:note>x</r:note><r:meal/><r:other>fishing</r:other><r:meal/></r:activities></dm:person>`:            "meal, fishing / ",
		`<tuple id="a"><status><basic>closed</basic></status><note>service</note></tuple><dm:person id="p"><dm:note>me</dm:note></dm:person>`:  "closed / me",
		`<tuple id="a"><status><basic>closed</basic></status></tuple><dm:person id="p"><r:activities><r:vacation/></r:activities></dm:person>`: "closed, vacation / ",
		`<dm:device id="d"><dm:deviceID>urn:x:y</dm:deviceID><dm:note>of a device</dm:note></dm:device>`:                                       "unknown / ",
	} {
		p, err := readPIDF([]byte(head + body + "</presence>"))
		if got := p.Word() + " / " + p.Note; err != nil || got != want {
			t.Errorf("%s\ngot %q, %v; want %q", body, got, err, want)
		}
	}
}

func FuzzReadPIDF(f *testing.F) {
	for _, p := range []Presence{{Basic: "open"}, {Basic: "open", Activities: []string{"busy"}, Note: "in a meeting"}} {
		doc, err := p.document("sip:alice@example.com")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := readPIDF(body)
		if err == nil && (p.Word() == "" || len(p.Activities) > maxActivities) {
			t.Errorf("%q gives %+v", body, p)
		}
	})
}
