package event_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"rollcall/event"
	"rollcall/sip"
)

// TestNothingIsHeldAfterTheEnd: watchers come, are told, refresh and go, a thousand
// times over; one stays, which hears at most once a second.
func TestNothingIsHeldAfterTheEnd(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		slow := h.phone("erin").watches("Event: board;max-rate=1", "Expires: 86400")
		etag := h.tells("0", "")
		for i := range 1000 {
			p := h.phone("alice")
			p.subscribe()
			time.Sleep(100 * time.Millisecond)
			etag = h.tells(fmt.Sprint(i), etag)
			time.Sleep(100 * time.Millisecond)
			p.subscribe()
			time.Sleep(100 * time.Millisecond)
			if i%2 == 0 {
				p.answersWith(481)
			}
			p.subscribe("Expires: 0")
		}
		settle(time.Second)
		if held := h.notifier.Held(); held.Resources != 1 || held.Subscriptions != 1 || held.Watchers != 1 || held.Connections != 0 || held.Due != 1 {
			t.Errorf("held for one watcher: %+v", held)
		}
		slow.subscribe("Expires: 0")
		settle(time.Second)
		if held := h.notifier.Held(); held.Resources+held.Subscriptions+held.Watchers+held.Connections+held.Due != 0 {
			t.Errorf("held for nobody: %+v", held)
		}
	})
}

// TestManyExpireAtOnce: 1,000 subscriptions that end in one moment are all told.
func TestManyExpireAtOnce(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		var phones []*phone
		for range 1000 {
			p := h.phone("alice")
			p.subscribe("Expires: 60")
			phones = append(phones, p)
		}
		settle(62 * time.Second)
		for _, p := range phones {
			if heard := p.notices(); len(heard) != 2 || heard[1].state != "terminated;reason=timeout" {
				t.Fatalf("%+v", heard)
			}
		}
		if held := h.notifier.Held(); held.Subscriptions+held.Resources+held.Due != 0 {
			t.Errorf("held: %+v", held)
		}
	})
}

// TestRebootedPhoneLeavesNoSubscription: a phone that has forgotten its dialog takes
// the place of what it was.
func TestRebootedPhoneLeavesNoSubscription(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.phone("alice").watches()
		for i := range 20 {
			p.mu.Lock()
			p.callID, p.tag, p.seq, p.heard = fmt.Sprintf("boot%d", i), "", 0, nil
			p.mu.Unlock()
			p.watches()
		}
		h.tells("one", "")
		settle(time.Second)
		if heard, live := p.notices(), h.notifier.Counters.Subscriptions.Load(); len(heard) != 2 || live != 1 {
			t.Errorf("%d subscriptions, %d NOTIFYs", live, len(heard))
		}
	})
}

// TestRefreshIsServedAsTheFirst: each SUBSCRIBE is followed by the state, whatever
// was told before (RFC 6665 §4.2.1.2).
func TestRefreshIsServedAsTheFirst(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.tells("one", "")
		for user, want := range map[string]string{"alice": "one", "carol": "something", "dave": "", "erin": ""} {
			p := h.phone(user)
			for i := range 5 {
				p.subscribe()
				settle(time.Second)
				if heard := p.notices(); p.status != 200 || len(heard) != i+1 || heard[i].text() != want {
					t.Errorf("%s, SUBSCRIBE %d: answered %d, %+v", user, i+1, p.status, heard)
				}
			}
		}
	})
}

// TestRetransmittedSubscribe: copies of one SUBSCRIBE make one subscription, and
// those of a refresh are no error.
func TestRetransmittedSubscribe(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.net.Duplicate, h.net.Jitter = 1, 700*time.Millisecond
		p := h.phone("alice")
		for i := range 3 {
			p.subscribe()
			settle(5 * time.Second)
			if live := h.notifier.Counters.Subscriptions.Load(); p.status != 200 || live != 1 || len(p.notices()) != i+1 {
				t.Errorf("SUBSCRIBE %d: answered %d, %d subscriptions, %d NOTIFYs", i+1, p.status, live, len(p.notices()))
			}
		}
	})
}

// TestRefusedSubscribeTellsNobody: it has no effect beyond its answer.
func TestRefusedSubscribeTellsNobody(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.phone("alice").watches()
		h.tells("one", "")
		settle(time.Second)
		before, heard := h.notifier.Counters.Notified.Load(), len(p.notices())
		for range 50 {
			q := h.phone("mallory")
			q.subscribe()
			settle(100 * time.Millisecond)
			if q.status != 403 || len(q.notices()) != 0 {
				t.Fatalf("answered %d, %d NOTIFYs", q.status, len(q.notices()))
			}
		}
		settle(time.Minute)
		if h.notifier.Counters.Notified.Load() != before || len(p.notices()) != heard {
			t.Error("somebody was told")
		}
		if held := h.notifier.Held(); held.Subscriptions != 1 || held.Watchers != 1 {
			t.Errorf("held: %+v", held)
		}
	})
}

// TestLimitsOfSubscriptions: those of one watcher and those in all are counted, one
// over the limit is answered 503 with Retry-After, and the place of one that ends
// is free.
func TestLimitsOfSubscriptions(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.notifier.Reload(event.Settings{MaxPerWatcher: 20, MaxInAll: 30})
		var phones []*phone
		for range 200 {
			p := h.phone("alice")
			p.subscribe()
			phones = append(phones, p)
		}
		settle(time.Second)
		taken := map[int]int{}
		for _, p := range phones {
			taken[p.status]++
			if p.status == 503 && p.answer.Get(sip.HeaderRetryAfter) == "" {
				t.Error("503 without Retry-After")
			}
		}
		if taken[200] != 20 || taken[503] != 180 {
			t.Errorf("answers: %v", taken)
		}
		others := map[int]int{}
		for range 20 {
			p := h.phone("carol")
			p.subscribe()
			settle(100 * time.Millisecond)
			others[p.status]++
		}
		if others[200] != 10 || others[503] != 10 {
			t.Errorf("answers to another: %v", others)
		}
		if held := h.notifier.Held(); held.Subscriptions != 30 || held.Watchers != 2 {
			t.Errorf("held: %+v", held)
		}
		for _, p := range phones {
			if p.status == 200 {
				p.subscribe("Expires: 0")
				break
			}
		}
		settle(time.Second)
		h.phone("alice").watches()
	})
}

// TestOneNotifyForOneChange: each watcher hears of it once, and of a publication that
// says the same again not at all.
func TestOneNotifyForOneChange(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p, q := h.phone("alice").watches(), h.phone("alice").watches()
		etag := ""
		for i := range 10 {
			etag = h.tells(fmt.Sprint(i), etag)
			settle(time.Second)
			etag = h.tells(fmt.Sprint(i), etag)
			settle(time.Second)
			etag = h.tells("", etag) // a refresh
			settle(time.Second)
		}
		if len(p.notices()) != 11 || len(q.notices()) != 11 {
			t.Errorf("%d and %d NOTIFYs", len(p.notices()), len(q.notices()))
		}
	})
}

// TestExpiryOfAPublicationIsTold: it is a change like any other.
func TestExpiryOfAPublicationIsTold(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p, q := h.phone("alice").watches(), h.phone("carol").watches()
		if _, err := h.publish("bob", "for a minute", "", "Expires: 60"); err != nil {
			t.Fatal(err)
		}
		settle(59 * time.Second)
		if p.last().text() != "for a minute" || q.last().text() != "something" {
			t.Errorf("told %q and %q", p.last().text(), q.last().text())
		}
		settle(2 * time.Second)
		if p.last().text() != "" || q.last().text() != "" || len(p.notices()) != 3 {
			t.Errorf("after its time %+v and %q", p.notices(), q.last().text())
		}
		if pubs, err := h.notifier.Publications(t.Context(), "board", aor(t, "bob")); err != nil || len(pubs) != 0 {
			t.Errorf("%d publications, %v", len(pubs), err)
		}
	})
}

// TestEntityTagIsSwappedOnce: of many PUBLISHes at one moment with one entity-tag one
// is taken, the others are answered 412, and there is one publication, that one's.
func TestEntityTagIsSwappedOnce(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.phone("alice").watches()
		etag := h.tells("begin", "")
		for round := range 20 {
			var mu sync.Mutex
			var wg sync.WaitGroup
			taken, refused, next, won := 0, 0, "", ""
			for i := range 16 {
				text := fmt.Sprintf("round %d, %d", round, i)
				m := h.publication("bob", text, etag)
				wg.Go(func() {
					tag, err := h.serve("bob", m)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						taken, next, won = taken+1, tag, text
					} else if refusal(t, err).Status == sip.StatusConditionalFailed {
						refused++
					}
				})
			}
			wg.Wait()
			settle(time.Second)
			pubs, err := h.notifier.Publications(t.Context(), "board", aor(t, "bob"))
			if taken != 1 || refused != 15 || err != nil || len(pubs) != 1 || string(pubs[0].Body) != won || pubs[0].ETag != next {
				t.Fatalf("%d taken, %d refused, %d publications, %v", taken, refused, len(pubs), err)
			}
			if p.last().text() != won {
				t.Errorf("told %q, not %q", p.last().text(), won)
			}
			etag = next
		}
	})
}

// TestPublisherThatRacesItself: a device that publishes again before it has heard its
// entity-tag leaves no second publication.
func TestPublisherThatRacesItself(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.phone("alice").watches()
		var wg sync.WaitGroup
		for i := range 10 {
			m := h.publication("bob", fmt.Sprint("race ", i), "", "Call-ID: one device")
			wg.Go(func() {
				if _, err := h.serve("bob", m); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		etag, err := h.publish("bob", "at rest", "", "Call-ID: one device")
		if err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		pubs, err := h.notifier.Publications(t.Context(), "board", aor(t, "bob"))
		if err != nil || len(pubs) != 1 || pubs[0].ETag != etag || p.last().text() != "at rest" {
			t.Errorf("%d publications, told %q, %v", len(pubs), p.last().text(), err)
		}
		if _, err := h.publish("bob", "", etag, "Expires: 0"); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		if p.last().text() != "" {
			t.Errorf("a ghost: %q", p.last().text())
		}
	})
}
