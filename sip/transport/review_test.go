package transport_test

import (
	"net/netip"
	"testing"

	"rollcall/sip/siptest"
	"rollcall/sip/transport"
)

// TestNoBroadcast: the kernel sends nothing to a whole network for us.
func TestNoBroadcast(t *testing.T) {
	a := start(t, transport.Options{}, nil)
	for _, to := range []string{"255.255.255.255:9", "127.255.255.255:9"} {
		before := a.Counters.SendDropped.Load()
		f := transport.Flow{Proto: transport.UDP, Local: a.udp, Remote: netip.MustParseAddrPort(to)}
		_ = a.Send(f, siptest.Request("OPTIONS", "z9hG4bK1", a.udp))
		until(t, "the refusal of "+to, func() bool { return a.Counters.SendDropped.Load() > before })
	}
}
