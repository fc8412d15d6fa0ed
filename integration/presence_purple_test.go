package integration

import "testing"

// available is what libpurple publishes while it is signed on.
var available = shown{Basic: "open", Note: "available"}

// TestPurpleAndLinphoneSeeEachOther has each see the other come and go.
// libpurple never removes its publication: it ends with closed.
func TestPurpleAndLinphoneSeeEachOther(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a := newLinphone(t, s.addr, "udp", alice)
	a.publishes = true
	must(t, a.Register())
	must(t, a.Watch("", bob))
	shows(t, a, bob, closed)
	b := signOnPurple(t, s.addr, bob, alice, open)
	shows(t, a, bob, available)

	must(t, a.Publish(closed))
	shows(t, b, alice, closed)
	must(t, a.Publish(shown{"open", "meeting", greeting}))
	shows(t, b, alice, open)
	for range 3 {
		must(t, b.Publish(available)) // under the entity-tag of the one before
	}
	b.Close()
	shows(t, a, bob, closed)
	a.Close()
}

// TestPurplesSeeEachOther has one come after the other and go before it. The
// library does not seed its random numbers: both use the same branches, Call-IDs
// and tags, so that only the port in Via tells their transactions apart, and only
// the server's tag their dialogs.
func TestPurplesSeeEachOther(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a := newPurple(t, s.addr, "udp", alice, bob)
	must(t, a.Register())
	b := signOnPurple(t, s.addr, bob, alice, open)
	shows(t, a, bob, open)
	b.Close()
	shows(t, a, bob, closed)
	a.Close()
}
