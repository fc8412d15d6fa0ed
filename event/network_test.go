package event_test

import (
	"fmt"
	"testing"
	"time"
)

// TestLossDuplicationReordering: watchers on bad networks see states in the order
// in which they were, never one twice as if it were new, and the last one.
func TestLossDuplicationReordering(t *testing.T) {
	for _, c := range []struct {
		name            string
		loss, duplicate float64
		jitter          time.Duration
	}{
		{"loss", 0.15, 0, 0},
		{"duplication", 0, 0.5, 100 * time.Millisecond},
		{"reordering", 0, 0, 3 * time.Second},
		{"all of it", 0.1, 0.3, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				h.net.Loss, h.net.Duplicate, h.net.Jitter = c.loss, c.duplicate, c.jitter
				var phones []*phone
				for range 5 {
					p := h.phone("alice")
					p.subscribe()
					phones = append(phones, p)
				}
				settle(30 * time.Second)
				etag := h.tells("1", "")
				for i := 2; i <= 200; i++ {
					etag = h.tells(fmt.Sprint(i), etag)
					time.Sleep(100 * time.Millisecond)
				}
				settle(40 * time.Second)
				for _, p := range phones {
					before := 0
					for i, n := range p.notices() {
						at := number(n.text() + " ")
						if i > 0 && at <= before {
							t.Errorf("%d is told after %d", at, before)
						}
						before = at
					}
					if before != 200 {
						t.Errorf("the last state is 200, and %d was told last", before)
					}
				}
			})
		})
	}
}

// TestWaitingWatcherIsToldTheLatest: one who is slow to answer gets no more than the
// latest state when he has.
func TestWaitingWatcherIsToldTheLatest(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.phone("alice").watches()
		p.answersWith(0)
		etag := h.tells("first", "")
		settle(100 * time.Millisecond)
		for i := range 500 {
			etag = h.tells(fmt.Sprintf("change %d", i), etag)
		}
		settle(5 * time.Second)
		if n := len(p.notices()); n != 2 || p.last().text() != "first" {
			t.Fatalf("%d NOTIFYs, %q", n, p.last().text())
		}
		p.wakes()
		settle(10 * time.Second)
		if n := p.notices(); len(n) != 3 || n[1].text() != "first" || n[2].text() != "change 499" {
			t.Errorf("%+v", n)
		}
	})
}
