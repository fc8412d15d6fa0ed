package integration

import "testing"

// TestSippPublishesAndSubscribes plays the life of a publication and of a
// subscription, packet by packet.
func TestSippPublishesAndSubscribes(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		for _, scenario := range []string{"publish.xml", "subscribe.xml"} {
			t.Run(transport+"/"+scenario, func(t *testing.T) {
				t.Parallel()
				s := startServer(t)
				p := startSipp(t, s.addr, transport, alice, bob).(*sipp)
				must(t, p.play(scenario, "{peer}", bob.AOR()))
			})
		}
	}
}
