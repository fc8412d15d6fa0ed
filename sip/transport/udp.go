package transport

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"rollcall/sip"
)

// udpListener is one [[listen]] address: several sockets on one port.
type udpListener struct {
	t       *Transport
	local   netip.AddrPort
	sockets []*udpSocket
}

// udpBatch is how many datagrams one system call takes.
const udpBatch = 64

// maxUDPQueue bounds the bytes waiting to be sent by one socket.
const maxUDPQueue = 8 << 20

// ListenUDP opens the address and starts reading. It returns the address bound.
func (t *Transport) ListenUDP(addr netip.AddrPort) (netip.AddrPort, error) {
	if err := portFree(addr); err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen on udp %s: %w", addr, err)
	}
	l := &udpListener{t: t}
	for i := range t.o.UDPSockets {
		conn, err := listenReusePort(addr, t.o.UDPSockets > 1)
		if err != nil {
			l.close()
			return netip.AddrPort{}, fmt.Errorf("listen on udp %s: %w", addr, err)
		}
		if i == 0 { // the others share the port that the first one got
			l.local = conn.LocalAddr().(*net.UDPAddr).AddrPort()
			l.local = netip.AddrPortFrom(l.local.Addr().Unmap(), l.local.Port())
			addr = netip.AddrPortFrom(addr.Addr(), l.local.Port())
		}
		_ = conn.SetReadBuffer(t.o.UDPBuffer)
		_ = conn.SetWriteBuffer(t.o.UDPBuffer)
		s := &udpSocket{l: l}
		s.putOff.backlog.init(t.o.Backlog / t.o.UDPSockets)
		if s.io, err = newMultiIO(conn); err != nil {
			_ = conn.Close()
			l.close()
			return netip.AddrPort{}, fmt.Errorf("listen on udp %s: %w", addr, err)
		}
		l.sockets = append(l.sockets, s)
	}
	t.mu.Lock()
	t.udp[l.local] = l
	t.readers = slices.Concat(t.readers, l.sockets)
	t.mu.Unlock()
	for _, s := range l.sockets {
		t.wg.Add(1)
		go s.read()
	}
	return l.local, nil
}

// portFree looks whether somebody has the port. Sockets that share ports would
// not tell: another server of the same user would quietly take half the traffic.
func portFree(addr netip.AddrPort) error {
	conn, err := listenReusePort(addr, false)
	if err != nil {
		return err
	}
	return conn.Close()
}

func listenReusePort(addr netip.AddrPort, share bool) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = setOptions(fd, share) }); e != nil {
			return e
		}
		return err
	}}
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp"
	}
	pc, err := lc.ListenPacket(context.Background(), network, addr.String())
	if err != nil {
		return nil, err
	}
	return pc.(*net.UDPConn), nil
}

// close closes sockets that nobody uses yet.
func (l *udpListener) close() {
	for _, s := range l.sockets {
		s.io.close()
	}
}

// stop ends reading; the readers close the sockets.
func (l *udpListener) stop() {
	for _, s := range l.sockets {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.io.stop()
	}
}

// socketFor picks the socket that sends to a peer; the order of datagrams to
// one peer is kept.
func (l *udpListener) socketFor(remote netip.AddrPort) *udpSocket {
	if len(l.sockets) == 1 {
		return l.sockets[0]
	}
	return l.sockets[int(remote.Port())%len(l.sockets)]
}

// udpSocket reads on one goroutine. Writes are gathered in pend; whoever finds
// nobody sending sends until pend is empty, so a lone datagram leaves at once
// and under load many leave in one system call.
type udpSocket struct {
	l  *udpListener
	io *multiIO

	mu      sync.Mutex
	sending bool
	closed  bool
	pend    *outBatch
	spare   *outBatch
	calls   []func() // posted
	later   []func() // posted for later
	waits   bool     // the reader waits, or is about to, and nothing is to be done

	ran    []func() // of the reader: the memory of the calls before
	putOff putOff   // of the reader
}

// outBatch holds datagrams in one buffer.
type outBatch struct {
	buf  []byte
	msgs []outMsg
}

type outMsg struct {
	from, to int
	remote   netip.AddrPort
}

func (s *udpSocket) send(remote netip.AddrPort, b []byte) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	if s.pend == nil {
		s.pend = new(outBatch)
	}
	p := s.pend
	if len(p.buf)+len(b) > maxUDPQueue {
		s.mu.Unlock()
		return ErrQueue
	}
	n := len(p.buf)
	p.buf = append(p.buf, b...)
	p.msgs = append(p.msgs, outMsg{n, len(p.buf), remote})
	if s.sending {
		s.mu.Unlock()
		return nil
	}
	s.sending = true
	s.mu.Unlock()
	// What else is ready to run gets its turn first: after a batch of records or
	// answers many goroutines send, and their datagrams leave in one system call.
	runtime.Gosched()
	s.mu.Lock()
	s.drain()
	return nil
}

// drain sends until nothing is pending. Called with mu held and sending set; it
// returns with mu released.
func (s *udpSocket) drain() {
	for s.pend != nil && len(s.pend.msgs) > 0 {
		p := s.pend
		s.pend, s.spare = s.spare, nil
		s.mu.Unlock()
		if dropped := s.io.write(p); dropped > 0 {
			s.l.t.Counters.SendDropped.Add(uint64(dropped))
		}
		p.buf, p.msgs = p.buf[:0], p.msgs[:0]
		if cap(p.buf) > 1<<20 {
			p.buf = nil
		}
		s.mu.Lock()
		if s.spare == nil {
			s.spare = p
		}
	}
	s.sending = false
	s.mu.Unlock()
}

// cork makes sends gather until uncork; false when somebody else is sending,
// who will then take what is gathered.
func (s *udpSocket) cork() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sending {
		return false
	}
	s.sending = true
	return true
}

func (s *udpSocket) uncork() {
	s.mu.Lock()
	s.drain()
}

// read hands every datagram to the handler and runs what was posted; what both
// send leaves together behind the batch. What may wait is done when the socket is
// empty.
func (s *udpSocket) read() {
	t := s.l.t
	defer t.wg.Done()
	defer s.end()
	got := &received{t: t, local: s.l.local}
	for {
		n, err := s.io.read(s.mayWait())
		if t.closing.Load() {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier datagram
		}
		corked := s.cork()
		s.take(got, n)
		s.runPosted()
		s.runLater(got, n == udpBatch)
		if corked {
			s.uncork()
		}
	}
}

// end closes the socket when nobody sends any more; closed is set, so nothing is
// posted any more either.
func (s *udpSocket) end() {
	s.runPosted()
	s.putOff.run(time.Now().Add(time.Hour)) // all of it
	for !s.cork() {
		time.Sleep(time.Millisecond)
	}
	s.io.close() // and corked it stays
}

// ahead is how many messages of a batch are looked at together before the first of
// them is served. More than the processor can wait for at once is of no use, and
// they are to stay in its nearest cache.
const ahead = 16

// received are messages that came together.
type received struct {
	t     *Transport
	local netip.AddrPort
	n     int
	m     [ahead]sip.Message
	from  [ahead]netip.AddrPort
}

// add takes one more, and hands all on when there are enough.
func (r *received) add(b []byte, remote netip.AddrPort) {
	if !r.t.parse(&r.m[r.n], b) {
		return
	}
	r.from[r.n] = remote
	if r.n++; r.n == ahead {
		r.hand()
	}
}

// hand gives the messages to the handler.
func (r *received) hand() {
	n := r.n
	r.n = 0
	now := time.Now() // once for all: reading the clock takes as long as much of a message
	for i := range n {
		r.m[i].Received = now
	}
	if n > 1 && r.t.o.Ahead != nil {
		r.t.o.Ahead(r.m[:n])
	}
	for i := range n {
		r.t.handler(&r.m[i], Flow{Proto: UDP, Local: r.local, Remote: r.from[i]})
	}
}

// take hands the n datagrams of the last read on, those that may wait behind the
// others.
func (s *udpSocket) take(got *received, n int) {
	later := s.l.t.o.Later
	var wait [udpBatch]uint8
	waiting := 0
	for i := range n {
		b, remote := s.io.datagram(i)
		switch {
		case !s.isSIP(b, remote):
		case later != nil && later(b):
			wait[waiting] = uint8(i)
			waiting++
		default:
			got.add(b, remote)
		}
	}
	got.hand()
	if waiting > 0 {
		s.setAside(got, wait[:waiting], n == udpBatch)
	}
}

// isSIP tells STUN, keep-alives and SIP apart by the first byte (RFC 5626 §8
// with RFC 8489 §5: STUN begins with two zero bits).
func (s *udpSocket) isSIP(b []byte, remote netip.AddrPort) bool {
	t := s.l.t
	switch {
	case !remote.IsValid() || remote.Port() == 0:
		t.Counters.NotSIP.Add(1)
	case len(b) < 16:
		t.Counters.KeepAlive.Add(1) // CRLF and what else clients send to keep a NAT open
	case b[0] < 4:
		t.Counters.KeepAlive.Add(1)
		if answer := stunAnswer(b, remote); answer != nil {
			_ = t.Send(Flow{Proto: UDP, Local: s.l.local, Remote: remote}, answer)
		}
	default:
		return true
	}
	return false
}
