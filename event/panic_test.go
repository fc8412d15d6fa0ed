package event_test

import (
	"testing"
	"time"
)

// TestPanicOverAState: it is counted, nobody is told a thing, and the next state is
// told.
func TestPanicOverAState(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.phone("alice").watches()
		etag := h.tells("panic over the state", "")
		settle(time.Second)
		if n := h.notifier.Counters.Failed.Load(); n == 0 || len(p.notices()) != 1 {
			t.Errorf("%d failures, %d NOTIFYs", n, len(p.notices()))
		}
		h.tells("better", etag)
		settle(time.Second)
		if got := p.last().text(); got != "better" {
			t.Errorf("told last: %q", got)
		}
		p.subscribe("Expires: 0")
		settle(time.Second)
		if live := h.notifier.Counters.Subscriptions.Load(); live != 0 {
			t.Errorf("%d subscriptions", live)
		}
	})
}

// TestPanicOverAView: those who see another view are told.
func TestPanicOverAView(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		first, all, second := h.phone("carol").watches(), h.phone("alice").watches(), h.phone("carol").watches()
		etag := h.tells("panic over a view", "")
		settle(time.Second)
		if h.notifier.Counters.Failed.Load() == 0 || all.last().text() != "panic over a view" {
			t.Errorf("alice sees %q", all.last().text())
		}
		for _, p := range []*phone{first, second} {
			if p.last().text() != "" {
				t.Errorf("carol sees %q", p.last().text())
			}
		}
		h.tells("better", etag)
		settle(time.Second)
		for _, p := range []*phone{first, second} {
			if p.last().text() != "something" {
				t.Errorf("carol sees %q", p.last().text())
			}
		}
	})
}

// TestEndDuringAPanic: a watcher whose state can't be composed is told that its
// subscription ended all the same.
func TestEndDuringAPanic(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.phone("alice").watches()
		h.tells("panic over the state", "")
		settle(time.Second)
		p.subscribe("Expires: 0")
		settle(20 * time.Second)
		if live := h.notifier.Counters.Subscriptions.Load(); live != 0 || p.last().state != "terminated;reason=timeout" {
			t.Errorf("%d subscriptions, told last: %s", live, p.last().state)
		}
	})
}
