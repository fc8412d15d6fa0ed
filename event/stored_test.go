package event

import (
	"testing"
	"time"

	"rollcall/sip"
	"rollcall/sip/dialog"
	"rollcall/store"
)

func address(t testing.TB, s string) sip.AOR {
	t.Helper()
	a, err := sip.ParseAORString(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// storedSubscription is one with everything in it.
func storedSubscription(t testing.TB, ofList bool) *subscription {
	k := &pack{spec: Spec{Name: "board"}}
	s := &subscription{
		r:       &resource{pack: k, aor: address(t, "sip:bob@example.com")},
		dialog:  dialog.Dialog{CallID: "c", LocalTag: "l", RemoteTag: "r", Local: "<sip:bob@example.com>", Remote: "<sip:alice@example.com>;tag=r", Target: "sip:alice@192.0.2.1", Routes: []string{"<sip:192.0.2.9;lr>"}, PeerCSeq: 7},
		watcher: address(t, "sip:alice@example.com"), device: "urn:uuid:1", event: "board;id=1",
		view:     View{Class: "c", Type: "text/plain", Filter: "<f/>", Params: "p"},
		standing: Active, rule: "rule", since: time.UnixMilli(1_800_000_000_000).UTC(), expires: time.UnixMilli(1_800_000_600_000).UTC(),
		minGap: time.Second, maxGap: time.Minute, pace: newPace(2*time.Minute, time.Now()), bound: 4096,
	}
	if ofList {
		k.spec.Name += listSuffix
		s.list = &list{members: []*member{{aor: address(t, "sip:carol@example.com"), name: "Carol"}}, bare: true}
	}
	return s
}

// TestStoredSubscription: what is stored is what comes back.
func TestStoredSubscription(t *testing.T) {
	for _, list := range []bool{false, true} {
		s := storedSubscription(t, list)
		item := s.item()
		got, pkg, aor, members, err := decodeSubscription(item)
		if err != nil || pkg != s.r.pack.spec.Name || aor != s.r.aor || (len(members) == 1) != list {
			t.Fatal(pkg, aor, members, err)
		}
		if list && members[0] != (Member{AOR: address(t, "sip:carol@example.com"), Name: "Carol"}) {
			t.Error(members)
		}
		got.r = s.r
		if list {
			got.list.members = s.list.members
		}
		if again := got.item(); string(again.Value) != string(item.Value) || !again.Expires.Equal(item.Expires) {
			t.Errorf("stored again:\n%q\n%q", again.Value, item.Value)
		}
		if got.number != s.bound {
			t.Errorf("numbers go on from %d, want %d", got.number, s.bound)
		}
		for cut := range item.Value { // no part of it is taken for the whole
			if _, _, _, _, err := decodeSubscription(store.Item{Value: item.Value[:cut]}); err == nil && cut < len(item.Value) {
				t.Errorf("%d of %d bytes are taken", cut, len(item.Value))
			}
		}
	}
}

// FuzzStored reads what a store might hold: nothing there makes the server fall.
func FuzzStored(f *testing.F) {
	f.Add(storedSubscription(f, false).item().Value)
	f.Add(storedSubscription(f, true).item().Value)
	p := stored{Publication: Publication{ID: "a", ETag: "a-1", Publisher: address(f, "sip:bob@example.com"), Device: "d", Type: "text/plain", Body: []byte("x")}}
	f.Add(p.item().Value)
	f.Add(appendTime(appendText(appendText([]byte{waitingVersion}, "id"), "board"), time.UnixMilli(1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _, members, err := decodeSubscription(store.Item{Value: b})
		if err == nil && len(members) > MaxMembers {
			t.Error("more members than a list may have")
		}
		_, _ = decodePublication(store.Item{ID: "a", Value: b})
		_, _, _ = decodeWaiting(store.Item{ID: "sip:alice@example.com", Value: b})
	})
}
