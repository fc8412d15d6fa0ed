package event_test

import (
	"fmt"
	"strings"
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

// TestPartialNotifications: on a bad network each change that is told begins where the
// watcher is, and changes are worked out for all who share them together.
func TestPartialNotifications(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.net.Loss, h.net.Duplicate, h.net.Jitter = 0.1, 0.2, 500*time.Millisecond
		var phones []*phone
		for range 100 {
			p := h.phone("alice")
			p.subscribe("Accept: text/plain;q=0.5, " + typeChange)
			phones = append(phones, p)
		}
		settle(30 * time.Second)
		etag := ""
		const changes = 50
		for i := range changes {
			etag = h.tells(fmt.Sprint("state ", i), etag)
			time.Sleep(time.Duration(i%7) * 300 * time.Millisecond)
		}
		for _, p := range phones[:20] { // the whole again
			p.subscribe("Accept: " + typeChange)
		}
		settle(40 * time.Second)
		partial := 0
		for _, p := range phones {
			has := ""
			for i, n := range p.notices() {
				from, to, changed := strings.Cut(n.text(), " > ")
				switch {
				case !changed:
					has = n.text()
				case i == 0 || from != has:
					t.Fatalf("%q is changed by %q", has, n.text())
				default:
					has = to
					partial++
				}
			}
			if has != fmt.Sprint("state ", changes-1) {
				t.Errorf("the last state is %q", has)
			}
		}
		if partial < 1000 || h.board.compared > partial/2 {
			t.Errorf("%d changes were told, and %d worked out", partial, h.board.compared)
		}
	})
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
