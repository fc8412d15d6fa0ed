package event_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/event"
)

// TestThousandWatchers: bob's board changes 1,000 times in ten seconds before 1,000
// watchers on a network that loses, doubles and overtakes. The last state reaches
// everyone who may see it, nobody sees what is not for him, and each gets far
// fewer NOTIFYs than there were changes.
func TestThousandWatchers(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.net.Loss, h.net.Duplicate, h.net.Jitter = 0.05, 0.05, 300*time.Millisecond
		phones := map[string][]*phone{}
		for _, user := range []string{"alice", "carol", "dave", "erin", "frank", "mallory"} {
			n := 200
			if user == "mallory" {
				n = 20
			}
			for range n {
				p := h.phone(user)
				p.subscribe()
				phones[user] = append(phones[user], p)
			}
		}
		settle(40 * time.Second)
		const changes, blocked, revealed = 1000, 400, 600
		h.board.mu.Lock()
		h.board.composed = 0
		h.board.mu.Unlock()
		etag := h.tells("secret 0.", "")
		for i := 1; i <= changes; i++ {
			switch i {
			case blocked:
				h.board.rule("frank", event.Verdict{}, aor(t, "bob"))
			case revealed:
				h.board.rule("dave", event.Verdict{Standing: event.Active}, aor(t, "bob"))
			}
			etag = h.tells(fmt.Sprintf("secret %d.", i), etag)
			time.Sleep(10 * time.Millisecond)
		}
		settle(90 * time.Second)
		for _, p := range phones["mallory"] {
			if p.status != 403 || len(p.notices()) > 0 {
				t.Errorf("one who is refused is answered %d and gets %d NOTIFYs", p.status, len(p.notices()))
			}
		}
		delete(phones, "mallory")
		final := map[string]string{
			"alice": fmt.Sprintf("secret %d.", changes), "carol": "something", "dave": fmt.Sprintf("secret %d.", changes), "erin": "", "frank": "",
		}
		sees := map[string]func(at int) bool{ // whether he may see change number at, 0 for "something"
			"alice": func(int) bool { return true },
			"carol": func(at int) bool { return at < 0 },
			"dave":  func(at int) bool { return at >= revealed },
			"erin":  func(int) bool { return false },
			"frank": func(at int) bool { return at < blocked },
		}
		total := 0
		for user, list := range phones {
			for _, p := range list {
				heard := p.notices()
				total += len(heard)
				if p.last().text() != final[user] {
					t.Fatalf("%s saw %q last, after %d NOTIFYs", user, p.last().text(), len(heard))
				}
				if len(heard) > changes/5 {
					t.Errorf("%s got %d NOTIFYs", user, len(heard))
				}
				for i, n := range heard {
					at := -1
					if v, ok := strings.CutPrefix(n.text(), "secret "); ok {
						_, _ = fmt.Sscan(strings.TrimSuffix(v, "."), &at)
					}
					if n.text() != "" && !sees[user](at) {
						t.Fatalf("%s sees %q", user, n.text())
					}
					if n.body != "" && number(n.body) != int(n.cseq)-1 || i > 0 && n.cseq <= heard[i-1].cseq {
						t.Fatalf("document %q of NOTIFY %d", n.body, n.cseq)
					}
				}
			}
		}
		for _, p := range phones["frank"] {
			if p.last().state != "terminated;reason=rejected" {
				t.Errorf("one who is blocked: %s", p.last().state)
			}
		}
		if live := h.notifier.Counters.Subscriptions.Load(); live != 800 {
			t.Errorf("%d subscriptions", live)
		}
		if h.board.composed > changes*3/2 { // once for a change, not for a watcher
			t.Errorf("composed %d times", h.board.composed)
		}
		t.Logf("%d NOTIFYs for %d changes before %d watchers, composed %d times", total, changes, 1000, h.board.composed)
	})
}
