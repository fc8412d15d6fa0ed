package transport

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rollcall/sip"
)

// Handler takes every message that parses. It runs on the goroutine that reads
// the socket, so it must not wait for anything; the message refers to the
// receive buffer and is gone when the handler returns. Whoever needs it longer
// clones it.
type Handler func(m *sip.Message, f Flow)

// Options sets limits. Zero values mean the defaults named beside them.
type Options struct {
	UDPSockets     int           // sockets for each UDP listener; half the processors, 4 at most
	UDPBuffer      int           // bytes of kernel receive buffer for each UDP socket; 4 MiB
	MaxConnections int           // connections in all; 20,000
	MaxPerSource   int           // connections from one address; MaxConnections
	Idle           time.Duration // a connection without traffic is closed; 1 h
	MessageTime    time.Duration // a message on a stream must be whole within it; 30 s
	WriteTime      time.Duration // a peer that does not read is closed; 10 s
	PingEvery      time.Duration // between two pings of a WebSocket; 30 s
	HandshakeTime  time.Duration // the handshakes of TLS and WebSocket must be over within it; 10 s
	DialTime       time.Duration // for a new connection; 3 s
	MaxQueue       int           // bytes waiting for one connection; 1 MiB
	MaxQueued      int64         // bytes waiting for all; over it, connections with more than 64 KiB go; 256 MiB
	Limits         sip.Limits    // of one message; sip.DefaultLimits

	// Closed is told once of every connection that has ended.
	Closed func(Flow)

	// Ahead sees the messages that came together before the handler sees the first
	// of them. It may bring near what they will need, and must change nothing. They
	// are gone when it returns. It may be nil.
	Ahead func([]sip.Message)

	// Later tells, by its bytes, of a message that may wait until the others that
	// have arrived are served. When more arrives than is served, those are set aside
	// in memory, so that the socket's buffer has room for the rest; those of connections
	// stay in the connection. It may be nil: nothing waits.
	Later   func(b []byte) bool
	Backlog int // bytes set aside for each UDP listener; what is over it is dropped; 64 MiB

	Log *zap.Logger
}

func (o *Options) setDefaults() {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	defTime := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	def(&o.UDPSockets, min((runtime.GOMAXPROCS(0)+1)/2, 4))
	def(&o.UDPBuffer, 4<<20)
	def(&o.MaxConnections, 20_000)
	def(&o.MaxPerSource, o.MaxConnections)
	defTime(&o.Idle, time.Hour)
	defTime(&o.MessageTime, 30*time.Second)
	defTime(&o.WriteTime, 10*time.Second)
	defTime(&o.HandshakeTime, 10*time.Second)
	defTime(&o.PingEvery, 30*time.Second)
	defTime(&o.DialTime, 3*time.Second)
	def(&o.MaxQueue, 1<<20)
	def(&o.Backlog, 64<<20)
	if o.MaxQueued == 0 {
		o.MaxQueued = 256 << 20
	}
	def(&o.Limits.MessageBytes, sip.DefaultLimits.MessageBytes)
	def(&o.Limits.Headers, sip.DefaultLimits.Headers)
	def(&o.Limits.URIBytes, sip.DefaultLimits.URIBytes)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

// Counters count what needs no log line. All are read with Load.
type Counters struct {
	Received     atomic.Uint64 // messages that parsed
	Sent         atomic.Uint64
	NotSIP       atomic.Uint64 // dropped: no SIP message
	KeepAlive    atomic.Uint64 // CRLF and STUN
	SetAside     atomic.Uint64 // datagrams that waited in the backlog
	Repeated     atomic.Uint64 // dropped: the same datagram waited already
	Overflowed   atomic.Uint64 // dropped: the backlog was full
	SendDropped  atomic.Uint64 // not sent: queue full, connection gone or refused by the kernel
	ConnOpened   atomic.Uint64
	ConnRefused  atomic.Uint64 // over a connection limit
	ConnTimedOut atomic.Uint64 // idle, slow or not reading

	HandshakeFailed atomic.Uint64 // connections that ended in the handshake of TLS or WebSocket
}

// Transport owns all sockets. It is safe for concurrent use.
type Transport struct {
	Counters Counters

	o       Options
	handler Handler
	boot    uint32
	wg      sync.WaitGroup
	closing atomic.Bool
	queued  atomic.Int64 // bytes that wait for connections
	turns   chan struct{}

	closed     chan struct{} // closed by Close
	pinging    sync.Once
	tap        atomic.Pointer[func(Flow, []byte)]
	gathering  gathering
	nextReader atomic.Uint32 // in turn

	mu        sync.RWMutex
	udp       map[netip.AddrPort]*udpListener
	readers   []*udpSocket // of all of udp; replaced, never changed
	listeners map[netip.AddrPort]*streamListener
	conns     map[uint64]*conn
	outbound  map[Target]*conn
	perSource map[netip.Addr]int
	dialing   map[Target]*dial
	dialingTo map[netip.Addr]int
	nextConn  uint64
	local     map[netip.Addr]netip.Addr // source address towards a peer, when bound to all
}

// New makes a transport; nothing is heard before ListenUDP, ListenTCP, ListenTLS or ListenWS.
func New(h Handler, o Options) *Transport {
	o.setDefaults()
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return &Transport{
		o: o, handler: h, closed: make(chan struct{}), boot: binary.BigEndian.Uint32(b[:]) | 1,
		udp: map[netip.AddrPort]*udpListener{}, listeners: map[netip.AddrPort]*streamListener{},
		conns: map[uint64]*conn{}, outbound: map[Target]*conn{},
		perSource: map[netip.Addr]int{}, dialing: map[Target]*dial{}, dialingTo: map[netip.Addr]int{},
		local: map[netip.Addr]netip.Addr{}, turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
}

// Boot numbers this process in the flows of its connections; never 0.
func (t *Transport) Boot() uint32 { return t.boot }

// Errors of Send and Dial.
var (
	ErrFlow   = errors.New("flow is gone")
	ErrQueue  = errors.New("peer does not read: write queue full")
	ErrBusy   = errors.New("too many connections")
	ErrClosed = errors.New("transport is closed")
)

// What stands still while a peer does not answer a connection request is bounded:
// the requests to all peers, to one address, and who waits for one of them.
const (
	maxDialing     = 1024
	maxDialingTo   = 16
	maxDialWaiters = 256
)

// Tap has f called with each message that is sent, until it is called with nil. F must
// not wait, and must not keep the bytes.
func (t *Transport) Tap(f func(to Flow, b []byte)) {
	if f == nil {
		t.tap.Store(nil)
		return
	}
	t.tap.Store(&f)
}

// Send writes one message to the flow. It does not wait for the peer; the bytes
// are copied. An error means that the message will not arrive; nil promises
// nothing.
func (t *Transport) Send(f Flow, b []byte) error {
	var err error
	if f.Proto == UDP {
		t.mu.RLock()
		l := t.udp[f.Local]
		t.mu.RUnlock()
		if l == nil {
			err = ErrFlow
		} else {
			err = l.socketFor(f.Remote).send(f.Remote, b)
		}
	} else {
		t.mu.RLock()
		c := t.conns[f.Conn]
		t.mu.RUnlock()
		if c == nil || c.flow != f {
			err = ErrFlow
		} else {
			err = c.send(b)
		}
	}
	if err != nil {
		t.Counters.SendDropped.Add(1)
		return fmt.Errorf("send over %s: %w", f, err)
	}
	t.Counters.Sent.Add(1)
	if tap := t.tap.Load(); tap != nil {
		(*tap)(f, b)
	}
	return nil
}

// Alive reports whether a flow can be used now.
func (t *Transport) Alive(f Flow) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if f.Proto == UDP {
		return t.udp[f.Local] != nil
	}
	c := t.conns[f.Conn]
	return c != nil && c.flow == f
}

// Connections counts open connections.
func (t *Transport) Connections() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.conns)
}

// UDPFlow makes the flow from one of our UDP listeners to remote: the first
// listener of the same address family. ok is false when there is none.
func (t *Transport) UDPFlow(remote netip.AddrPort) (f Flow, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	best := netip.AddrPort{}
	for a := range t.udp {
		if a.Addr().Is4() != remote.Addr().Is4() && !(a.Addr().Is6() && a.Addr().IsUnspecified()) {
			continue
		}
		if !best.IsValid() || a.Compare(best) < 0 {
			best = a
		}
	}
	return Flow{Proto: UDP, Local: best, Remote: remote}, best.IsValid()
}

// SentBy returns host:port of our side of a flow for Via (RFC 3261 §18.1.1): of
// a connection that we opened, the listener that others reach us at.
func (t *Transport) SentBy(f Flow) netip.AddrPort {
	a := f.Local
	if f.Proto.Stream() {
		a = t.listenerFor(f)
	}
	if !a.Addr().IsUnspecified() {
		return a
	}
	remote := f.Remote.Addr()
	t.mu.RLock()
	ip, known := t.local[remote]
	t.mu.RUnlock()
	if !known {
		ip = sourceAddr(f.Remote)
		t.mu.Lock()
		if len(t.local) > 10_000 {
			clear(t.local)
		}
		t.local[remote] = ip
		t.mu.Unlock()
	}
	return netip.AddrPortFrom(ip, a.Port())
}

// listenerFor returns the address at which the side of a connection that is ours takes connections of its
// transport: its own if it came in by it.
func (t *Transport) listenerFor(f Flow) netip.AddrPort {
	t.mu.RLock()
	defer t.mu.RUnlock()
	best := f.Local
	for at, l := range t.listeners {
		if l.proto != f.Proto || at.Addr() != f.Local.Addr() && !at.Addr().IsUnspecified() {
			continue
		}
		if at.Port() == f.Local.Port() {
			return f.Local
		}
		if best == f.Local || at.Port() < best.Port() {
			best = netip.AddrPortFrom(f.Local.Addr(), at.Port())
		}
	}
	return best
}

// sourceAddr asks the kernel's routing table; no packet is sent.
func sourceAddr(remote netip.AddrPort) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(remote))
	if err != nil {
		return netip.IPv4Unspecified()
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// Close ends all listening and all connections and waits for their goroutines.
func (t *Transport) Close() error {
	if !t.closing.Swap(true) {
		close(t.closed)
	}
	t.mu.Lock()
	var all []*conn
	for _, l := range t.udp {
		l.stop()
	}
	for _, l := range t.listeners {
		_ = l.Close()
	}
	for _, c := range t.conns {
		all = append(all, c)
	}
	t.mu.Unlock()
	for _, c := range all {
		c.close()
	}
	t.wg.Wait()
	return nil
}

// StopAccepting closes the listeners for new connections and leaves the rest,
// for a server that drains.
func (t *Transport) StopAccepting() {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, l := range t.listeners {
		_ = l.Close()
	}
}

// dispatch parses one message and hands it on.
func (t *Transport) dispatch(m *sip.Message, b []byte, f Flow) {
	if t.parse(m, b) {
		t.handler(m, f)
	}
}

func (t *Transport) parse(m *sip.Message, b []byte) bool {
	if m.ParseLimited(b, &t.o.Limits) != nil {
		t.Counters.NotSIP.Add(1)
		return false
	}
	t.Counters.Received.Add(1)
	return true
}

// Target is where a connection is made to. A connection is used again for the same
// target alone: one whose certificate was for another domain is another.
type Target struct {
	Proto  Proto // TCP or TLS
	Remote netip.AddrPort
	Domain string         // TLS: what the certificate must be for (RFC 5922 §7.2)
	Roots  *x509.CertPool // TLS: who must have signed it; nil: whom the system trusts
}

// Dial returns the flow of a connection to a target, an open one that we made
// before or a new one.
// It waits at most Options.DialTime, for the handshake of TLS as long again, and not at all but for
// ErrBusy when too many do.
func (t *Transport) Dial(ctx context.Context, to Target) (Flow, error) {
	if to.Proto != TCP && to.Proto != TLS {
		return Flow{}, fmt.Errorf("connect to %s: transport %s is not supported", to.Remote, to.Proto)
	}
	remote := to.Remote
	t.mu.Lock()
	if c := t.outbound[to]; c != nil {
		t.mu.Unlock()
		return c.flow, nil
	}
	d := t.dialing[to]
	var refused error
	switch {
	case d != nil && d.waiters >= maxDialWaiters:
		refused = ErrBusy
	case d != nil:
		d.waiters++
	case t.closing.Load():
		refused = ErrClosed
	case len(t.conns)+len(t.dialing) >= t.o.MaxConnections, len(t.dialing) >= maxDialing, t.dialingTo[remote.Addr()] >= maxDialingTo:
		refused = ErrBusy
	default:
		d = &dial{done: make(chan struct{}), waiters: 1}
		t.dialing[to] = d
		t.dialingTo[remote.Addr()]++
		t.wg.Add(1)
		go t.dialOnce(d, to)
	}
	if refused != nil {
		t.mu.Unlock()
		return Flow{}, fmt.Errorf("connect to %s: %w", remote, refused)
	}
	t.mu.Unlock()
	select {
	case <-d.done:
		return d.flow, d.err
	case <-ctx.Done():
		return Flow{}, ctx.Err()
	}
}

// dial is one attempt that several callers may wait for.
type dial struct {
	waiters int // Transport.mu guards it
	done    chan struct{}
	flow    Flow
	err     error
}

func (t *Transport) dialOnce(d *dial, to Target) {
	defer t.wg.Done()
	remote := to.Remote
	nc, err := net.DialTimeout("tcp", remote.String(), t.o.DialTime)
	if err == nil && to.Proto == TLS {
		nc, err = t.secure(nc, to)
	}
	if err == nil {
		if c := t.addConn(nc, to.Proto, &to); c != nil {
			d.flow = c.flow
		} else {
			_ = bare(nc).Close()
			err = ErrBusy // or closed: the peer's share is taken, or that of all
		}
	}
	d.err = err
	t.mu.Lock()
	delete(t.dialing, to)
	if t.dialingTo[remote.Addr()]--; t.dialingTo[remote.Addr()] <= 0 {
		delete(t.dialingTo, remote.Addr())
	}
	t.mu.Unlock()
	close(d.done)
}
