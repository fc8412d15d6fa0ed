package transport_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transport"
)

// TestPost: what is posted runs once, whether a reader waits, is at work, has
// ended or was never there.
func TestPost(t *testing.T) {
	run := func(t *testing.T, a *transport.Transport, n int) {
		t.Helper()
		var wg sync.WaitGroup
		var mu sync.Mutex
		times := make([]int, n)
		wg.Add(n)
		for i := range n {
			go a.Post(func() {
				mu.Lock()
				times[i]++
				mu.Unlock()
				wg.Done()
			})
		}
		wg.Wait()
		for i, k := range times {
			if k != 1 {
				t.Errorf("function %d ran %d times", i, k)
			}
		}
	}
	a := transport.New(func(*sip.Message, transport.Flow) {}, transport.Options{UDPSockets: 2})
	run(t, a, 10)
	if _, err := a.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0")); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		run(t, a, 1) // the readers wait
	}
	run(t, a, 5000)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, a, 10)
}

// TestPostedSends: what posted functions send arrives, in order.
func TestPostedSends(t *testing.T) {
	heard := make(chan string, 100)
	b := start(t, transport.Options{UDPSockets: 1}, func(m *sip.Message, _ transport.Flow) {
		if m.Check() == nil {
			heard <- strings.Clone(m.Via().Branch)
		}
	})
	a := start(t, transport.Options{UDPSockets: 1}, nil)
	f := transport.Flow{Proto: transport.UDP, Local: a.udp, Remote: b.udp}
	for i := range cap(heard) {
		a.Post(func() {
			if err := a.Send(f, siptest.Request("MESSAGE", id("z9hG4bK", i), a.udp)); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range cap(heard) {
		if got := <-heard; got != id("z9hG4bK", i) {
			t.Fatalf("number %d is %s", i, got)
		}
	}
}
