package event_test

import (
	"fmt"
	"testing"
	"time"

	"rollcall/event"
	"rollcall/sip"
)

// TestAnswersThatEndASubscription: those of RFC 6665 §4.2.2 and every other failure
// but 503, which has its own rule.
func TestAnswersThatEndASubscription(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		etag := h.tells("0", "")
		for i, status := range []int{404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604, 400, 403, 408, 486, 500, 603} {
			p := h.phone("alice").watches()
			p.answersWith(status)
			etag = h.tells(fmt.Sprint(2*i+1), etag)
			settle(time.Second)
			if live := h.notifier.Counters.Subscriptions.Load(); live != 0 {
				t.Errorf("%d leaves %d subscriptions", status, live)
			}
			heard := len(p.notices())
			etag = h.tells(fmt.Sprint(2*i+2), etag)
			settle(time.Second)
			if n := len(p.notices()); n != heard {
				t.Errorf("%d: a NOTIFY follows", status)
			}
			p.subscribe() // as RFC 6665 §4.1.2.2 wants it heard
			settle(time.Second)
			if p.status != 481 {
				t.Errorf("%d: a refresh is answered %d", status, p.status)
			}
		}
	})
}

// TestRetryAfter: a watcher that says 503 is left alone for as long as it says, and
// then gets the latest state.
func TestRetryAfter(t *testing.T) {
	for field, want := range map[string]time.Duration{"": 10 * time.Second, "7": 7 * time.Second, "20;duration=60": 20 * time.Second, "soon": 10 * time.Second} {
		inHouse(t, func(t *testing.T, h *house) {
			p := h.phone("alice").watches()
			var fields []sip.Field
			if field != "" {
				fields = []sip.Field{{Name: "Retry-After", Value: field}}
			}
			p.answersWith(503, fields...)
			etag := h.tells("one", "")
			settle(100 * time.Millisecond)
			p.answersWith(200)
			from := p.last().at
			h.tells("two", etag)
			settle(time.Minute)
			heard := p.notices()
			if len(heard) != 3 || heard[2].text() != "two" {
				t.Fatalf("Retry-After: %s: %+v", field, heard)
			}
			if gap := heard[2].at.Sub(from); gap < want || gap > want+200*time.Millisecond {
				t.Errorf("Retry-After: %s: told after %v, want %v", field, gap, want)
			}
		})
	}
}

// TestWatchersThatNeverAnswer: 500 silent watchers while the state changes 1,000
// times: one NOTIFY waits for each, and after Timer F they are gone, from the store
// too (RFC 6665 §4.2.2).
func TestWatchersThatNeverAnswer(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		const silent = 500
		for range silent {
			p := h.phone("alice")
			p.answersWith(0)
			p.subscribe()
		}
		settle(time.Second)
		etag := h.tells("0", "")
		for i := range 1000 {
			etag = h.tells(fmt.Sprint(i), etag)
			time.Sleep(20 * time.Millisecond)
			if n, size := h.layer.Counters.Clients.Load(), h.layer.Counters.UnfinishedBytes.Load(); n > silent || size > silent*1024 {
				t.Fatalf("%d NOTIFYs wait, of %d bytes", n, size)
			}
		}
		settle(15 * time.Second)
		if live, ended := h.notifier.Counters.Subscriptions.Load(), h.notifier.Counters.Ended.Load(); live != 0 || ended != silent {
			t.Errorf("%d subscriptions, %d ended", live, ended)
		}
		if n, size := h.layer.Counters.Clients.Load(), h.layer.Counters.UnfinishedBytes.Load(); n != 0 || size != 0 {
			t.Errorf("%d NOTIFYs, %d bytes left", n, size)
		}
		h.stop()
		h.open()
		if list := h.notifier.Subscriptions(sip.AOR{}); len(list) != 0 {
			t.Errorf("%d come back after a restart", len(list))
		}
	})
}

// TestLastNotifyFollowsOneUnderWay: a subscription that ends while a NOTIFY waits for
// its answer is told that it ended (RFC 6665 §4.2.1.4, §4.2.1.3).
func TestLastNotifyFollowsOneUnderWay(t *testing.T) {
	for _, c := range []struct {
		name, state string
		end         func(h *house, p *phone)
	}{
		{"it unsubscribes", "terminated;reason=timeout", func(_ *house, p *phone) { p.subscribe("Expires: 0") }},
		{"it expires", "terminated;reason=timeout", func(*house, *phone) { settle(10 * time.Second) }},
		{"it is refused", "terminated;reason=rejected", func(h *house, _ *phone) { h.board.rule("alice", event.Verdict{}, aor(h.t, "bob")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				p := h.phone("alice").watches("Expires: 60")
				settle(50 * time.Second)
				p.answersWith(0)
				h.tells("a change", "")
				settle(time.Second)
				c.end(h, p)
				settle(5 * time.Second)
				p.wakes()
				settle(20 * time.Second)
				if got := p.last().state; got != c.state {
					t.Errorf("told last: %s", got)
				}
				if live := h.notifier.Counters.Subscriptions.Load(); live != 0 {
					t.Errorf("%d subscriptions", live)
				}
			})
		})
	}
}
