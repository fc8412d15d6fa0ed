package event_test

import (
	"testing"
	"time"

	"rollcall/sip"
)

// TestResumingASubscription: a SUBSCRIBE outside a dialog that names the current
// state is followed by a NOTIFY without body (RFC 5839 §5.5, §6.2), and so is a poll.
func TestResumingASubscription(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		etag := h.tells("one", "")
		known := h.phone("alice").watches().last().etag
		for _, c := range []struct{ match, expires, text, state string }{
			{known, "3600", "", "active;expires=3600"},
			{"*", "3600", "", "active;expires=3600"},
			{known, "0", "", "terminated;reason=timeout"},
			{known + "x", "3600", "one", "active;expires=3600"},
			{known + "x", "0", "one", "terminated;reason=timeout"},
		} {
			p := h.phone("alice").watches("Suppress-If-Match: "+c.match, "Expires: "+c.expires)
			if n := p.last(); p.status != 200 || n.text() != c.text || (n.body == "") != (c.text == "") || n.etag != known || n.state != c.state || len(p.notices()) != 1 {
				t.Errorf("%s, %s: %d, %+v", c.match, c.expires, p.status, n)
			}
		}
		p := h.phone("alice").watches("Suppress-If-Match: " + known)
		h.tells("two", etag)
		settle(time.Second)
		if p.last().text() != "two" || p.last().etag == known {
			t.Errorf("a change: %+v", p.last())
		}
		q := h.phone("carol").watches("Suppress-If-Match: " + known)
		if q.last().text() != "something" {
			t.Errorf("who sees another view is told %+v", q.last())
		}
	})
}

// TestConditionalRefresh: 204 and no NOTIFY, now or later, as long as the state is the
// one that is named (RFC 5839 §6.3).
func TestConditionalRefresh(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		first := h.tells("one", "")
		p := h.phone("alice").watches("Event: board;min-rate=1") // which would tell it every second
		known := p.last().etag
		settle(30 * time.Second)
		p.subscribe("Event: board;min-rate=1", "Suppress-If-Match: "+known, "Expires: 3000")
		settle(time.Second)
		heard := len(p.notices())
		settle(time.Minute)
		if p.status != 204 || p.answer.Get(sip.HeaderExpires) != "3000" || len(p.notices()) != heard {
			t.Errorf("answered %d with %s, %d NOTIFYs follow", p.status, p.answer.Get(sip.HeaderExpires), len(p.notices())-heard)
		}
		second := h.tells("two", first)
		settle(500 * time.Millisecond)
		if p.last().text() != "two" {
			t.Errorf("a change: %+v", p.last())
		}
		h.tells("one", second) // as it was, but it knows another now
		settle(500 * time.Millisecond)
		if p.last().text() != "one" || p.last().etag != known {
			t.Errorf("back again: %+v", p.last())
		}
		p.subscribe("Suppress-If-Match: guess")
		settle(500 * time.Millisecond)
		if p.status != 200 || p.last().text() != "one" {
			t.Errorf("a condition that is not met: %d, %+v", p.status, p.last())
		}
		heard = len(p.notices())
		p.subscribe("Suppress-If-Match: "+known, "Expires: 0")
		settle(time.Minute)
		if p.status != 204 || len(p.notices()) != heard || h.notifier.Held().Subscriptions != 0 { // §5.7
			t.Errorf("at the end: %d, %d NOTIFYs, %+v", p.status, len(p.notices())-heard, h.notifier.Held())
		}
	})
}

// TestConditionAtTheEnd: the last NOTIFY of a subscription whose watcher knows the
// state has no body (RFC 5839 §6.2).
func TestConditionAtTheEnd(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.tells("one", "")
		p := h.phone("alice").watches()
		known := p.last().etag
		p.subscribe("Suppress-If-Match: "+known, "Expires: 60")
		settle(70 * time.Second)
		if n := p.last(); p.status != 204 || n.state != "terminated;reason=timeout" || n.body != "" || n.etag != known || len(p.notices()) != 2 {
			t.Errorf("%d, %+v", p.status, p.notices())
		}
	})
}

// TestDormantSubscription: "*" is always met, so nothing is told but what becomes of
// the subscription, until a SUBSCRIBE without it (RFC 5839 §5.2).
func TestDormantSubscription(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		etag := h.tells("one", "")
		p := h.phone("alice").watches()
		p.subscribe("Suppress-If-Match: *")
		settle(time.Second)
		for _, text := range []string{"two", "three", "four"} {
			etag = h.tells(text, etag)
			settle(time.Second)
		}
		p.subscribe("Suppress-If-Match: *")
		settle(time.Second)
		if p.status != 204 || len(p.notices()) != 1 {
			t.Errorf("%d, %+v", p.status, p.notices())
		}
		p.subscribe()
		settle(time.Second)
		if p.status != 200 || p.last().text() != "four" || len(p.notices()) != 2 {
			t.Errorf("awake: %d, %+v", p.status, p.notices())
		}
		h.tells("five", etag)
		settle(time.Second)
		if p.last().text() != "five" {
			t.Errorf("%+v", p.last())
		}
	})
}
