package transport_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transport"
)

var anyPort = netip.MustParseAddrPort("127.0.0.1:0")

// patience bounds waits that end early when all is well.
const patience = 10 * time.Second

// node is a transport whose handler answers every request: 200, or what Check
// says.
type node struct {
	*transport.Transport
	udp, tcp netip.AddrPort
}

func start(t testing.TB, o transport.Options, handler transport.Handler) *node {
	t.Helper()
	n := new(node)
	if handler == nil {
		handler = n.answer
	}
	n.Transport = transport.New(handler, o)
	t.Cleanup(func() { n.Close() })
	var err error
	if n.udp, err = n.ListenUDP(anyPort); err != nil {
		t.Fatal(err)
	}
	if n.tcp, err = n.ListenTCP(anyPort); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) answer(m *sip.Message, f transport.Flow) {
	if !m.IsRequest() {
		return
	}
	r := &sip.Reply{Status: 200, ToTag: "srv"}
	if fault := m.Check(); fault != nil {
		r.Status = fault.Status
	}
	_ = n.Send(transport.ReplyFlow(m.Via(), f), m.AppendReply(nil, f.Remote, r)) // the peer may be gone
}

// options makes an OPTIONS request that a peer at addr sends.
func options(addr net.Addr, id string) []byte {
	return siptest.Request("OPTIONS", "z9hG4bK"+id, addrPort(addr))
}

func addrPort(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

// peer is a TCP client.
type peer struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func dial(t testing.TB, to netip.AddrPort) *peer {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &peer{c, t, bufio.NewReader(c)}
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// next reads one message, keep-alives before it skipped.
func (p *peer) next() *sip.Message {
	p.t.Helper()
	var head bytes.Buffer
	length := 0
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("read: %v behind %q", err, head.String())
		}
		if line == "\r\n" {
			if head.Len() == 0 {
				continue
			}
			break
		}
		head.WriteString(line)
		if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		}
	}
	head.WriteString("\r\n")
	if _, err := io.CopyN(&head, p.r, int64(length)); err != nil {
		p.t.Fatalf("read body: %v", err)
	}
	m := new(sip.Message)
	if err := m.Parse(head.Bytes()); err != nil {
		p.t.Fatalf("%v: %q", err, head.String())
	}
	if fault := m.Check(); fault != nil {
		p.t.Fatalf("%v: %q", fault, head.String())
	}
	return m
}

// expect reads the answer to a request.
func (p *peer) expect(status int, id string) {
	p.t.Helper()
	m := p.next()
	if m.Status() != status || m.Via().Branch != "z9hG4bK"+id {
		p.t.Fatalf("expected %d to %s, heard\n%s", status, id, m.Raw())
	}
}

// closed expects the end of the connection and nothing before it.
func (p *peer) closed() {
	p.t.Helper()
	b, err := io.ReadAll(p.r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatal("the connection stays open")
	}
	if len(b) > 0 {
		p.t.Fatalf("expected the end, heard %q", b)
	}
}

// pong expects CRLF.
func (p *peer) pong() {
	p.t.Helper()
	var b [2]byte
	if _, err := io.ReadFull(p.r, b[:]); err != nil || string(b[:]) != "\r\n" {
		p.t.Fatalf("expected CRLF, heard %q, %v", b, err)
	}
}

// until waits for what other goroutines do.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// closings collects what Options.Closed is told.
type closings chan transport.Flow

func (c closings) told(f transport.Flow) { c <- f }

func (c closings) next(t testing.TB) transport.Flow {
	t.Helper()
	select {
	case f := <-c:
		return f
	case <-time.After(patience):
		t.Fatal("Closed was not told")
		return transport.Flow{}
	}
}

func id(parts ...any) string { return strings.ReplaceAll(fmt.Sprint(parts...), " ", "-") }
