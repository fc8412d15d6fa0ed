package transport_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transport"
)

// TestStreamSplit: wherever the peer's writes are cut, the messages are the same.
func TestStreamSplit(t *testing.T) {
	n := start(t, transport.Options{}, nil)
	p := dial(t, n.tcp)
	a, b := options(p.LocalAddr(), "a"), options(p.LocalAddr(), "b")
	both := append(append([]byte("\r\n"), a...), b...)
	for cut := 1; cut < len(both); cut++ {
		p.send(both[:cut])
		p.send(both[cut:])
		p.expect(200, "a")
		p.expect(200, "b")
		_ = p.SetDeadline(time.Now().Add(patience))
	}
	for i := range both { // byte by byte
		p.send(both[i : i+1])
	}
	p.expect(200, "a")
	p.expect(200, "b")
}

// TestCoalesced: many messages in one write, and one larger than any buffer.
func TestCoalesced(t *testing.T) {
	n := start(t, transport.Options{}, nil)
	p := dial(t, n.tcp)
	var all []byte
	for i := range 200 {
		all = append(all, options(p.LocalAddr(), id(i))...)
	}
	head := strings.TrimSuffix(string(options(p.LocalAddr(), "large")), "\r\nContent-Length: 0\r\n\r\n")
	all = append(all, siptest.Text(head, strings.Repeat("x", 60_000))...)
	all = append(all, options(p.LocalAddr(), "last")...)
	go p.Write(all) // the answers are read meanwhile; a failed write shows as a missing answer
	for i := range 200 {
		p.expect(200, id(i))
	}
	p.expect(200, "large")
	p.expect(200, "last")
}

// TestPing: each double CRLF between messages is answered with CRLF (RFC 5626
// §3.5.1), however it is cut and whatever stands beside it.
func TestPing(t *testing.T) {
	n := start(t, transport.Options{}, nil)
	const ping = "\r\n\r\n"
	p := dial(t, n.tcp)
	msg := func(id string) string { return string(options(p.LocalAddr(), id)) }
	send := func(parts ...string) {
		t.Helper()
		for _, s := range parts {
			p.send([]byte(s))
		}
	}
	send(ping)
	p.pong()
	send("\r", "\n", "\r", "\n")
	p.pong()
	send("\r\n", "\r\n"+msg("1"))
	p.pong()
	p.expect(200, "1")
	send(msg("2") + ping)
	p.expect(200, "2")
	p.pong()
	send(msg("3")[:40], msg("3")[40:]+ping+msg("4"))
	p.expect(200, "3")
	p.pong()
	p.expect(200, "4")
	send(ping + ping)
	p.pong()
	p.pong()
	send("\r\n" + msg("5") + "\r\n" + msg("6")) // single ones are no ping
	p.expect(200, "5")
	if b, _ := p.r.Peek(2); string(b) == "\r\n" {
		t.Error("a single CRLF was answered")
	}
	p.expect(200, "6")
	if got := n.Counters.KeepAlive.Load(); got != 7 {
		t.Errorf("KeepAlive is %d", got)
	}
}

// TestFramingError: what can't be framed is answered and ends the connection,
// though more bytes stand behind it (RFC 3261 §18.3).
func TestFramingError(t *testing.T) {
	for _, c := range []struct {
		name, length string
		status       int
	}{
		{"negative", "Content-Length: -1", 400},
		{"doubled", "Content-Length: 0\r\nl: 0", 400},
		{"too large", "Content-Length: 70000", 513},
		{"beyond all", "Content-Length: 4294967295", 513},
	} {
		t.Run(c.name, func(t *testing.T) {
			gone := make(closings, 1)
			n := start(t, transport.Options{Closed: gone.told}, nil)
			p := dial(t, n.tcp)
			bad := strings.Replace(string(options(p.LocalAddr(), "bad")), "Content-Length: 0", c.length, 1)
			p.send([]byte(string(options(p.LocalAddr(), "good")) + bad + strings.Repeat("behind", 10_000)))
			p.expect(200, "good")
			p.expect(c.status, "bad")
			p.closed()
			p.Close()
			gone.next(t)
		})
	}
}

// TestOversizeHead: a head without end is read no further than a message may be
// long.
func TestOversizeHead(t *testing.T) {
	n := start(t, transport.Options{Limits: sip.Limits{MessageBytes: 8 << 10}}, nil)
	p := dial(t, n.tcp)
	_, _ = p.Write([]byte("OPTIONS sip:example.com SIP/2.0\r\nX: " + strings.Repeat("x", 20_000))) // may be reset meanwhile
	p.closed()
	until(t, "closed", func() bool { return n.Connections() == 0 })
}

// TestSlowSender: a message must be whole within MessageTime, however lively its
// bytes trickle; between messages only Idle counts.
func TestSlowSender(t *testing.T) {
	n := start(t, transport.Options{MessageTime: 300 * time.Millisecond}, nil)
	slow, lively := dial(t, n.tcp), dial(t, n.tcp)
	begun := time.Now()
	msg := options(slow.LocalAddr(), "x")
	go func() {
		for _, b := range msg { // would take 4 s
			if _, err := slow.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	slow.closed()
	if d := time.Since(begun); d < 250*time.Millisecond || d > 3*time.Second {
		t.Errorf("closed after %v", d)
	}
	lively.send(options(lively.LocalAddr(), "1"))
	lively.expect(200, "1")
	if got := n.Counters.ConnTimedOut.Load(); got != 1 {
		t.Errorf("ConnTimedOut is %d", got)
	}
}

func TestIdle(t *testing.T) {
	gone := make(closings, 2)
	n := start(t, transport.Options{Idle: 400 * time.Millisecond, Closed: gone.told}, nil)
	idle, busy := dial(t, n.tcp), dial(t, n.tcp)
	stop := time.Now().Add(1200 * time.Millisecond)
	for time.Now().Before(stop) {
		busy.send([]byte("\r\n\r\n"))
		busy.pong()
		time.Sleep(20 * time.Millisecond)
	}
	idle.closed()
	if f := gone.next(t); f.Remote != addrPort(idle.LocalAddr()) {
		t.Errorf("closed %s", f)
	}
	busy.send(options(busy.LocalAddr(), "1"))
	busy.expect(200, "1")
	busy.closed()
	gone.next(t)
}

// TestPeerDoesNotRead: it is closed, what waits for it is bounded, and others go
// on meanwhile.
func TestPeerDoesNotRead(t *testing.T) {
	gone := make(closings, 2)
	flows := make(chan transport.Flow, 2)
	var n *node
	n = start(t, transport.Options{WriteTime: 500 * time.Millisecond, MaxQueue: 64 << 10, Closed: gone.told}, func(m *sip.Message, f transport.Flow) {
		if m.Method() == "OPTIONS" {
			n.answer(m, f)
		} else {
			flows <- f
		}
	})
	deaf, other := dial(t, n.tcp), dial(t, n.tcp)
	_ = deaf.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	deaf.send(siptest.Request("MESSAGE", "z9hG4bKx", addrPort(deaf.LocalAddr())))
	flow := <-flows
	data := make([]byte, 1000)
	taken, longest := 0, time.Duration(0)
	var err error
	for taken < 256<<20 {
		begun := time.Now()
		err = n.Send(flow, data)
		longest = max(longest, time.Since(begun))
		if err != nil {
			break
		}
		taken += len(data)
	}
	if !errors.Is(err, transport.ErrQueue) && !errors.Is(err, transport.ErrFlow) {
		t.Fatalf("%d bytes were taken: %v", taken, err)
	}
	if taken > 32<<20 { // the kernel's buffers included
		t.Errorf("%d bytes were taken", taken)
	}
	if longest > 300*time.Millisecond {
		t.Errorf("Send waited for %v", longest)
	}
	other.send(options(other.LocalAddr(), "1"))
	other.expect(200, "1")
	if f := gone.next(t); f != flow {
		t.Errorf("closed %s, want %s", f, flow)
	}
	if err := n.Send(flow, data); !errors.Is(err, transport.ErrFlow) {
		t.Errorf("the flow is gone: %v", err)
	}
	if n.Alive(flow) {
		t.Error("a closed flow is alive")
	}
}

// TestSlowReader: what a peer reads late arrives whole and in order.
func TestSlowReader(t *testing.T) {
	flows := make(chan transport.Flow, 1)
	n := start(t, transport.Options{MaxQueue: 64 << 20}, func(_ *sip.Message, f transport.Flow) { flows <- f })
	p := dial(t, n.tcp)
	p.send(options(p.LocalAddr(), "x"))
	f := <-flows
	const blocks, size = 400, 50_000
	for i := range blocks {
		if err := n.Send(f, bytes.Repeat([]byte{byte(i)}, size)); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, size)
	for i := range blocks {
		if _, err := io.ReadFull(p.r, b); err != nil {
			t.Fatal(err)
		}
		if bytes.Count(b, []byte{byte(i)}) != size {
			t.Fatalf("block %d is mixed up", i)
		}
	}
	if err := n.Send(f, []byte("end")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p.r, b[:3]); err != nil || string(b[:3]) != "end" {
		t.Errorf("%q, %v", b[:3], err)
	}
}

// TestWriteTime: a queue that is not full ends with its deadline too.
func TestWriteTime(t *testing.T) {
	gone := make(closings, 1)
	flows := make(chan transport.Flow, 1)
	n := start(t, transport.Options{WriteTime: 300 * time.Millisecond, MaxQueue: 64 << 20, Closed: gone.told}, func(_ *sip.Message, f transport.Flow) { flows <- f })
	deaf := dial(t, n.tcp)
	deaf.send(options(deaf.LocalAddr(), "x"))
	flow := <-flows
	for range 300 {
		err := n.Send(flow, make([]byte, 60_000))
		if errors.Is(err, transport.ErrFlow) { // on a slow machine its time is over before the queue is full
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	gone.next(t)
	if got := n.Counters.ConnTimedOut.Load(); got != 1 {
		t.Errorf("ConnTimedOut is %d", got)
	}
}

func TestConnectionLimits(t *testing.T) {
	n := start(t, transport.Options{MaxConnections: 4, MaxPerSource: 2}, nil)
	from := func(ip string) *peer {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		c, err := d.Dial("tcp", n.tcp.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		return &peer{c, t, newReader(c)}
	}
	served := func(p *peer) {
		t.Helper()
		p.send(options(p.LocalAddr(), "1"))
		p.expect(200, "1")
	}
	a1, a2 := from("127.0.0.1"), from("127.0.0.1")
	served(a1)
	served(a2)
	from("127.0.0.1").closed() // the third of one source
	b := from("127.0.0.2")
	served(b)
	served(from("127.0.0.3"))
	from("127.0.0.4").closed() // the fifth of all
	if got := n.Counters.ConnRefused.Load(); got != 2 {
		t.Errorf("ConnRefused is %d", got)
	}
	a1.Close()
	until(t, "a place is free", func() bool { return n.Connections() == 3 })
	served(from("127.0.0.1"))
}

// TestIdleConnections: 2,000 connections that do nothing cost little and hinder
// nobody.
func TestIdleConnections(t *testing.T) {
	const many = 2000
	n := start(t, transport.Options{}, nil)
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc + s.StackInuse
	}
	before := heap()
	conns := make([]net.Conn, many)
	for i := range conns {
		c, err := net.Dial("tcp", n.tcp.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	until(t, "all accepted", func() bool { return n.Connections() == many })
	each := int64(heap()-before) / many
	t.Logf("%d bytes for each, both ends", each)
	if each > 12<<10 {
		t.Errorf("%d bytes for each idle connection", each)
	}
	p := dial(t, n.tcp)
	p.send(options(p.LocalAddr(), "1"))
	p.expect(200, "1")
}

// TestClosedOnce: whoever ends a connection, and if all do at once.
func TestClosedOnce(t *testing.T) {
	const many = 100
	told := map[transport.Flow]int{}
	var mu sync.Mutex
	flows := make(chan transport.Flow, many)
	n := start(t, transport.Options{MaxQueue: 1, Limits: sip.Limits{MessageBytes: 2000}, Closed: func(f transport.Flow) {
		mu.Lock()
		told[f]++
		mu.Unlock()
	}}, func(_ *sip.Message, f transport.Flow) { flows <- f })
	var peers []*peer
	for range many {
		p := dial(t, n.tcp)
		p.send(options(p.LocalAddr(), "1"))
		peers = append(peers, p)
	}
	var wg sync.WaitGroup
	for i := range many {
		f := <-flows
		wg.Go(func() { peers[i].Close() })
		wg.Go(func() { _ = n.Send(f, make([]byte, 5000)) })
	}
	wg.Go(func() { n.Close() })
	wg.Wait()
	n.Close()
	if len(told) != many {
		t.Errorf("%d of %d were told", len(told), many)
	}
	for f, times := range told {
		if times != 1 {
			t.Errorf("%s was told %d times", f, times)
		}
	}
}

// TestDial: one connection for all who want it at once, used again while it
// lives.
func TestDial(t *testing.T) {
	gone := make(closings, 2)
	var heard atomic.Int32
	a := start(t, transport.Options{Closed: gone.told}, func(m *sip.Message, _ transport.Flow) {
		if m.Status() == 200 {
			heard.Add(1)
		}
	})
	b := start(t, transport.Options{}, nil)
	const callers = 50
	flows := make([]transport.Flow, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			f, err := a.Dial(t.Context(), transport.Target{Proto: transport.TCP, Remote: b.tcp})
			if err != nil {
				t.Error(err)
			}
			flows[i] = f
		})
	}
	wg.Wait()
	for _, f := range flows {
		if f != flows[0] {
			t.Fatalf("flows %+v and %+v", f, flows[0])
		}
	}
	until(t, "accepted", func() bool { return b.Connections() == 1 })
	if got := b.Counters.ConnOpened.Load(); got != 1 {
		t.Errorf("%d connections", got)
	}
	f := flows[0]
	if f.Proto != transport.TCP || f.Remote != b.tcp || f.Boot != a.Boot() || !a.Alive(f) {
		t.Errorf("flow %+v", f)
	}
	if got := a.SentBy(f); got != a.tcp {
		t.Errorf("sent-by is %s, the listener %s", got, a.tcp)
	}
	if err := a.Send(f, siptest.Request("OPTIONS", "z9hG4bK1", a.SentBy(f))); err != nil {
		t.Fatal(err)
	}
	until(t, "the answer", func() bool { return heard.Load() == 1 })

	b.Close()
	if closed := gone.next(t); closed != f {
		t.Errorf("closed %s", closed)
	}
	if _, err := a.Dial(t.Context(), transport.Target{Proto: transport.TCP, Remote: b.tcp}); err == nil {
		t.Error("a listener that is gone was reached")
	}
	if _, err := a.Dial(t.Context(), transport.Target{Proto: transport.WS, Remote: b.tcp}); err == nil {
		t.Error("TLS is not built")
	}
	a.Close()
	if _, err := a.Dial(t.Context(), transport.Target{Proto: transport.TCP, Remote: b.tcp}); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("behind Close: %v", err)
	}
}

// TestSentByWildcard: behind a listener on all addresses the one that faces the
// peer is named (RFC 3261 §18.1.1).
func TestSentByWildcard(t *testing.T) {
	tr := transport.New(func(*sip.Message, transport.Flow) {}, transport.Options{})
	defer tr.Close()
	all := netip.MustParseAddrPort("0.0.0.0:0")
	udp, err := tr.ListenUDP(all)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := tr.ListenTCP(all)
	if err != nil {
		t.Fatal(err)
	}
	peer := netip.MustParseAddrPort("127.0.0.9:5060")
	f, ok := tr.UDPFlow(peer)
	if !ok || f.Local != udp || f.Remote != peer {
		t.Fatalf("UDPFlow is %+v, %v", f, ok)
	}
	want := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), udp.Port())
	for range 2 { // the second from memory
		if got := tr.SentBy(f); got != want {
			t.Errorf("sent-by is %s, want %s", got, want)
		}
	}
	out := transport.Flow{Proto: transport.TCP, Local: netip.MustParseAddrPort("127.0.0.1:40000"), Remote: peer}
	if got, want := tr.SentBy(out), netip.AddrPortFrom(out.Local.Addr(), tcp.Port()); got != want {
		t.Errorf("sent-by of a connection we opened is %s, want %s", got, want)
	}
	if _, ok := tr.UDPFlow(netip.MustParseAddrPort("[2001:db8::1]:5060")); ok {
		t.Error("an IPv4 socket reaches IPv6")
	}
}

// TestDeadFlow: a flow of another process, of another connection or of nothing.
func TestDeadFlow(t *testing.T) {
	flows := make(chan transport.Flow, 1)
	n := start(t, transport.Options{}, func(_ *sip.Message, f transport.Flow) { flows <- f })
	p := dial(t, n.tcp)
	p.send(options(p.LocalAddr(), "1"))
	f := <-flows
	if err := n.Send(f, []byte("x")); err != nil || !n.Alive(f) {
		t.Errorf("a live flow: %v", err)
	}
	boot, conn, remote := f, f, f
	boot.Boot++
	conn.Conn++
	remote.Remote = netip.MustParseAddrPort("192.0.2.1:5060")
	for _, dead := range []transport.Flow{boot, conn, remote, {}, {Proto: transport.UDP, Local: netip.MustParseAddrPort("192.0.2.5:5060"), Remote: f.Remote}} {
		if err := n.Send(dead, []byte("x")); !errors.Is(err, transport.ErrFlow) {
			t.Errorf("%+v: %v", dead, err)
		}
		if n.Alive(dead) {
			t.Errorf("%+v is alive", dead)
		}
	}
	if got := n.Counters.SendDropped.Load(); got != 5 {
		t.Errorf("SendDropped is %d", got)
	}
}

// TestClose: no goroutine stays, whatever was going on.
func TestClose(t *testing.T) {
	n := start(t, transport.Options{UDPSockets: 3}, nil)
	p, deaf := dial(t, n.tcp), dial(t, n.tcp)
	p.send(options(p.LocalAddr(), "1"))
	p.expect(200, "1")
	p.send(options(p.LocalAddr(), "half")[:20])
	deaf.send([]byte(strings.Repeat(string(options(deaf.LocalAddr(), "x")), 1000)))
	n.StopAccepting()
	p.send([]byte("\r\n"))
	n.Close()
	n.Close()
	// Close waits for the last act of each goroutine, not for its return.
	until(t, "no goroutine of the transport", func() bool {
		buf := make([]byte, 1<<20)
		return !strings.Contains(string(buf[:runtime.Stack(buf, true)]), "sip/transport.(*")
	})
	if n.Connections() != 0 {
		t.Errorf("%d connections", n.Connections())
	}
}
