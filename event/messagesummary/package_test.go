package messagesummary

import (
	"context"
	"errors"
	"testing"

	"rollcall/event"
	"rollcall/event/eventtest"
	"rollcall/sip"
)

// example is that of RFC 3842 §4.1.
const example = "Messages-Waiting: yes\r\nMessage-Account: sip:alice@vmail.example.com\r\nVoice-Message: 2/8 (0/2)\r\n"

// queue has as many messages for everybody.
type queue struct {
	n    int
	err  error
	tell func(sip.AOR)
}

func (q *queue) Waiting(context.Context, sip.AOR) (int, error) { return q.n, q.err }
func (q *queue) Observe(f func(sip.AOR))                       { q.tell = f }

func fixtures(t testing.TB) (Options, eventtest.Fixtures) {
	alice, bob, vmail := eventtest.AOR(t, "alice"), eventtest.AOR(t, "bob"), eventtest.AOR(t, "vmail")
	return Options{Publishers: func(a sip.AOR) bool { return a == vmail }}, eventtest.Fixtures{
		Resource: alice, Publisher: vmail, Stranger: bob,
		Allowed: []event.Watcher{{AOR: alice, Event: Name}}, Refused: []event.Watcher{{AOR: bob, Event: Name}},
		Published: []eventtest.Document{{Type: Type, Body: example}, {Type: Type, Body: "messages-waiting:NO\nvoice-message: 1/0\nfax-message:0/1(0/0)\n"}},
		Bad: []eventtest.Document{
			{Type: Type, Body: ""}, {Type: Type, Body: "Messages-Waiting: maybe\r\n"}, {Type: Type, Body: "Voice-Message: 1/1\r\n"},
			{Type: Type, Body: "Messages-Waiting: yes\r\nVoice-Message: 1\r\n"}, {Type: Type, Body: "Messages-Waiting: yes\r\nVoice-Message: 1/-1\r\n"},
			{Type: Type, Body: "Messages-Waiting: yes\r\nVoice-Message: 1/1 (1/\r\n"}, {Type: Type, Body: "Messages-Waiting: yes\r\nMessage-Account: a b\r\n"},
			{Type: Type, Body: "Messages-Waiting: yes\r\nVoice-Message: 1/1\r\nvoice-message: 1/1\r\n"},
		},
		Check: func(_ string, b []byte) error { _, err := ParseSummary(b); return err },
	}
}

func TestSuite(t *testing.T) {
	o, f := fixtures(t)
	eventtest.Run(t, New(o), f)
}

func TestBodies(t *testing.T) {
	q := &queue{}
	o, f := fixtures(t)
	o.Queue = q
	p := New(o)
	pub := func(body string) event.Publication {
		v, _, _, err := p.Parse(f.Resource, Type, []byte(body), nil)
		if err != nil {
			t.Fatal(err)
		}
		return event.Publication{ID: body, Parsed: v}
	}
	for _, c := range []struct {
		waiting int
		pubs    []event.Publication
		want    string
	}{
		{0, nil, "Messages-Waiting: no\r\n"},
		{0, []event.Publication{pub(example)}, example},
		{0, []event.Publication{pub(example + "\r\nTo: <alice@example.com>\r\nSubject: carpool\r\n")}, example},
		{3, nil, "Messages-Waiting: yes\r\nPager-Message: 3/0 (0/0)\r\n"},
		{1, []event.Publication{pub(example), pub("Messages-Waiting: no\nVoice-Message: 1/4294967295 (1/0)\n")},
			"Messages-Waiting: yes\r\nMessage-Account: sip:alice@vmail.example.com\r\nPager-Message: 1/0 (0/0)\r\nVoice-Message: 3/4294967295 (1/2)\r\n"},
	} {
		q.n = c.waiting
		s, err := p.Compose(t.Context(), f.Resource, c.pubs)
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Body(t.Context(), f.Resource, s, event.View{Type: Type})
		if err != nil || string(b.Bytes) != c.want {
			t.Errorf("%v\n%s\nwant\n%s", err, b.Bytes, c.want)
		}
	}
	q.err = errors.New("store is away")
	if _, err := p.Compose(t.Context(), f.Resource, nil); !errors.Is(err, q.err) {
		t.Error(err)
	}
}

func TestQueueIsHeard(t *testing.T) {
	q := &queue{}
	ear := &eventtest.Ear{}
	New(Options{Queue: q}).Start(ear)
	q.tell(eventtest.AOR(t, "alice"))
	if len(ear.ChangedOf) != 1 || ear.ChangedOf[0] != eventtest.AOR(t, "alice") {
		t.Error(ear.ChangedOf)
	}
}

func TestNobodyPublishes(t *testing.T) {
	alice := eventtest.AOR(t, "alice")
	if New(Options{}).MayPublish(t.Context(), alice, alice) == nil {
		t.Error("an account publishes without being a voicemail server")
	}
}

func FuzzParseSummary(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("messages-waiting:NO\nfax-message:0/1(0/0)\n\nSubject: x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSummary(b)
		if err != nil {
			return
		}
		again, err := ParseSummary(s.Append(nil))
		if err != nil || string(again.Append(nil)) != string(s.Append(nil)) {
			t.Errorf("%v: %s", err, s.Append(nil))
		}
	})
}
