package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gobwas/ws"

	"rollcall/sip"
)

// ListenTCP opens the address and starts accepting. It returns the address bound.
func (t *Transport) ListenTCP(addr netip.AddrPort) (netip.AddrPort, error) {
	return t.listenStream(TCP, addr, nil)
}

// listenStream listens for connections of a transport; with a configuration they begin with its handshake.
func (t *Transport) listenStream(p Proto, addr netip.AddrPort, secure *tls.Config) (netip.AddrPort, error) {
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp"
	}
	l, err := net.Listen(network, addr.String())
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen on %s %s: %w", p.Param(), addr, err)
	}
	local := unmap(l.Addr().(*net.TCPAddr).AddrPort())
	s := &streamListener{Listener: l, proto: p, secure: secure}
	t.mu.Lock()
	t.listeners[local] = s
	t.mu.Unlock()
	t.wg.Add(1)
	go t.accept(s)
	return local, nil
}

// streamListener is one address that takes connections.
type streamListener struct {
	net.Listener
	proto  Proto
	secure *tls.Config // nil for TCP
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func (t *Transport) accept(l *streamListener) {
	defer t.wg.Done()
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors: the peers wait in the backlog
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if l.secure != nil {
			nc = tls.Server(nc, l.secure)
		}
		if t.addConn(nc, l.proto, nil) == nil {
			t.Counters.ConnRefused.Add(1)
			_ = bare(nc).Close()
		}
	}
}

// conn is one connection. Its reading goroutine owns the read side. Writes
// gather in out; the first writer tries at once and, when the peer does not
// take all, leaves the rest to a goroutine with a deadline, so that nobody who
// sends waits for a peer.
type conn struct {
	t        *Transport
	nc       net.Conn
	raw      syscall.RawConn // nil where a write can't be tried without waiting
	flow     Flow
	dialed   *Target     // nil: it was accepted
	upgraded atomic.Bool // it is a WebSocket
	crlf     int         // CRs and LFs since the last message; of the reading goroutine

	mu      sync.Mutex
	out     []byte
	held    int // bytes in out and with who writes
	spare   []byte
	writing bool
	closed  bool
}

// addConn registers a connection and starts reading it; nil over a limit. Dialed is what it was
// made to, nil for one that was accepted.
func (t *Transport) addConn(nc net.Conn, p Proto, dialed *Target) *conn {
	remote := unmap(nc.RemoteAddr().(*net.TCPAddr).AddrPort())
	local := unmap(nc.LocalAddr().(*net.TCPAddr).AddrPort())
	c := &conn{t: t, nc: nc, dialed: dialed}
	if sc, ok := nc.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn()
	}
	t.mu.Lock()
	if t.closing.Load() || len(t.conns) >= t.o.MaxConnections || t.perSource[remote.Addr()] >= t.o.MaxPerSource {
		t.mu.Unlock()
		return nil
	}
	t.nextConn++
	c.flow = Flow{Proto: p, Boot: t.boot, Conn: t.nextConn, Local: local, Remote: remote}
	t.conns[c.flow.Conn] = c
	t.perSource[remote.Addr()]++
	if dialed != nil {
		t.outbound[*dialed] = c
	}
	t.mu.Unlock()
	t.Counters.ConnOpened.Add(1)
	t.wg.Add(1)
	go c.read()
	return c
}

// remove forgets the connection and tells the owner of its flow.
func (c *conn) remove() {
	t := c.t
	c.mu.Lock()
	c.release(c.held)
	c.mu.Unlock()
	t.mu.Lock()
	delete(t.conns, c.flow.Conn)
	ip := c.flow.Remote.Addr()
	if t.perSource[ip]--; t.perSource[ip] <= 0 {
		delete(t.perSource, ip)
	}
	if c.dialed != nil && t.outbound[*c.dialed] == c {
		delete(t.outbound, *c.dialed)
	}
	t.mu.Unlock()
	if t.o.Closed != nil {
		t.o.Closed(c.flow)
	}
}

func (c *conn) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	_ = bare(c.nc).Close()
}

// timedOut tells a deadline from a broken connection.
func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// firstRead is the receive buffer of a connection that has sent nothing yet;
// ten thousand idle ones must not cost much.
const firstRead = 1 << 10

// busyRead is what the buffer grows to on a connection that fills it, and what it
// keeps after a larger message: strangers can do both on every connection there is.
const busyRead = 4 << 10

// read frames the stream and hands messages on until the connection ends.
func (c *conn) read() {
	t := c.t
	defer t.wg.Done()
	defer c.remove()
	defer c.close()
	if !c.handshake() {
		return
	}
	if c.flow.Proto.framed() {
		c.readFrames()
		return
	}
	var (
		m       sip.Message
		buf     = make([]byte, firstRead)
		have    int
		partial time.Time
		idle    time.Time // the deadline that is set
	)
	for {
		now := time.Now()
		switch {
		case have > 0:
			if partial.IsZero() {
				partial = now
			}
			idle = partial.Add(t.o.MessageTime)
			_ = c.nc.SetReadDeadline(idle)
		case !partial.IsZero() || idle.Sub(now) < t.o.Idle*7/8: // not at every read
			partial = time.Time{}
			idle = now.Add(t.o.Idle)
			_ = c.nc.SetReadDeadline(idle)
		}
		n, err := c.nc.Read(buf[have:])
		if err != nil {
			if timedOut(err) {
				t.Counters.ConnTimedOut.Add(1)
			}
			return
		}
		have += n
		full := have == len(buf)
		t := turn{c: c, corked: c.cork()}
		used, ok := c.frame(&m, buf[:have], &t)
		t.end()
		if t.corked {
			c.drain()
		}
		if !ok {
			c.linger()
			return
		}
		if used > 0 {
			have = copy(buf, buf[used:have])
			partial = time.Time{}
		}
		if have == len(buf) || full && len(buf) < busyRead {
			buf = append(buf, make([]byte, len(buf))...)
		} else if have == 0 && len(buf) > busyRead {
			buf = make([]byte, busyRead)
		}
	}
}

// ping counts CRs and LFs between messages and answers each double CRLF with a
// single one (RFC 5626 §3.5.1, §4.4.1).
func (c *conn) ping(n int) {
	c.crlf += n
	if pings := c.crlf / 4; pings > 0 {
		c.crlf %= 4
		c.t.Counters.KeepAlive.Add(uint64(pings))
		_ = c.send(bytes.Repeat([]byte("\r\n"), pings))
	}
}

// frame hands on every whole message in b and returns how many bytes it used.
// After a framing error the message is answered where it can be and the stream
// ends (ok is false): what follows can't be found.
func (c *conn) frame(m *sip.Message, b []byte, t *turn) (used int, ok bool) {
	for used < len(b) {
		skip, length, err := sip.FrameStream(b[used:], c.t.o.Limits.MessageBytes)
		used += skip
		c.ping(skip)
		if used < len(b) {
			c.crlf = 0
		}
		if err != nil {
			if length > 0 && used+length <= len(b) {
				c.t.dispatch(m, b[used:used+length:used+length], c.flow)
			}
			return used, false
		}
		if length == 0 {
			return used, true
		}
		one := b[used : used+length : used+length]
		if later := c.t.o.Later; later != nil && later(one) {
			t.await()
		}
		c.t.dispatch(m, one, c.flow)
		used += length
	}
	return used, true
}

// lingerTime is how long a connection that ends by our fault-finding is read on.
const lingerTime = time.Second

// linger lets the peer read what was answered last: a close with bytes unread
// resets the connection, and the answer is lost with it.
func (c *conn) linger() {
	end := time.Now().Add(lingerTime)
	if !c.corkBefore(end) { // another goroutine is writing, and has the answer too
		return
	}
	c.drain()
	if !c.corkBefore(end) { // where a write can't be tried, drain leaves it to another goroutine
		return
	}
	half, ok := c.nc.(interface{ CloseWrite() error })
	_ = c.nc.SetDeadline(end)
	if !ok || half.CloseWrite() != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c.nc, 1<<20))
}

// corkBefore is cork that waits until who writes is done, but not longer than till end.
func (c *conn) corkBefore(end time.Time) bool {
	for !c.cork() {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// firstToGo is what a connection may have waiting when all together have too
// much.
const firstToGo = 64 << 10

// send queues a message, or a keep-alive, behind what waits already.
func (c *conn) send(b []byte) error {
	var op ws.OpCode
	if c.flow.Proto.framed() {
		op = frameOf(b)
	}
	return c.sendFrame(op, b)
}

// sendFrame queues b, for WebSocket with an operation.
func (c *conn) sendFrame(op ws.OpCode, b []byte) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrFlow
	}
	most := c.t.o.MaxQueue
	if c.t.queued.Load() > c.t.o.MaxQueued {
		most = min(most, firstToGo)
	}
	if c.held+len(b) > most+c.t.o.Limits.MessageBytes {
		c.closed = true
		c.mu.Unlock()
		c.t.Counters.ConnTimedOut.Add(1)
		_ = bare(c.nc).Close() // it does not read: bindings and subscriptions go with the flow
		return ErrQueue
	}
	before := len(c.out)
	if op == 0 {
		c.out = append(c.out, b...)
	} else {
		c.out = appendFrame(c.out, op, b)
	}
	added := len(c.out) - before
	c.held += added
	c.t.queued.Add(int64(added))
	if c.writing {
		c.mu.Unlock()
		return nil
	}
	c.writing = true
	c.mu.Unlock()
	if !c.t.gather(c) {
		runtime.Gosched() // as for datagrams: what else is ready to be sent goes along
		c.drain()
	}
	return nil
}

// cork makes sends gather until drain; false when somebody else is writing, who
// will then take what is gathered.
func (c *conn) cork() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing {
		return false
	}
	c.writing = true
	return true
}

// drain writes what has gathered. The caller has set writing.
func (c *conn) drain() {
	c.mu.Lock()
	for len(c.out) > 0 && !c.closed {
		p := c.out
		c.out, c.spare = c.spare[:0], nil
		c.mu.Unlock()
		n, wait := 0, true
		if c.raw != nil {
			n, wait = c.tryWrite(p)
		}
		if wait || n < 0 {
			c.t.wg.Add(1)
			go c.writeAll(p, max(n, 0))
			return
		}
		c.mu.Lock()
		c.release(len(p))
		if cap(p) <= 64<<10 {
			c.spare = p[:0]
		}
	}
	c.writing = false
	c.mu.Unlock()
}

// tryWrite writes without waiting. wait is true when the kernel took less than
// all; n is negative when the connection is broken.
func (c *conn) tryWrite(p []byte) (n int, wait bool) {
	err := c.raw.Write(func(fd uintptr) bool {
		for n < len(p) {
			k, e := syscall.Write(int(fd), p[n:])
			switch e {
			case nil:
				n += k
			case syscall.EINTR:
			case syscall.EAGAIN:
				wait = true
				return true
			default:
				n = -1
				return true
			}
		}
		return true
	})
	if err != nil {
		return -1, false
	}
	return n, wait
}

// release tells that n bytes need no memory any more. Called with mu held.
func (c *conn) release(n int) {
	n = min(n, c.held) // remove has given all back
	c.held -= n
	c.t.queued.Add(-int64(n))
}

// writeAll waits for the peer to take the rest of p, of which it has some, and
// whatever gathers meanwhile.
func (c *conn) writeAll(p []byte, some int) {
	defer c.t.wg.Done()
	for {
		if len(p) > some {
			_ = c.nc.SetWriteDeadline(time.Now().Add(c.t.o.WriteTime))
			if _, err := c.nc.Write(p[some:]); err != nil {
				if timedOut(err) {
					c.t.Counters.ConnTimedOut.Add(1)
				}
				c.close()
				return
			}
		}
		c.mu.Lock()
		c.release(len(p))
		if len(c.out) == 0 {
			c.writing = false
			c.mu.Unlock()
			return
		}
		p, some, c.out = c.out, 0, nil
		c.mu.Unlock()
	}
}
