package transport_test

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rollcall/sip/transport"
)

// deaf is an address where connection requests are not answered: a listener that
// never accepts, with its backlog full.
func deaf(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*syscall.SockaddrInet4).Port))
	c, err := net.Dial("tcp", at.String()) // the one that fits in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return at
}

// TestDialsAreBounded: few wait for a peer that does not answer, and few
// connections to one address are tried at a time.
func TestDialsAreBounded(t *testing.T) {
	a := start(t, transport.Options{DialTime: time.Second}, nil)
	dial := func(peers ...netip.AddrPort) (busy int64) {
		var wg sync.WaitGroup
		var n atomic.Int64
		for _, p := range peers {
			wg.Go(func() {
				_, err := a.Dial(t.Context(), transport.Target{Proto: transport.TCP, Remote: p})
				if err == nil {
					t.Errorf("connected to %s", p)
				}
				if errors.Is(err, transport.ErrBusy) {
					n.Add(1)
				}
			})
		}
		wg.Wait()
		return n.Load()
	}
	same := make([]netip.AddrPort, 300)
	same[0] = deaf(t)
	for i := range same {
		same[i] = same[0]
	}
	if busy := dial(same...); busy != 300-256 {
		t.Errorf("%d of 300 were not to wait for one peer, want 44", busy)
	}
	ports := make([]netip.AddrPort, 20)
	for i := range ports {
		ports[i] = deaf(t)
	}
	if busy := dial(ports...); busy != 20-16 {
		t.Errorf("%d of 20 ports of one address were not tried, want 4", busy)
	}
	if busy := dial(ports[0]); busy != 0 {
		t.Error("what ended is still counted")
	}
}
