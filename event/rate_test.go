package event_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestMaxRate: between two NOTIFYs lies the time that the watcher asked for, the
// latest state follows when it is over, and what a SUBSCRIBE asks for waits for
// nothing (RFC 6446).
func TestMaxRate(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.phone("alice").watches("Event: board;max-rate=0.2")
		if state := p.last().state; !strings.Contains(state, ";max-rate=0.200") {
			t.Errorf("Subscription-State: %s", state)
		}
		etag := ""
		for i := range 120 {
			etag = h.tells(fmt.Sprint(i), etag)
			time.Sleep(500 * time.Millisecond)
		}
		settle(10 * time.Second)
		heard := p.notices()
		if len(heard) < 12 || len(heard) > 14 || p.last().text() != "119" {
			t.Errorf("%d NOTIFYs, the last %q", len(heard), p.last().text())
		}
		for i := 1; i < len(heard); i++ {
			if gap := heard[i].at.Sub(heard[i-1].at); gap < 5*time.Second {
				t.Errorf("%v between two NOTIFYs", gap)
			}
		}
		h.tells("at once", etag)
		settle(100 * time.Millisecond)
		h.tells("and again", "")
		p.subscribe("Event: board;max-rate=0.2")
		settle(100 * time.Millisecond)
		if p.last().text() != "and again" {
			t.Errorf("after SUBSCRIBE: %q", p.last().text())
		}
	})
}

// TestMinRate: a NOTIFY comes when the time that the watcher asked for is over, also
// when nothing changed (RFC 6446), and not more often than once a second.
func TestMinRate(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.tells("still", "")
		p := h.phone("alice").watches("Event: board;min-rate=0.1")
		fast := h.phone("alice").watches("Event: board;min-rate=100")
		settle(100 * time.Second)
		if n := len(p.notices()); n < 10 || n > 12 || p.last().text() != "still" || !strings.Contains(p.last().state, ";min-rate=0.100") {
			t.Errorf("%d NOTIFYs, %+v", n, p.last())
		}
		if n := len(fast.notices()); n < 80 || n > 105 || !strings.Contains(fast.last().state, ";min-rate=1.000") {
			t.Errorf("%d NOTIFYs, %+v", n, fast.last())
		}
	})
}

// TestRatesThatAreNone: what is no rate is as if it were not there.
func TestRatesThatAreNone(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		for _, rate := range []string{"0", "-1", "soon", "NaN", "Inf", "1e9", "", `"1"`} {
			p := h.phone("alice")
			p.subscribe("Event: board;max-rate=" + rate + ";min-rate=" + rate)
			settle(time.Second)
			if p.status == 400 { // what breaks the grammar
				continue
			}
			if p.status != 200 || strings.Contains(p.last().state, "rate") {
				t.Errorf("rate %q: %d, %+v", rate, p.status, p.notices())
			}
		}
	})
}

// TestAdaptiveMinRate: without changes NOTIFYs come at the rate that was asked for, and
// after a burst of changes later than without.
func TestAdaptiveMinRate(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		etag := h.tells("still", "")
		p := h.phone("alice").watches("Event: board;adaptive-min-rate=0.1")
		if state := p.last().state; !strings.Contains(state, ";adaptive-min-rate=0.100") {
			t.Errorf("Subscription-State: %s", state)
		}
		settle(10 * time.Minute)
		from := len(p.notices())
		settle(100 * time.Second)
		if n := len(p.notices()) - from; n < 9 || n > 11 {
			t.Errorf("%d NOTIFYs in 100 seconds", n)
		}
		for i := range 30 {
			etag = h.tells(fmt.Sprint(i), etag)
			settle(200 * time.Millisecond)
		}
		heard := p.notices()
		burst := heard[len(heard)-1]
		settle(time.Minute)
		heard = p.notices()
		next := heard[len(heard)-1]
		for _, n := range heard {
			if n.at.After(burst.at) {
				next = n
				break
			}
		}
		if gap := next.at.Sub(burst.at); gap < 40*time.Second || burst.text() != "29" {
			t.Errorf("%v after a burst", gap)
		}
		p.subscribe("Event: board")
		settle(time.Second)
		from = len(p.notices())
		settle(5 * time.Minute)
		if n := len(p.notices()); n != from || strings.Contains(p.last().state, "rate") {
			t.Errorf("%d NOTIFYs without a rate: %s", n-from, p.last().state)
		}
	})
}
