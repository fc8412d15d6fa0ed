package watcherinfo

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/event"
	"rollcall/xmltree"
)

// table is what a watcher keeps of documents (RFC 3858 §4): watchers by id, without
// those that have ended.
type table map[string]string

func (t table) take(b event.Body) error {
	root, err := xmltree.Parse(b.Append(nil, 0, time.Unix(1_800_000_000, 0)), xmltree.Limits{})
	if err != nil {
		return err
	}
	if state, _ := root.Attr("", "state"); state == "full" {
		clear(t)
	}
	for e := range root.Child(Space, "watcher-list").Children(Space, "watcher") {
		id, _ := e.Attr("", "id")
		if t[id] = e.String(); strings.Contains(t[id], `status="terminated"`) {
			delete(t, id)
		}
	}
	return nil
}

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

// TestPartialNotification: of many watchers those are told that changed, and those
// that are gone as terminated.
func TestPartialNotification(t *testing.T) {
	start := time.Unix(1_799_999_000, 0)
	watcher := func(n int, s event.Standing) event.WatcherInfo {
		return event.WatcherInfo{ID: fmt.Sprint("id", n), AOR: aor(t, fmt.Sprintf("sip:user%d@example.com", n)), Standing: s, Event: "subscribe",
			Since: start.Add(time.Duration(n) * time.Second), Expires: start.Add(time.Hour)}
	}
	compose := func(watchers ...event.WatcherInfo) event.Body {
		return document("presence", aor(t, "sip:bob@example.com"), slices.Clone(watchers), start.Add(100*time.Second))
	}
	four := []event.WatcherInfo{watcher(1, event.Active), watcher(2, event.Active), watcher(3, event.Pending), watcher(4, event.Active)}
	prev := compose(four...)
	later := watcher(2, event.Active)
	later.Expires = later.Expires.Add(time.Hour)
	var many []event.WatcherInfo
	for i := range MaxWatchers + 1 {
		many = append(many, watcher(i, event.Active))
	}
	p := New("presence")
	for _, c := range []struct {
		name string
		next event.Body
		told string // ids with their status, "whole" for a full document
	}{
		{"nothing", compose(four...), ""},
		{"one comes", compose(append(four[:4:4], watcher(5, event.Pending))...), "id5 pending"},
		{"one is let in", compose(four[0], four[1], watcher(3, event.Active), four[3]), "id3 active"},
		{"one refreshes", compose(four[0], later, four[2], four[3]), "id2 active"},
		{"one goes", compose(four[0], four[2], four[3]), "id2 terminated"},
		{"all go", compose(), "whole"},
		{"too many", compose(many...), "whole"},
	} {
		diff, ok := p.Diff(prev, c.next, Type)
		if ok != (c.told != "whole") {
			t.Errorf("%s: partial %v: %s", c.name, ok, diff.Bytes)
		}
		if !ok {
			continue
		}
		var told []string
		root, err := xmltree.Parse(diff.Append(nil, 1, start), xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for e := range root.Child(Space, "watcher-list").Children(Space, "watcher") {
			id, _ := e.Attr("", "id")
			status, _ := e.Attr("", "status")
			told = append(told, id+" "+status)
		}
		if got := strings.Join(told, ", "); got != c.told || !strings.Contains(string(diff.Bytes), `state="partial"`) {
			t.Errorf("%s: told %q, want %q", c.name, got, c.told)
		}
		if err := applied(prev, diff, c.next); err != nil {
			t.Errorf("%s: %v: %s", c.name, err, diff.Bytes)
		}
	}
}
