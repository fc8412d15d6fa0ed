package transport_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rollcall/sip"
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

// TestQueuesOfAll: peers that do not read share a budget, and those that hold
// most of it go when it is used up.
func TestQueuesOfAll(t *testing.T) {
	big := []byte(strings.Repeat("x", 60_000))
	flows := make(chan transport.Flow, 16)
	a := start(t, transport.Options{MaxQueue: 64 << 20, MaxQueued: 4 << 20, WriteTime: patience}, func(_ *sip.Message, f transport.Flow) { flows <- f })
	var conns []transport.Flow
	for range 3 {
		c, err := net.Dial("tcp", a.tcp.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := c.Write(siptest.Request("OPTIONS", "z9hG4bK1", a.udp)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, <-flows)
	}
	sent := 0
	for _, f := range conns[:2] {
		for a.Alive(f) && sent < 64<<20 {
			if a.Send(f, big) != nil {
				break
			}
			sent += len(big)
		}
	}
	if sent >= 64<<20 {
		t.Errorf("%d bytes were taken for peers that do not read", sent)
	}
	if err := a.Send(conns[2], big); err != nil {
		t.Errorf("one that holds nothing: %v", err)
	}
}

// TestNoDatagramWaitsForTheNext: one that comes just as the reader goes to sleep
// wakes it.
func TestNoDatagramWaitsForTheNext(t *testing.T) {
	a := start(t, transport.Options{}, nil)
	c, err := net.Dial("udp", a.udp.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ping := siptest.Request("OPTIONS", "z9hG4bK1", netip.MustParseAddrPort(c.LocalAddr().String()))
	buf := make([]byte, 2048)
	for i := range 20_000 {
		if _, err := c.Write(ping); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(buf); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
}
