package transport_test

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transport"
)

// flood is a transport whose reader stands in its handler until it is let go, so
// that what is sent meanwhile lies in the socket's buffer: few enough datagrams
// that any system's default has room for them.
type flood struct {
	t *testing.T
	*node
	c    *net.UDPConn
	gate chan struct{}

	mu     sync.Mutex
	served []string // branches without the cookie
}

func newFlood(t *testing.T, backlog int) *flood {
	f := &flood{t: t, gate: make(chan struct{})}
	stands := make(chan struct{})
	f.node = start(t, transport.Options{
		UDPSockets: 1, Backlog: backlog,
		Later: func(b []byte) bool { return bytes.HasPrefix(b, []byte("SUBSCRIBE ")) },
	}, func(m *sip.Message, _ transport.Flow) {
		if m.Check() != nil {
			return
		}
		name := strings.TrimPrefix(m.Via().Branch, sip.MagicCookie)
		if name == "gate" {
			close(stands)
			<-f.gate
			return
		}
		f.mu.Lock()
		f.served = append(f.served, strings.Clone(name))
		f.mu.Unlock()
	})
	t.Cleanup(f.open)
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(f.udp))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	f.c = c
	f.send("OPTIONS", "gate")
	<-stands
	return f
}

func (f *flood) send(method, name string) {
	f.t.Helper()
	if _, err := f.c.Write(siptest.Request(method, sip.MagicCookie+name, addrPort(f.c.LocalAddr()))); err != nil {
		f.t.Fatal(err)
	}
}

// open lets the reader go.
func (f *flood) open() {
	select {
	case <-f.gate:
	default:
		close(f.gate)
	}
}

// order waits for n requests and returns them in the order in which they were served.
func (f *flood) order(n int) []string {
	f.t.Helper()
	var got []string
	until(f.t, fmt.Sprint(n, " requests served"), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		got = slices.Clone(f.served)
		return len(got) >= n
	})
	return got
}

func numbered(name string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint(name, i))
	}
	return list
}

// TestLaterWaits: REGISTERs that come behind a storm of SUBSCRIBEs are served
// before it, and each kind in its order.
func TestLaterWaits(t *testing.T) {
	f := newFlood(t, 0)
	for i := range 100 {
		f.send("SUBSCRIBE", fmt.Sprint("s", i))
		if i%20 == 10 {
			f.send("REGISTER", fmt.Sprint("r", i/20))
		}
	}
	for i := range 3 {
		f.PostLater(func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.served = append(f.served, fmt.Sprint("p", i))
		})
	}
	f.open()
	got := f.order(108)
	// The functions got the slice of time before the flood was read.
	want := slices.Concat(numbered("p", 3), numbered("r", 5), numbered("s", 100))
	if !slices.Equal(got, want) {
		t.Errorf("served %v\nexpected %v", got, want)
	}
	f.send("SUBSCRIBE", "last") // alone it waits for nobody
	f.order(109)
	if n := f.Counters.SetAside.Load(); n != 100 {
		t.Errorf("%d set aside", n)
	}
}

// TestLaterRepeated: what is sent again while it waits is served once. From
// another source it is another request.
func TestLaterRepeated(t *testing.T) {
	f := newFlood(t, 0)
	for range 2 {
		for i := range 70 {
			f.send("SUBSCRIBE", fmt.Sprint("s", i))
		}
	}
	other, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(f.udp))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Write(siptest.Request("SUBSCRIBE", sip.MagicCookie+"s0", addrPort(f.c.LocalAddr()))); err != nil {
		t.Fatal(err)
	}
	f.open()
	if got, want := f.order(71), append(numbered("s", 70), "s0"); !slices.Equal(got, want) {
		t.Errorf("served %v", got)
	}
	if n := f.Counters.Repeated.Load(); n != 70 {
		t.Errorf("%d repeated", n)
	}
	f.send("SUBSCRIBE", "s1") // nothing is known of it any more
	f.order(72)
}

// TestBacklogIsBounded: what does not fit is dropped and counted, the others are
// served, and so is what is sent again.
func TestBacklogIsBounded(t *testing.T) {
	size := len(siptest.Request("SUBSCRIBE", sip.MagicCookie+"s10", addrPort(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 12345}))) + 64
	f := newFlood(t, 80*size)
	for i := range 100 {
		f.send("SUBSCRIBE", fmt.Sprint("s", i))
	}
	f.send("REGISTER", "r")
	f.open()
	f.order(80)
	until(t, "the rest dropped", func() bool { return f.Counters.SetAside.Load()+f.Counters.Overflowed.Load() == 100 })
	kept := int(f.Counters.SetAside.Load())
	if kept < 79 || kept > 82 { // names and ports differ by a byte or two
		t.Fatalf("%d kept", kept)
	}
	got := f.order(kept + 1)
	if want := append([]string{"r"}, numbered("s", kept)...); !slices.Equal(got, want) {
		t.Errorf("served %v", got)
	}
	for i := kept; i < 100; i++ {
		f.send("SUBSCRIBE", fmt.Sprint("s", i))
	}
	f.order(101)
}

// TestLaterIsServed: what waits gets its turn though the socket never is empty.
func TestLaterIsServed(t *testing.T) {
	served := make(chan struct{})
	gate, stands := make(chan struct{}), make(chan struct{})
	var c *net.UDPConn
	var options []byte
	first, over := true, false
	a := start(t, transport.Options{
		UDPSockets: 1, Later: func(b []byte) bool { return b[0] == 'S' },
	}, func(m *sip.Message, _ transport.Flow) {
		switch {
		case first:
			first = false
			close(stands)
			<-gate
		case m.Method() == "SUBSCRIBE":
			over = true
			close(served)
		case !over: // one more for each that is served
			_, _ = c.Write(options)
		}
	})
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(a.udp))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	options = siptest.Request("OPTIONS", sip.MagicCookie+"o", addrPort(c.LocalAddr()))
	write := func(b []byte) {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(options)
	<-stands
	write(siptest.Request("SUBSCRIBE", sip.MagicCookie+"s", addrPort(c.LocalAddr())))
	for range 140 {
		write(options)
	}
	close(gate)
	select {
	case <-served:
	case <-time.After(2 * patience):
		t.Fatal("SUBSCRIBE is never served")
	}
}

// TestPostLater: what is posted for later runs once, whether a reader waits, is at
// work or has ended.
func TestPostLater(t *testing.T) {
	a := start(t, transport.Options{UDPSockets: 2}, nil)
	post := func(n int) {
		t.Helper()
		var wg sync.WaitGroup
		wg.Add(n)
		for range n {
			go a.PostLater(wg.Done)
		}
		wg.Wait()
	}
	for range 100 {
		post(1)
	}
	post(5000)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	post(10)
}
