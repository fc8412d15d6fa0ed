package transport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// peers are sockets that a batch goes to.
type peers struct {
	t    *testing.T
	conn []*net.UDPConn
	sent [][]string
	out  outBatch
}

func newPeers(t *testing.T, n int) *peers {
	p := &peers{t: t, sent: make([][]string, n)}
	for range n {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		p.conn = append(p.conn, c)
	}
	return p
}

// add puts a datagram of so many bytes into the batch.
func (p *peers) add(peer, size int) {
	text := fmt.Sprintf("%-*d", size, len(p.sent[peer]))[:size]
	p.sent[peer] = append(p.sent[peer], text)
	from := len(p.out.buf)
	p.out.buf = append(p.out.buf, text...)
	addr := p.conn[peer].LocalAddr().(*net.UDPAddr).AddrPort()
	p.out.msgs = append(p.out.msgs, outMsg{from, len(p.out.buf), addr})
}

// want reads what came to each peer: all of it, in order, as it was.
func (p *peers) want() {
	p.t.Helper()
	buf := make([]byte, maxDatagram)
	for i, c := range p.conn {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		for n, want := range p.sent[i] {
			got, err := c.Read(buf)
			if err != nil {
				p.t.Fatalf("peer %d: %d of %d datagrams came: %v", i, n, len(p.sent[i]), err)
			}
			if string(buf[:got]) != want {
				p.t.Fatalf("peer %d, datagram %d: %d bytes %.20q, want %d bytes %.20q", i, n, got, buf[:got], len(want), want)
			}
		}
		p.sent[i] = nil
	}
	p.out.buf, p.out.msgs = p.out.buf[:0], p.out.msgs[:0]
}

func newOut(t *testing.T) *multiIO {
	c, err := listenReusePort(netip.MustParseAddrPort("127.0.0.1:0"), false)
	if err != nil {
		t.Fatal(err)
	}
	io, err := newMultiIO(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(io.close)
	return io
}

// TestRuns: what goes to one peer arrives as it was, in its order, whatever was put
// together on the way.
func TestRuns(t *testing.T) {
	io := newOut(t)
	if !io.segments {
		t.Fatal("this kernel does not part datagrams")
	}
	random := rand.New(rand.NewPCG(1, 2))
	sizes := []int{1, 300, 300, 300, 700, 700, 700, 701, maxSegment, maxSegment, maxSegment + 1, 2000}
	for range 30 {
		p := newPeers(t, 1+random.IntN(12))
		for range random.IntN(30 * len(p.conn)) { // few enough for any receive buffer
			p.add(random.IntN(len(p.conn)), sizes[random.IntN(len(sizes))])
		}
		if n := io.write(&p.out); n > 0 || !io.segments {
			t.Fatalf("%d datagrams were refused", n)
		}
		p.want()
	}
	p := newPeers(t, 1)
	for range 70 {
		p.add(0, 500)
	}
	io.write(&p.out)
	if io.runs.n != 2 || io.runs.list[0].n != maxRun { // still those of the batch
		t.Errorf("%d runs, %d datagrams in the first", io.runs.n, io.runs.list[0].n)
	}
	p.want()
}

// TestNoSegments: a socket whose kernel refuses to part what is put together sends
// each datagram by itself, those of the refused run included.
func TestNoSegments(t *testing.T) {
	io := newOut(t)
	if err := unix.SetsockoptInt(io.fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
		t.Fatal(err)
	}
	p := newPeers(t, 5)
	for i := range 270 { // more than one batch
		p.add(i%4, 400)
	}
	p.add(4, 20)
	if n := io.write(&p.out); n > 0 || io.segments || io.again.IsZero() {
		t.Fatalf("%d datagrams were refused, segments %v", n, io.segments)
	}
	p.want()
	io.again = time.Now().Add(-time.Second) // the pause is over
	if err := unix.SetsockoptInt(io.fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 0); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		p.add(0, 400)
	}
	if n := io.write(&p.out); n > 0 || !io.segments || io.runs.n != 1 {
		t.Fatalf("%d datagrams were refused, segments %v, %d runs", n, io.segments, io.runs.n)
	}
	p.want()
}
