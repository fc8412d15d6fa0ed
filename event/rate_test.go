package event_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/sip"
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
// when nothing changed (RFC 6446 §6.2), and not more often than once a second.
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

// TestAdaptiveMinRate: without changes NOTIFYs come at the rate that was asked for, from
// the beginning, and after a burst of changes later than without (RFC 6446 §7.2, §7.4).
func TestAdaptiveMinRate(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		etag := h.tells("still", "")
		p := h.phone("alice").watches("Event: board;adaptive-min-rate=0.1")
		if state := p.last().state; !strings.Contains(state, ";adaptive-min-rate=0.100") {
			t.Errorf("Subscription-State: %s", state)
		}
		settle(100 * time.Second)
		if n := len(p.notices()); n < 9 || n > 12 {
			t.Errorf("%d NOTIFYs in the first 100 seconds", n)
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

// TestRatesTogether: a rate that makes no sense beside another gives way (RFC 6446 §5.3,
// §8), and an answer to NOTIFY may ask for others (§7.2).
func TestRatesTogether(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		for asked, want := range map[string]string{
			"max-rate=0.1;min-rate=0.5":                "max-rate=0.100;min-rate=0.100",
			"max-rate=0.1;adaptive-min-rate=0.5":       "max-rate=0.100;adaptive-min-rate=0.100",
			"min-rate=0.5;adaptive-min-rate=0.1":       "adaptive-min-rate=0.100",
			"min-rate=0.05;adaptive-min-rate=0.1":      "min-rate=0.050;adaptive-min-rate=0.100",
			"max-rate=0.0001":                          "max-rate=0.017",
			"max-rate=0.5;min-rate=0.1;other=x;id=one": "max-rate=0.500;min-rate=0.100",
		} {
			p := h.phone("alice").watches("Event: board;"+asked, "Expires: 60")
			if _, got, _ := strings.Cut(p.last().state, ";expires=60;"); got != want {
				t.Errorf("%s: %s, want %s", asked, p.last().state, want)
			}
		}
		p := h.phone("alice").watches("Event: board;min-rate=0.5")
		p.answersWith(200, sip.Field{Name: "Event", Value: "board;max-rate=0.25"})
		settle(2 * time.Second)
		heard := len(p.notices())
		settle(time.Minute)
		if n := len(p.notices()); n != heard {
			t.Errorf("%d NOTIFYs without a change", n-heard)
		}
		h.tells("a change", "")
		settle(time.Second)
		if state := p.last().state; !strings.Contains(state, "max-rate=0.250") || strings.Contains(state, "min-rate") {
			t.Errorf("Subscription-State: %s", state)
		}
	})
}
