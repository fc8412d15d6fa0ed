package integration

import (
	"strings"
	"testing"
	"time"
)

// TestLinphoneSeesPresence has alice see bob come, get busy, leave a note and go.
func TestLinphoneSeesPresence(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			addr := startServerFor(t, transport)
			a, b := newLinphone(t, addr, transport, alice), newLinphone(t, addr, transport, bob)
			b.publishes = true
			must(t, a.Register())
			must(t, a.Watch("", bob))
			shows(t, a, bob, closed)

			must(t, b.Register())
			shows(t, a, bob, open)
			for _, state := range []shown{busy, {"open", "away", greeting}, open, {"closed", "", "gone home"}, open} {
				must(t, b.Publish(state))
				shows(t, a, bob, state)
			}
			b.Close()
			shows(t, a, bob, closed)
			a.Close()
		})
	}
}

// TestLinphoneWatchesAList has alice see two contacts through one subscription.
func TestLinphoneWatchesAList(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			addr := startServerFor(t, transport)
			a, b, c := newLinphone(t, addr, transport, alice), newLinphone(t, addr, transport, bob), newLinphone(t, addr, transport, carol)
			b.publishes, c.publishes = true, true
			must(t, a.Register())
			must(t, b.Register())
			must(t, a.Watch("sip:friends@"+domain, bob, carol))
			shows(t, a, bob, open)
			shows(t, a, carol, closed)

			must(t, c.Register())
			shows(t, a, carol, open)
			must(t, b.Publish(shown{"open", "on-the-phone", greeting}))
			must(t, c.Publish(busy))
			shows(t, a, bob, shown{"open", "on-the-phone", greeting})
			shows(t, a, carol, busy)
			b.Close()
			shows(t, a, bob, closed)
			shows(t, a, carol, busy)
			a.Close()
			c.Close()
		})
	}
}

// TestSubscriptionsOutliveAKill has linphone, which does not notice that the
// server was killed and started again, go on seeing what others publish.
func TestSubscriptionsOutliveAKill(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a, b, c := newLinphone(t, s.addr, "udp", alice), newLinphone(t, s.addr, "udp", bob), newLinphone(t, s.addr, "udp", carol)
	b.publishes = true
	must(t, a.Register())
	must(t, b.Register())
	must(t, a.Watch("", bob))
	shows(t, a, bob, open)
	must(t, b.Publish(busy))
	shows(t, a, bob, busy)

	restart := func() {
		// Subscriptions come back as of at most a second before a kill.
		time.Sleep(1500 * time.Millisecond)
		s.kill()
		s.start()
	}
	for _, note := range []string{"once", "twice"} {
		restart()
		must(t, b.Publish(shown{"open", "meeting", note}))
		shows(t, a, bob, shown{"open", "meeting", note})
		if _, text := s.get("/metrics"); !strings.Contains(text, `rollcall_server_requests_total{method="SUBSCRIBE"} 0`) {
			t.Error("the client subscribed again")
		}
	}

	// What was published before is there for who comes after.
	restart()
	must(t, c.Register())
	must(t, c.Watch("", bob))
	shows(t, c, bob, shown{"open", "meeting", "twice"})
	a.Close()
	b.Close()
	c.Close()
}
