//go:build !linux

package bench

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// netWire is the wire of systems without recvmmsg: package net, and a reading
// goroutine for each socket.
type netWire struct {
	conns   []net.Conn
	stream  bool
	arrived chan arrival
	done    chan struct{}
	pending []arrival
	queue   []arrival
}

type arrival struct {
	i   int
	msg []byte
	err error
}

func dialUDP(server netip.AddrPort, n, size int) (wire, error) {
	return dialNet("udp", server, n, size)
}

func dialTCP(server netip.AddrPort, n int) (wire, error) {
	return dialNet("tcp", server, n, 64<<10)
}

func dialNet(network string, server netip.AddrPort, n, size int) (wire, error) {
	w := &netWire{stream: network == "tcp", arrived: make(chan arrival, 1024), done: make(chan struct{})}
	for i := range n {
		c, err := net.Dial(network, server.String())
		if err != nil {
			w.close()
			return nil, fmt.Errorf("bench: connect to %s: %w", server, err)
		}
		if u, ok := c.(*net.UDPConn); ok {
			_ = u.SetReadBuffer(socketSpace)
		}
		w.conns = append(w.conns, c)
		go w.read(i, c, size)
	}
	return w, nil
}

// read passes on what one socket receives until close closes it.
func (w *netWire) read(i int, c net.Conn, size int) {
	buf := make([]byte, size)
	var in []byte
	for {
		n, err := c.Read(buf)
		if err == nil && !w.stream {
			w.pass(arrival{i, append([]byte(nil), buf[:n]...), nil})
			continue
		}
		if err == nil {
			var rest []byte
			rest, err = eachFrame(append(in, buf[:n]...), i, func(i int, msg []byte) {
				w.pass(arrival{i, append([]byte(nil), msg...), nil})
			})
			in = append([]byte(nil), rest...)
		}
		if err != nil {
			if w.stream {
				w.pass(arrival{i, nil, err})
				return
			}
			select {
			case <-w.done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}
}

func (w *netWire) pass(a arrival) {
	select {
	case w.arrived <- a:
	case <-w.done:
	}
}

func (w *netWire) local(i int) netip.AddrPort {
	a, _ := netip.ParseAddrPort(w.conns[i].LocalAddr().String())
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func (w *netWire) send(i int, msg []byte) { w.queue = append(w.queue, arrival{i: i, msg: msg}) }

func (w *netWire) flush() error {
	for _, m := range w.queue {
		if _, err := w.conns[m.i].Write(m.msg); err != nil && w.stream {
			return fmt.Errorf("bench: connection %s: %w", w.local(m.i), err)
		}
	}
	w.queue = w.queue[:0]
	return nil
}

func (w *netWire) wait(d time.Duration) error {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case a := <-w.arrived:
		w.pending = append(w.pending, a)
	case <-t.C:
	}
	return nil
}

func (w *netWire) drain(f func(i int, msg []byte)) error {
	for len(w.pending) < batch {
		select {
		case a := <-w.arrived:
			w.pending = append(w.pending, a)
			continue
		default:
		}
		break
	}
	defer func() { w.pending = w.pending[:0] }()
	for _, a := range w.pending {
		if a.err != nil {
			return fmt.Errorf("bench: connection %s: %w", w.local(a.i), a.err)
		}
		f(a.i, a.msg)
	}
	return nil
}

func (w *netWire) close() {
	close(w.done)
	for _, c := range w.conns {
		c.Close()
	}
}

const batch = 64
