//go:build !linux

package transport

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

func setOptions(uintptr, bool) error { return nil }

// multiIO reads and writes one datagram at a time where the system has no
// recvmmsg.
type multiIO struct {
	conn *net.UDPConn
	buf  [65535]byte
	n    int
	from netip.AddrPort
}

func newMultiIO(c *net.UDPConn) (*multiIO, error) { return &multiIO{conn: c}, nil }

func (io *multiIO) stop() { _ = io.conn.Close() }

func (io *multiIO) close() { _ = io.conn.Close() }

func (io *multiIO) wake() { _ = io.conn.SetReadDeadline(time.Unix(1, 0)) }

func (io *multiIO) read(wait bool) (int, error) {
	if !wait {
		return 0, nil
	}
	var err error
	io.n, io.from, err = io.conn.ReadFromUDPAddrPort(io.buf[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, io.conn.SetReadDeadline(time.Time{})
	}
	return 1, err
}

func (io *multiIO) datagram(int) ([]byte, netip.AddrPort) {
	return io.buf[:io.n], netip.AddrPortFrom(io.from.Addr().Unmap(), io.from.Port())
}

func (io *multiIO) write(p *outBatch) (dropped int) {
	for _, m := range p.msgs {
		if _, err := io.conn.WriteToUDPAddrPort(p.buf[m.from:m.to], m.remote); err != nil {
			dropped++
		}
	}
	return dropped
}
