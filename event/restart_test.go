package event_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRestart: subscriptions go on after a stop and after a kill without a SUBSCRIBE,
// numbers rise, and what changed meanwhile is told. A kill is a copy of the store's
// files, after which more NOTIFYs leave.
func TestRestart(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(map[bool]string{false: "stop", true: "kill"}[kill], func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				p, q := h.phone("alice").watches("Event: board;id=7"), h.phone("carol").watches()
				etag := h.tells("one", "")
				settle(3 * time.Second)
				dir := copyFolder(t, h.dir)
				for i := range 1500 { // many numbers, which are reserved and not written one by one
					etag = h.tells(fmt.Sprintf("more %d", i), etag)
					settle(50 * time.Millisecond)
				}
				sent := len(p.notices())
				if sent < 1000 {
					t.Fatalf("%d NOTIFYs", sent)
				}
				h.stop()
				settle(10 * time.Second)
				if kill {
					h.dir = dir
				}
				h.open()
				settle(time.Second)
				heard := p.notices()
				n := heard[sent]
				if len(heard) != sent+1 || n.cseq <= heard[sent-1].cseq || number(n.body) <= number(heard[sent-1].body) {
					t.Errorf("%d NOTIFYs, the first %+v after %+v", len(heard)-sent, n, heard[sent-1])
				}
				if want := map[bool]string{false: "more 1499", true: "one"}[kill]; n.text() != want { // of what was stored
					t.Errorf("told %q, want %q", n.text(), want)
				}
				if want := "active;expires=" + fmt.Sprint(int(time.Hour/time.Second-time.Since(heard[0].at)/time.Second)); n.state != want {
					t.Errorf("%s, want %s", n.state, want)
				}
				h.tells("after", "")
				settle(time.Second)
				if p.last().text() != "after" || q.last().text() != "something" {
					t.Errorf("told %q and %q", p.last().text(), q.last().text())
				}
				p.subscribe("Event: board;id=7", "Expires: 0")
				settle(time.Second)
				if p.status != 200 || p.last().state != "terminated;reason=timeout" {
					t.Errorf("unsubscribe: %d, %s", p.status, p.last().state)
				}
			})
		})
	}
}

// TestRatesAfterRestart: the rates that a watcher asked for are kept over a restart (RFC 6446).
func TestRatesAfterRestart(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		etag := h.tells("one", "")
		p := h.phone("alice").watches("Event: board;max-rate=0.1;adaptive-min-rate=0.05")
		q := h.phone("carol").watches("Event: board;min-rate=0.05")
		settle(time.Minute)
		h.stop()
		h.open()
		settle(time.Second)
		for _, p := range []*phone{p, q} {
			if state := p.last().state; !strings.Contains(state, "min-rate=0.050") {
				t.Errorf("Subscription-State: %s", state)
			}
			from := len(p.notices())
			settle(100 * time.Second)
			if n := len(p.notices()) - from; n < 4 || n > 7 {
				t.Errorf("%d NOTIFYs in 100 seconds", n)
			}
		}
		from := len(p.notices())
		for i := range 20 {
			etag = h.tells(fmt.Sprint(i), etag)
			settle(time.Second)
		}
		if n := len(p.notices()) - from; n > 3 {
			t.Errorf("%d NOTIFYs in 20 seconds", n)
		}
	})
}
