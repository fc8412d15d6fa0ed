package event_test

import (
	"strings"
	"testing"
	"time"

	"rollcall/event"
)

// TestWatcherThatNobodyDecidedAbout: the subscription of one that waits for a decision
// ends, and the one it is about learns of it later, also after a restart, until a
// decision, the watcher's return or the end of patience (RFC 3857 §4.7.1).
func TestWatcherThatNobodyDecidedAbout(t *testing.T) {
	for _, c := range []struct {
		name string
		ask  string // Expires of the one that waits
		then func(h *house, asks *phone)
		want string // of the document at the end
	}{
		{"it expired", "60", func(*house, *phone) {}, `status="waiting" event="timeout"`},
		{"it only fetched", "0", func(*house, *phone) {}, `status="waiting" event="timeout"`},
		{"it comes back", "60", func(h *house, asks *phone) {
			h.phone("dave").watches()
		}, `status="pending" event="subscribe"`},
		{"it is let in", "60", func(h *house, _ *phone) {
			h.board.rule("dave", event.Verdict{Standing: event.Active}, aor(h.t, "bob"))
		}, ""},
		{"it is refused", "60", func(h *house, _ *phone) { h.board.rule("dave", event.Verdict{}, aor(h.t, "bob")) }, ""},
		{"nobody decides", "60", func(*house, *phone) { settle(10 * time.Minute) }, ""},
		{"the server starts again", "60", func(h *house, _ *phone) {
			settle(3 * time.Second)
			h.stop()
			h.open()
		}, `status="waiting" event="timeout"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				h.notifier.Reload(event.Settings{GiveUp: 10 * time.Minute})
				asks := h.phone("dave").watches("Expires: " + c.ask)
				settle(62 * time.Second)
				if live := h.notifier.Counters.Subscriptions.Load(); live != 0 {
					t.Fatalf("%d subscriptions", live)
				}
				learns := func() string {
					p := h.phone("bob").watches("Event: board.winfo", "Expires: 0")
					return p.last().body
				}
				if b := learns(); strings.Count(b, "<watcher ") != 1 || !strings.Contains(b, `status="waiting"`) || !strings.Contains(b, ">sip:dave@example.com</watcher>") {
					t.Fatalf("first:\n%s", b)
				}
				c.then(h, asks)
				settle(time.Second)
				b := learns()
				if n := strings.Count(b, "<watcher "); !strings.Contains(b, c.want) || (n == 1) != (c.want != "") || n > 1 {
					t.Errorf("want %s in\n%s", c.want, b)
				}
			})
		})
	}
}

// TestApprovedWatcher: watcher information says what led to where a watcher stands.
func TestApprovedWatcher(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		dave := h.phone("dave").watches()
		bob := h.phone("bob").watches("Event: board.winfo")
		h.board.rule("dave", event.Verdict{Standing: event.Active}, aor(t, "bob"))
		settle(time.Second)
		if b := bob.last().body; !strings.Contains(b, `status="active" event="approved"`) || !strings.HasPrefix(dave.last().state, "active") {
			t.Errorf("%s\n%s", dave.last().state, b)
		}
	})
}

// TestDecisionAboutOneThatWaits: who watches his watchers is told of a decision about
// one that has no subscription.
func TestDecisionAboutOneThatWaits(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.phone("dave").watches("Expires: 60")
		bob := h.phone("bob").watches("Event: board.winfo")
		if b := bob.last().body; !strings.Contains(b, `status="pending"`) {
			t.Errorf("before:\n%s", b)
		}
		settle(62 * time.Second)
		if b := bob.last().body; !strings.Contains(b, `status="waiting"`) {
			t.Errorf("after it expired:\n%s", b)
		}
		h.board.rule("dave", event.Verdict{Standing: event.Active}, aor(t, "bob"))
		settle(time.Second)
		if b := bob.last().body; strings.Contains(b, "<watcher ") {
			t.Errorf("after the decision:\n%s", b)
		}
	})
}
