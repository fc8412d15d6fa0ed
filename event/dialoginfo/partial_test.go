package dialoginfo

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"rollcall/event"
	"rollcall/event/eventtest"
	"rollcall/xmltree"
)

// table is what a watcher keeps of documents (RFC 4235 §4.3): dialogs by id, without
// those that have ended.
type table map[string]string

// take applies a document.
func (t table) take(b event.Body) error {
	root, err := xmltree.Parse(b.Bytes, xmltree.Limits{})
	if err != nil {
		return err
	}
	if attr(root, "state") == "full" {
		clear(t)
	}
	for e := range root.Children(Space, "dialog") {
		if t[attr(e, "id")] = e.String(); stateOf(e) == "terminated" {
			delete(t, attr(e, "id"))
		}
	}
	return nil
}

// applied holds a difference to RFC 4235 §4.3.
func applied(prev, change, next event.Body) error {
	got, want := table{}, table{}
	if err := errors.Join(got.take(prev), got.take(change), want.take(next)); err != nil {
		return err
	}
	if !maps.Equal(got, want) {
		return errors.New("another table")
	}
	return nil
}

// TestPartialNotification: of many dialogs those are told that changed, and those
// that are told no more as terminated.
func TestPartialNotification(t *testing.T) {
	f := &fixture{T: t, p: New(options(t)), alice: eventtest.AOR(t, "alice")}
	calls := func(state string, ids ...int) event.Publication {
		var b strings.Builder
		b.WriteString(head + `state="full">`)
		for _, id := range ids {
			fmt.Fprintf(&b, `<dialog id="%d" call-id="c%[1]d"><state>%s</state></dialog>`, id, state)
		}
		return f.publication(fmt.Sprint(ids), b.String()+"</dialog-info>")
	}
	compose := func(pubs ...event.Publication) event.Body {
		s, err := f.p.Compose(t.Context(), f.alice, pubs)
		if err != nil {
			t.Fatal(err)
		}
		b, err := f.p.Body(t.Context(), f.alice, s, event.View{Type: Type})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	old := calls("confirmed", 1, 2, 3, 4, 5)
	steps := []struct {
		body event.Body
		told string // by a partial document, "" by a full one
	}{
		{compose(old), ""},
		{compose(old, calls("early", 6)), "6=early"},
		{compose(old, calls("confirmed", 6)), "6=confirmed"},
		{compose(old, calls("terminated", 6)), "6=terminated"},
		{compose(old), "nothing"},
		{compose(calls("confirmed", 1, 2, 4, 5)), "3=terminated"},
		{compose(calls("confirmed", 1, 2, 4, 5), calls("terminated", 7)), "7=terminated"},
		{compose(calls("confirmed", 1)), ""}, // the whole is shorter
		{compose(), ""},
	}
	for i := 1; i < len(steps); i++ {
		prev, next := steps[i-1], steps[i]
		d, ok := f.p.Diff(prev.body, next.body, Type)
		if ok != (next.told != "") {
			t.Errorf("step %d: partial %v: %s", i, ok, d.Bytes)
		}
		if !ok {
			continue
		}
		root, err := xmltree.Parse(d.Bytes, xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		told := states(root)
		if told == "" {
			told = "nothing"
		}
		if told != next.told || attr(root, "state") != "partial" || attr(root, "entity") != "sip:alice@example.com" || d.Bytes[d.Version] != '0' {
			t.Errorf("step %d: %s", i, d.Bytes)
		}
		if err := applied(prev.body, d, next.body); err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
	if _, ok := f.p.Diff(event.Body{Bytes: []byte("<")}, steps[0].body, Type); ok {
		t.Error("a difference from what is no document")
	}
}
