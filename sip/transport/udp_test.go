package transport_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v3"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transport"
)

func dialUDP(t testing.TB, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// hear reads one datagram, which must be the answer to a request.
func hear(t testing.TB, c *net.UDPConn, status int, branch string) *sip.Message {
	t.Helper()
	buf := make([]byte, 65536)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	m := new(sip.Message)
	if m.Parse(buf[:n]) != nil || m.Check() != nil || m.Status() != status || branch != "" && m.Via().Branch != branch {
		t.Fatalf("expected %d to %s, heard\n%s", status, branch, buf[:n])
	}
	return m
}

// TestUDPBatches: several peers send bursts to several sockets that share a
// port; each answer comes from that port to the peer that asked.
func TestUDPBatches(t *testing.T) {
	n := start(t, transport.Options{UDPSockets: 4}, nil)
	const peers, bursts, burst = 8, 10, 20
	var wg sync.WaitGroup
	for p := range peers {
		c := dialUDP(t, n.udp)
		wg.Go(func() {
			for b := range bursts {
				for i := range burst {
					if _, err := c.Write(options(c.LocalAddr(), id(p, b, i))); err != nil {
						t.Error(err)
					}
				}
				heard := map[string]bool{}
				buf := make([]byte, 2048)
				for range burst {
					k, err := c.Read(buf)
					if err != nil {
						t.Errorf("peer %d: %v behind %d answers", p, err, len(heard))
						return
					}
					var m sip.Message
					if m.Parse(buf[:k]) != nil || m.Check() != nil || m.Status() != 200 {
						t.Errorf("heard\n%s", buf[:k])
					}
					heard[strings.Clone(m.CallID())] = true
				}
				if len(heard) != burst {
					t.Errorf("peer %d: %d of %d answers", p, len(heard), burst)
				}
			}
		})
	}
	wg.Wait()
	if got := n.Counters.Received.Load(); got != peers*bursts*burst {
		t.Errorf("Received is %d", got)
	}
	if got := n.Counters.Sent.Load(); got != peers*bursts*burst {
		t.Errorf("Sent is %d", got)
	}
}

// TestUDPSource: without rport the answer goes to the source address and the
// port of sent-by, with it to the source port (RFC 3261 §18.2.2, RFC 3581 §4).
func TestUDPSource(t *testing.T) {
	n := start(t, transport.Options{}, nil)
	a, b := dialUDP(t, n.udp), dialUDP(t, n.udp)
	req := options(b.LocalAddr(), "1") // Via names b, a sends
	if _, err := a.Write(req); err != nil {
		t.Fatal(err)
	}
	m := hear(t, a, 200, "z9hG4bK1")
	if got, _ := m.Via().Params.Get("rport"); got != id(addrPort(a.LocalAddr()).Port()) {
		t.Errorf("rport is %q", got)
	}
	if got, _ := m.Via().Params.Get("received"); got != "127.0.0.1" {
		t.Errorf("received is %q", got)
	}
	if _, err := a.Write(bytes.Replace(req, []byte(";rport"), nil, 1)); err != nil {
		t.Fatal(err)
	}
	hear(t, b, 200, "z9hG4bK1")
}

func TestUDPLargest(t *testing.T) {
	n := start(t, transport.Options{}, nil)
	c := dialUDP(t, n.udp)
	head := string(options(c.LocalAddr(), "1"))
	head = head[:len(head)-len("\r\nContent-Length: 0\r\n\r\n")]
	full := siptest.Text(head, string(make([]byte, 65507-len(siptest.Text(head, ""))-4)))
	if _, err := c.Write(full); err != nil {
		t.Fatal(err)
	}
	hear(t, c, 200, "z9hG4bK1")
}

// TestUDPNoise: what is no message gets no answer and is counted.
func TestUDPNoise(t *testing.T) {
	n := start(t, transport.Options{UDPSockets: 1}, nil)
	c := dialUDP(t, n.udp)
	for _, s := range []string{"\r\n\r\n", "\x00", "", "jaK", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SIP/2.0 2000 X\r\n\r\n\r\n"} {
		if _, err := c.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write(options(c.LocalAddr(), "1")); err != nil {
		t.Fatal(err)
	}
	hear(t, c, 200, "z9hG4bK1")
	if k, x := n.Counters.KeepAlive.Load(), n.Counters.NotSIP.Load(); k != 4 || x != 2 {
		t.Errorf("%d keep-alives and %d that are not SIP", k, x)
	}
}

// TestUDPOrder: what one goroutine sends to a peer arrives in order, while others
// send over the same sockets; what the kernel refuses stops nothing.
func TestUDPOrder(t *testing.T) {
	n := start(t, transport.Options{UDPSockets: 2}, nil)
	const senders, each = 4, 300
	refused := transport.Flow{Proto: transport.UDP, Local: n.udp, Remote: netip.MustParseAddrPort("127.0.0.1:0")}
	other := transport.Flow{Proto: transport.UDP, Local: n.udp, Remote: netip.MustParseAddrPort("[2001:db8::1]:9")}
	var wg sync.WaitGroup
	for s := range senders {
		c := dialUDP(t, n.udp)
		_ = c.SetReadBuffer(1 << 20)
		f := transport.Flow{Proto: transport.UDP, Local: n.udp, Remote: addrPort(c.LocalAddr())}
		wg.Go(func() {
			for i := range each {
				for _, f := range []transport.Flow{f, refused, other} {
					if err := n.Send(f, binary.BigEndian.AppendUint32(nil, uint32(i))); err != nil {
						t.Error(err)
					}
				}
			}
		})
		wg.Go(func() {
			b := make([]byte, 16)
			for i := range uint32(each) {
				if _, err := c.Read(b); err != nil {
					t.Errorf("sender %d: %v behind %d", s, err, i)
					return
				}
				if got := binary.BigEndian.Uint32(b); got != i {
					t.Errorf("sender %d: %d where %d was due", s, got, i)
					return
				}
			}
		})
	}
	wg.Wait()
	until(t, "the refused ones are counted", func() bool { return n.Counters.SendDropped.Load() == 2*senders*each })
}

// TestPortTaken: a port that another server has is refused, though sockets could
// share it.
func TestPortTaken(t *testing.T) {
	n := start(t, transport.Options{UDPSockets: 2}, nil)
	second := transport.New(func(*sip.Message, transport.Flow) {}, transport.Options{UDPSockets: 2})
	defer second.Close()
	if a, err := second.ListenUDP(n.udp); err == nil {
		t.Errorf("UDP: listening on %s twice", a)
	}
	if a, err := second.ListenTCP(n.tcp); err == nil {
		t.Errorf("TCP: listening on %s twice", a)
	}
}

// TestUDP6: a socket on [::] serves both families; addresses come unmapped.
func TestUDP6(t *testing.T) {
	flows := make(chan transport.Flow, 2)
	var tr *transport.Transport
	tr = transport.New(func(m *sip.Message, f transport.Flow) {
		flows <- f
		if m.Check() == nil {
			_ = tr.Send(transport.ReplyFlow(m.Via(), f), m.AppendReply(nil, f.Remote, &sip.Reply{Status: 200}))
		}
	}, transport.Options{})
	defer tr.Close()
	local, err := tr.ListenUDP(netip.MustParseAddrPort("[::]:0"))
	if err != nil {
		t.Logf("no IPv6 here: %v", err)
		return
	}
	for _, ip := range []string{"127.0.0.1", "::1"} {
		c := dialUDP(t, netip.AddrPortFrom(netip.MustParseAddr(ip), local.Port()))
		if _, err := c.Write(options(c.LocalAddr(), "1")); err != nil {
			t.Fatal(err)
		}
		hear(t, c, 200, "z9hG4bK1")
		f := <-flows
		if f.Remote.Addr() != netip.MustParseAddr(ip) || f.Local != local {
			t.Errorf("flow %+v", f)
		}
		if s := tr.SentBy(f); s.Addr() != netip.MustParseAddr(ip) || s.Port() != local.Port() {
			t.Errorf("sent-by towards %s is %s", ip, s)
		}
		if g, ok := tr.UDPFlow(f.Remote); !ok || g != f {
			t.Errorf("UDPFlow is %+v, %v", g, ok)
		}
	}
}

// TestSTUN: a Binding request on the SIP port is answered with the address that
// it came from (RFC 5626 §4.4.2).
func TestSTUN(t *testing.T) {
	n := start(t, transport.Options{}, nil)
	conn := dialUDP(t, n.udp)
	_ = conn.SetDeadline(time.Time{})
	c, err := stun.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var mapped stun.XORMappedAddress
	err = c.Do(stun.MustBuild(stun.TransactionID, stun.BindingRequest), func(e stun.Event) {
		if e.Error != nil {
			t.Error(e.Error)
		} else if err := mapped.GetFrom(e.Message); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := mapped.String(), conn.LocalAddr().String(); got != want {
		t.Errorf("mapped to %s, want %s", got, want)
	}
	unknown := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.RawAttribute{Type: 0x7abc, Value: []byte("1234")})
	err = c.Do(unknown, func(e stun.Event) {
		var code stun.ErrorCodeAttribute
		if e.Error != nil {
			t.Error(e.Error)
		} else if err := code.GetFrom(e.Message); err != nil || code.Code != stun.CodeUnknownAttribute || e.Message.Type != stun.BindingError {
			t.Errorf("an attribute that must be understood and is not: %v, %v", e.Message, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSTUNMalformed: no answer, so nothing to reflect.
func TestSTUNMalformed(t *testing.T) {
	n := start(t, transport.Options{UDPSockets: 1}, nil)
	c := dialUDP(t, n.udp)
	good := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewSoftware("test")).Raw
	change := func(at int, with ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], with)
		return b
	}
	for _, b := range [][]byte{
		good[:19], good[:len(good)-1], change(2, 0xff, 0xff), change(2, 0, 0x40), change(4, 1, 2, 3, 4), change(22, 0xff, 0xff),
		stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw, stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication)).Raw,
		stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw, make([]byte, 100),
	} {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write(options(c.LocalAddr(), "1")); err != nil {
		t.Fatal(err)
	}
	hear(t, c, 200, "z9hG4bK1")
}
