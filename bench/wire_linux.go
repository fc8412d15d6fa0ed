package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller waits on many descriptors. The epoll descriptor itself is polled,
// because ppoll takes nanoseconds where epoll_wait takes milliseconds.
type poller struct {
	fd     int
	events [128]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("bench: epoll: %w", err)
	}
	return &poller{fd: fd}, nil
}

// set watches fd, which carries the number i, for input and, if asked, for
// room to write.
func (p *poller) set(op, fd, i int, output bool) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
	if output {
		ev.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(p.fd, op, fd, &ev); err != nil {
		return fmt.Errorf("bench: epoll: %w", err)
	}
	return nil
}

func (p *poller) wait(d time.Duration) error {
	ts := unix.NsecToTimespec(int64(max(d, 0)))
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	if _, err := unix.Ppoll(fds, &ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("bench: poll: %w", err)
	}
	return nil
}

func (p *poller) ready() ([]unix.EpollEvent, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	if e == unix.EINTR {
		return nil, nil
	}
	if e != 0 {
		return nil, fmt.Errorf("bench: epoll: %w", e)
	}
	return p.events[:n], nil
}

// socket opens a non-blocking socket connected to the server.
func socket(server netip.AddrPort, kind int) (fd int, local netip.AddrPort, err error) {
	family := unix.AF_INET
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(server.Port())}
	if server.Addr().Is6() {
		family = unix.AF_INET6
		sa = &unix.SockaddrInet6{Port: int(server.Port()), Addr: server.Addr().As16()}
	} else {
		sa.(*unix.SockaddrInet4).Addr = server.Addr().As4()
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, local, fmt.Errorf("bench: socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	// The forced size needs a privilege; without it the system's limit holds.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketSpace) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketSpace)
	}
	if kind == unix.SOCK_STREAM {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	for {
		if err = unix.Connect(fd, sa); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return -1, local, fmt.Errorf("bench: connect to %s: %w", server, err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return -1, local, fmt.Errorf("bench: address of the socket: %w", err)
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		local = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		local = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	if err = unix.SetNonblock(fd, true); err != nil {
		return -1, local, fmt.Errorf("bench: socket: %w", err)
	}
	return fd, local, nil
}

const batch = 64

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

type packets struct {
	hdrs [batch]mmsghdr
	iovs [batch]unix.Iovec
	n    int
}

func newPackets() *packets {
	p := new(packets)
	for i := range p.hdrs {
		p.hdrs[i].hdr.Iov = &p.iovs[i]
		p.hdrs[i].hdr.SetIovlen(1)
	}
	return p
}

type udpSocket struct {
	fd    int
	local netip.AddrPort
	out   *packets
}

type udpWire struct {
	poll  *poller
	socks []udpSocket
	dirty []int
	in    *packets
	bufs  [batch][]byte
}

func dialUDP(server netip.AddrPort, n, size int) (wire, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	w := &udpWire{poll: poll, in: newPackets()}
	for i := range w.bufs {
		w.bufs[i] = make([]byte, size)
		w.in.iovs[i].Base = &w.bufs[i][0]
		w.in.iovs[i].SetLen(size)
	}
	for i := range n {
		fd, local, err := socket(server, unix.SOCK_DGRAM)
		if err == nil {
			w.socks = append(w.socks, udpSocket{fd, local, newPackets()})
			err = poll.set(unix.EPOLL_CTL_ADD, fd, i, false)
		}
		if err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

func (w *udpWire) local(i int) netip.AddrPort { return w.socks[i].local }

func (w *udpWire) send(i int, msg []byte) {
	p := w.socks[i].out
	switch p.n {
	case 0:
		w.dirty = append(w.dirty, i)
	case batch:
		// An error shows again at the next flush.
		_ = w.push(i)
	}
	p.iovs[p.n].Base = &msg[0]
	p.iovs[p.n].SetLen(len(msg))
	p.n++
}

func (w *udpWire) push(i int) error {
	s := &w.socks[i]
	p := s.out
	n := p.n
	p.n = 0
	for at := 0; at < n; {
		sent, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&p.hdrs[at])), uintptr(n-at), 0, 0, 0)
		switch e {
		case 0:
			at += int(sent)
		case unix.EAGAIN:
			fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
			if _, err := unix.Poll(fds, 100); err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("bench: poll: %w", err)
			}
		case unix.EINTR, unix.ENOBUFS:
		case unix.ECONNREFUSED:
			// The ICMP answer to an earlier packet, told once; the
			// retransmission timers deal with a server that is away.
		default:
			return fmt.Errorf("bench: send from %s: %w", s.local, e)
		}
	}
	return nil
}

func (w *udpWire) flush() error {
	var first error
	for _, i := range w.dirty {
		if err := w.push(i); err != nil && first == nil {
			first = err
		}
	}
	w.dirty = w.dirty[:0]
	return first
}

func (w *udpWire) wait(d time.Duration) error { return w.poll.wait(d) }

func (w *udpWire) drain(f func(i int, msg []byte)) error {
	ready, err := w.poll.ready()
	if err != nil {
		return err
	}
	refused := error(nil)
	for _, ev := range ready {
		i := int(ev.Fd)
		n, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(w.socks[i].fd), uintptr(unsafe.Pointer(&w.in.hdrs[0])), batch, unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
		case unix.EAGAIN, unix.EINTR:
			continue
		case unix.ECONNREFUSED:
			refused = errRefused
			continue
		default:
			return fmt.Errorf("bench: receive at %s: %w", w.socks[i].local, e)
		}
		for k := range int(n) {
			f(i, w.bufs[k][:w.in.hdrs[k].len])
		}
	}
	return refused
}

func (w *udpWire) close() {
	for _, s := range w.socks {
		unix.Close(s.fd)
	}
	unix.Close(w.poll.fd)
}

type tcpConn struct {
	fd      int
	local   netip.AddrPort
	in      []byte // bytes of an incomplete message
	out     []byte // bytes not yet taken by the system
	blocked bool   // waiting for room to write
}

type tcpWire struct {
	poll  *poller
	conns []tcpConn
	dirty []int
	buf   []byte
}

func dialTCP(server netip.AddrPort, n int) (wire, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	w := &tcpWire{poll: poll, buf: make([]byte, 256<<10)}
	for i := range n {
		fd, local, err := socket(server, unix.SOCK_STREAM)
		if err == nil {
			w.conns = append(w.conns, tcpConn{fd: fd, local: local})
			err = poll.set(unix.EPOLL_CTL_ADD, fd, i, false)
		}
		if err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

func (w *tcpWire) local(i int) netip.AddrPort { return w.conns[i].local }

func (w *tcpWire) send(i int, msg []byte) {
	c := &w.conns[i]
	if len(c.out) == 0 {
		w.dirty = append(w.dirty, i)
	}
	c.out = append(c.out, msg...)
}

func (w *tcpWire) push(i int) error {
	c := &w.conns[i]
	for len(c.out) > 0 {
		n, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(&c.out[0])), uintptr(len(c.out)))
		switch e {
		case 0:
			c.out = c.out[:copy(c.out, c.out[n:])]
		case unix.EINTR:
		case unix.EAGAIN:
			if c.blocked {
				return nil
			}
			c.blocked = true
			return w.poll.set(unix.EPOLL_CTL_MOD, c.fd, i, true)
		default:
			return fmt.Errorf("bench: connection %s: %w", c.local, e)
		}
	}
	if c.blocked {
		c.blocked = false
		return w.poll.set(unix.EPOLL_CTL_MOD, c.fd, i, false)
	}
	return nil
}

func (w *tcpWire) flush() error {
	for _, i := range w.dirty {
		if err := w.push(i); err != nil {
			return err
		}
	}
	w.dirty = w.dirty[:0]
	return nil
}

func (w *tcpWire) wait(d time.Duration) error { return w.poll.wait(d) }

func (w *tcpWire) drain(f func(i int, msg []byte)) error {
	ready, err := w.poll.ready()
	if err != nil {
		return err
	}
	for _, ev := range ready {
		i := int(ev.Fd)
		c := &w.conns[i]
		if ev.Events&unix.EPOLLOUT != 0 {
			if err := w.push(i); err != nil {
				return err
			}
		}
		if ev.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
			continue
		}
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&w.buf[0])), uintptr(len(w.buf)))
		switch {
		case e == unix.EAGAIN || e == unix.EINTR:
			continue
		case e != 0:
			return fmt.Errorf("bench: connection %s: %w", c.local, e)
		case n == 0:
			return fmt.Errorf("bench: connection %s: closed by the server", c.local)
		}
		b := w.buf[:n]
		if len(c.in) > 0 {
			c.in = append(c.in, b...)
			b = c.in
		}
		rest, err := eachFrame(b, i, f)
		if err != nil {
			return fmt.Errorf("connection %s: %w", c.local, err)
		}
		c.in = append(c.in[:0], rest...)
	}
	return nil
}

func (w *tcpWire) close() {
	for _, c := range w.conns {
		unix.Close(c.fd)
	}
	unix.Close(w.poll.fd)
}
