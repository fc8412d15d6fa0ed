package xcapdiff

import (
	"errors"
	"strings"
	"testing"

	"rollcall/event"
	"rollcall/event/eventtest"
	"rollcall/sip"
	"rollcall/xcap"
)

func TestPackage(t *testing.T) {
	f := open(t)
	p, err := New(f.docs, root)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for who, want := range map[string]event.Standing{"alice": event.Active, "bob": event.Refused} {
		if v, err := p.Authorize(ctx, f.alice, event.Watcher{AOR: aor(t, who)}); err != nil || v.Standing != want {
			t.Error(who, v, err)
		}
	}
	var fault *sip.Error
	if err := p.ParseFilter("text/plain", nil); !errors.As(err, &fault) || fault.Status != 415 {
		t.Error(err)
	}
	filter := `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="` + index + `"/></list></resource-lists>`
	if err := p.ParseFilter(RequestType, []byte(filter)); err != nil {
		t.Error(err)
	}
	for value, want := range map[string]string{
		"xcap-diff": "", "xcap-diff;diff-processing=aggregate": "aggregate", "xcap-diff; diff-processing=xcap-patching": "", "xcap-diff;id=1; diff-processing = aggregate": "aggregate",
	} {
		if got := p.ViewParams(value); got != want {
			t.Errorf("%s: %q", value, got)
		}
	}
	for _, v := range []event.View{{Type: Type}, {Type: Type, Filter: filter}, {Type: Type, Params: "aggregate"}} {
		body := func() event.Body {
			t.Helper()
			b, err := p.Body(ctx, f.alice, event.State{}, v)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, b.Bytes)
			return b
		}
		f.put("index", friends)
		one := body()
		f.put("index", strings.Replace(friends, "friends", "pals", 1))
		two := body()
		if !p.Triggers(v.Filter, one, two) || p.Triggers(v.Filter, two, two) {
			t.Error("triggers")
		}
		changes, ok := p.Diff(one, two, Type)
		doc := diff(t, changes.Bytes).Child(diffSpace, "document")
		if patched := doc != nil && len(doc.Nodes) > 0; !ok || doc == nil || patched != (v.Params != "") {
			t.Errorf("%+v: %s", v, changes.Bytes)
		}
		if _, ok := p.Diff(event.Body{Bytes: []byte("<a/>")}, two, Type); ok {
			t.Error("a difference from what was never sent")
		}
	}
}

func TestSuite(t *testing.T) {
	f := open(t)
	p, err := New(f.docs, root)
	if err != nil {
		t.Fatal(err)
	}
	f.put("index", friends)
	eventtest.Run(t, p, eventtest.Fixtures{
		Resource: f.alice,
		Allowed:  []event.Watcher{{AOR: f.alice, Event: Name}, {AOR: f.alice, Event: Name + ";diff-processing=aggregate"}},
		Refused:  []event.Watcher{{AOR: aor(t, "bob"), Event: Name}},
	})
}

// TestForgets: the history is bounded and keeps what is newest.
func TestForgets(t *testing.T) {
	var h history
	big := &Snapshot{documents: []*xcap.Document{{Body: make([]byte, historyBytes/2)}}}
	for _, body := range []string{"1", "2", "3"} {
		h.put([]byte(body), big)
	}
	if h.get([]byte("1")) != nil || h.get([]byte("3")) == nil || h.bytes > historyBytes {
		t.Error(h.bytes)
	}
}
