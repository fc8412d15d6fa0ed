package integration

import "testing"

// TestBaresipAndLinphoneSeeEachOther has each see the other come, get busy and go.
func TestBaresipAndLinphoneSeeEachOther(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			addr := startServerFor(t, transport)
			a := newLinphone(t, addr, transport, alice)
			a.publishes = true
			must(t, a.Register())
			must(t, a.Watch("", bob))
			shows(t, a, bob, closed)
			b := newBaresip(t, addr, transport, bob, alice, true)
			shows(t, a, bob, open)
			shows(t, b, alice, open)

			for _, state := range []shown{busy, closed, open} {
				must(t, a.Publish(state))
				shows(t, b, alice, state)
			}
			for _, state := range []shown{closed, open} {
				must(t, b.Publish(state))
				shows(t, a, bob, state)
			}
			a.Close()
			shows(t, b, alice, closed)
			b.Close()
		})
	}
}

// TestBaresipsSeeEachOther has two of them on different transports.
func TestBaresipsSeeEachOther(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a := newBaresip(t, s.addr, "udp", alice, bob, true)
	b := newBaresip(t, s.addr, "tcp", bob, alice, true)
	shows(t, a, bob, open)
	shows(t, b, alice, open)
	must(t, a.Publish(closed))
	shows(t, b, alice, closed)
	b.Close()
	shows(t, a, bob, closed)
	a.Close()
}
