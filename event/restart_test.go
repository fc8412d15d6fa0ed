package event_test

import (
	"fmt"
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
