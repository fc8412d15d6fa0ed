package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setOptions forbids broadcast, which package net allows: a contact may name any
// address, and the kernel knows which of them reach a whole network.
func setOptions(fd uintptr, sharePort bool) error {
	if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 0); err != nil || !sharePort {
		return err
	}
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// multiIO reads and writes many datagrams with one system call. Its read half
// belongs to the reading goroutine, its write half to whoever sends.
//
// The runtime does not poll the socket itself: whatever thread of it has nothing
// to do would be woken for every datagram that comes or leaves while the reader
// is at work. It polls an epoll instance between, which asks for something only
// while the reader waits.
type multiIO struct {
	fd    int
	ep    int
	poll  *os.File        // of ep
	rc    syscall.RawConn // of poll
	armed bool            // ep asks
	wait  bool            // read waits for a datagram
	is6   bool

	rhdr  [udpBatch]mmsghdr
	riov  [udpBatch]unix.Iovec
	raddr [udpBatch]unix.RawSockaddrInet6 // the largest of the two families
	rbuf  []byte
	got   int
	rerr  error
	rfn   func(uintptr) bool

	whdr  [sendBatch]mmsghdr
	wiov  [sendBatch]unix.Iovec
	waddr [sendBatch]unix.RawSockaddrInet6
	wctl  [sendBatch]segmentSize

	segments bool      // runs may have more than one datagram
	again    time.Time // when they may, after the kernel refused one; zero: never
	runs     runs
	rest     [sendBatch]outMsg
}

const maxDatagram = 65535

// readStride parts the receive buffers. It is an odd number of cache lines: at a
// multiple of the page size all datagrams of a batch would lie in the same few
// sets of the cache, and push each other out before they are served.
const readStride = maxDatagram + 1 + 29*64

// sendWait bounds how long a full send buffer is waited for, in milliseconds.
const sendWait = 1000

// newMultiIO takes the socket over from package net; c is closed.
func newMultiIO(c *net.UDPConn) (*multiIO, error) {
	io := &multiIO{fd: -1, rbuf: make([]byte, udpBatch*readStride)}
	io.is6 = c.LocalAddr().(*net.UDPAddr).IP.To4() == nil
	io.rfn = io.recvmmsg // made once: a method value allocates
	rc, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var duped error
	err = rc.Control(func(fd uintptr) { io.fd, duped = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, duped, c.Close()); err != nil {
		return nil, err
	}
	if err := io.watch(); err != nil {
		io.close()
		return nil, err
	}
	io.segments = segments(io.fd)
	for i := range udpBatch {
		io.riov[i].Base = &io.rbuf[i*readStride]
		io.riov[i].SetLen(maxDatagram)
		io.rhdr[i].hdr.Iov = &io.riov[i]
		io.rhdr[i].hdr.SetIovlen(1)
		io.rhdr[i].hdr.Name = (*byte)(unsafe.Pointer(&io.raddr[i]))
	}
	return io, nil
}

// watch puts an epoll instance between the socket and the runtime.
func (io *multiIO) watch() error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	err = errors.Join(
		unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, io.fd, &unix.EpollEvent{Fd: int32(io.fd)}),
		unix.SetNonblock(ep, true), // or os.NewFile would not have it polled
	)
	if err != nil {
		return errors.Join(err, unix.Close(ep))
	}
	io.ep, io.poll = ep, os.NewFile(uintptr(ep), "udp")
	io.rc, err = io.poll.SyscallConn()
	return err
}

// stop ends a read that waits, and all later ones.
func (io *multiIO) stop() { _ = io.poll.Close() }

// wake ends a read that waits, or else the next one.
func (io *multiIO) wake() { _ = io.poll.SetReadDeadline(time.Unix(1, 0)) }

// close closes the socket; nobody may be using it.
func (io *multiIO) close() {
	if io.poll != nil {
		_ = io.poll.Close()
	}
	_ = unix.Close(io.fd)
}

// arm has the runtime woken by the next datagram, or no more. What is there
// already counts as the next.
func (io *multiIO) arm(on bool) {
	e := unix.EpollEvent{Fd: int32(io.fd)}
	if on {
		e.Events = unix.EPOLLIN
	}
	io.armed = on
	_ = unix.EpollCtl(io.ep, unix.EPOLL_CTL_MOD, io.fd, &e) // both are open while poll is in use
}

func (io *multiIO) recvmmsg(uintptr) bool {
	if io.armed {
		io.arm(false)
	}
	for i := range io.rhdr {
		io.rhdr[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(io.fd), uintptr(unsafe.Pointer(&io.rhdr[0])), udpBatch, unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			io.got, io.rerr = int(n), nil
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			if !io.wait {
				io.got, io.rerr = 0, nil
				return true
			}
			if io.armed {
				return false
			}
			// A datagram that came just before epoll was asked may wake nobody: of a
			// socket that is on its ready list from earlier it tells no more. So look
			// once again.
			io.arm(true)
		default:
			io.got, io.rerr = 0, e
			return true
		}
	}
}

// read returns how many datagrams came. With wait there is one, unless wake was
// called.
func (io *multiIO) read(wait bool) (int, error) {
	io.wait = wait
	if err := io.rc.Read(io.rfn); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, io.poll.SetReadDeadline(time.Time{})
		}
		return 0, err
	}
	return io.got, io.rerr
}

// datagram returns the i-th of the last read; its bytes are valid until the next.
func (io *multiIO) datagram(i int) ([]byte, netip.AddrPort) {
	b := io.rbuf[i*readStride:][:io.rhdr[i].n:io.rhdr[i].n]
	return b, addrOf(&io.raddr[i])
}

func addrOf(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	switch sa.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port)
	}
	return netip.AddrPort{}
}

// putAddr fills sa and returns its length for the kernel.
func putAddr(sa *unix.RawSockaddrInet6, a netip.AddrPort, is6 bool) uint32 {
	*sa = unix.RawSockaddrInet6{}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], a.Port())
	if is6 {
		sa.Family = unix.AF_INET6
		sa.Addr = a.Addr().As16()
		return unix.SizeofSockaddrInet6
	}
	v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
	v4.Family = unix.AF_INET
	v4.Addr = a.Addr().As4()
	return unix.SizeofSockaddrInet4
}

// send gives the kernel the runs from at on and returns how many of them it took.
func (io *multiIO) send(at int) (int, error) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(io.fd), uintptr(unsafe.Pointer(&io.whdr[at])), uintptr(io.runs.n-at), unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN: // the send buffer is full
			wait := []unix.PollFd{{Fd: int32(io.fd), Events: unix.POLLOUT}}
			if n, err := unix.Poll(wait, sendWait); n == 0 && err == nil {
				return 0, e
			}
		default:
			return 0, e
		}
	}
}

// write sends a batch and returns how many datagrams the kernel refused.
func (io *multiIO) write(p *outBatch) (dropped int) {
	for msgs := p.msgs; len(msgs) > 0; {
		n := min(len(msgs), sendBatch)
		dropped += io.writeSome(p.buf, msgs[:n])
		msgs = msgs[n:]
	}
	return dropped
}

// writeSome sends up to sendBatch datagrams with one system call. Those to one peer
// leave in their order.
func (io *multiIO) writeSome(buf []byte, msgs []outMsg) (dropped int) {
	io.runs.reset()
	if !io.segments && !io.again.IsZero() && time.Now().After(io.again) {
		io.segments = true
	}
	for i := range msgs {
		m := &msgs[i]
		if !io.is6 && !m.remote.Addr().Is4() {
			dropped++
			continue
		}
		io.runs.add(i, m, io.segments)
	}
	iov := 0
	for k := range io.runs.n {
		r := &io.runs.list[k]
		hdr := &io.whdr[k].hdr
		hdr.Iov = &io.wiov[iov]
		hdr.SetIovlen(r.n)
		io.runs.each(r, func(i int) {
			m := &msgs[i]
			io.wiov[iov].Base = unsafe.SliceData(buf[m.from:])
			io.wiov[iov].SetLen(m.to - m.from)
			iov++
		})
		hdr.Name = (*byte)(unsafe.Pointer(&io.waddr[k]))
		hdr.Namelen = putAddr(&io.waddr[k], r.remote, io.is6)
		hdr.Control = nil
		hdr.SetControllen(0)
		if r.n > 1 {
			c := &io.wctl[k]
			c.set(r.size)
			hdr.Control = (*byte)(unsafe.Pointer(c))
			hdr.SetControllen(int(unsafe.Sizeof(*c)))
		}
	}
	return dropped + io.flush(buf, msgs)
}

// flush sends the runs; what the kernel refuses is skipped.
func (io *multiIO) flush(buf []byte, msgs []outMsg) (dropped int) {
	for at := 0; at < io.runs.n; {
		done, err := io.send(at)
		at += done
		if err == nil {
			continue
		}
		r := &io.runs.list[at]
		if r.n > 1 && (errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EIO)) {
			// A route that does not part datagrams: its MTU is smaller, it has IPsec, or
			// a device that computes no checksums. It may be any peer's, so none of that
			// for a while.
			io.segments, io.again = false, time.Now().Add(segmentsPause)
			rest := io.rest[:0]
			for k := at; k < io.runs.n; k++ {
				io.runs.each(&io.runs.list[k], func(i int) { rest = append(rest, msgs[i]) })
			}
			return dropped + io.writeSome(buf, rest)
		}
		dropped += r.n
		at++
	}
	return dropped
}
