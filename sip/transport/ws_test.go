package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transport"
)

// browser is a WebSocket client.
type browser struct {
	net.Conn
	t *testing.T
}

func dialWS(t *testing.T, to netip.AddrPort, roots *tls.Config) *browser {
	t.Helper()
	scheme := "ws"
	if roots != nil {
		scheme = "wss"
	}
	d := ws.Dialer{Protocols: []string{"xmpp", "sip"}, TLSConfig: roots}
	conn, early, hs, err := d.Dial(context.Background(), fmt.Sprintf("%s://%s/any", scheme, to))
	if err != nil {
		t.Fatal(err)
	}
	if hs.Protocol != "sip" || early != nil {
		t.Fatalf("subprotocol %q", hs.Protocol)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &browser{conn, t}
}

// frame sends a frame as a client does, masked.
func (b *browser) frame(op ws.OpCode, fin bool, payload []byte) {
	b.t.Helper()
	f := ws.MaskFrame(ws.NewFrame(op, fin, bytes.Clone(payload)))
	if err := ws.WriteFrame(b, f); err != nil {
		b.t.Fatal(err)
	}
}

// readFrame reads what a server sends.
func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	f.Payload = make([]byte, min(f.Header.Length, 1<<20))
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

// next returns the next message of the server.
func (b *browser) next() (payload []byte, op ws.OpCode) {
	b.t.Helper()
	f, err := readFrame(b)
	if err != nil {
		b.t.Fatal(err)
	}
	if f.Header.Masked || !f.Header.Fin || f.Header.Rsv != 0 {
		b.t.Fatalf("header %+v", f.Header)
	}
	return f.Payload, f.Header.OpCode
}

func (b *browser) expect(status int, id string) {
	b.t.Helper()
	p, op := b.next()
	m := new(sip.Message)
	if err := m.Parse(p); err != nil || op != ws.OpText || m.Check() != nil || m.Status() != status || m.Via().Branch != "z9hG4bK"+id {
		b.t.Fatalf("expected %d to %s, heard %v %q", status, id, op, p)
	}
}

// ends expects a close frame with the status and the end of the connection.
func (b *browser) ends(code ws.StatusCode) {
	b.t.Helper()
	p, op := b.next()
	if got, _ := ws.ParseCloseFrameData(p); op != ws.OpClose || got != code {
		b.t.Fatalf("heard %v %q, want the end with %d", op, p, code)
	}
	if rest, err := io.ReadAll(b); err != nil || len(rest) > 0 {
		b.t.Fatalf("behind the end %q, %v", rest, err)
	}
}

func startWS(t *testing.T, o transport.Options, secure *tls.Config) (*node, netip.AddrPort) {
	t.Helper()
	n := start(t, o, nil)
	at, err := n.ListenWS(anyPort, secure)
	if err != nil {
		t.Fatal(err)
	}
	return n, at
}

// TestWebSocket: a message of WebSocket is one of SIP, text or binary, in one piece or in many, without Content-Length too;
// keep-alives of both kinds are answered.
func TestWebSocket(t *testing.T) {
	cert := siptest.NewCertificate(t, nil, "example.com")
	for name, secure := range map[string]*tls.Config{"ws": nil, "wss": {Certificates: []tls.Certificate{cert.Pair}}} {
		t.Run(name, func(t *testing.T) {
			flows := make(closings, 1)
			n, at := startWS(t, transport.Options{Closed: flows.told}, secure)
			client := &tls.Config{RootCAs: cert.Pool, ServerName: "example.com"}
			if secure == nil {
				client = nil
			}
			b := dialWS(t, at, client)
			one := func(id string) []byte { return options(b.LocalAddr(), id) }
			b.frame(ws.OpText, true, one("text"))
			b.expect(200, "text")
			b.frame(ws.OpBinary, true, one("binary"))
			b.expect(200, "binary")
			b.frame(ws.OpText, true, bytes.Replace(one("unmeasured"), []byte("Content-Length: 0\r\n"), nil, 1))
			b.expect(200, "unmeasured")

			whole := one("pieces")
			b.frame(ws.OpText, false, whole[:10])
			b.frame(ws.OpPing, true, []byte("between"))
			for i := 10; i < len(whole); i++ {
				b.frame(ws.OpContinuation, false, whole[i:i+1])
			}
			b.frame(ws.OpContinuation, true, nil)
			if p, op := b.next(); op != ws.OpPong || string(p) != "between" {
				t.Errorf("heard %v %q", op, p)
			}
			b.expect(200, "pieces")

			b.frame(ws.OpPong, true, []byte("to nothing"))
			b.frame(ws.OpText, true, []byte("\r\n\r\n")) // RFC 5626 §4.4.1, as for every stream
			if p, op := b.next(); op != ws.OpText || string(p) != "\r\n" {
				t.Errorf("heard %v %q", op, p)
			}
			if got := n.Counters.KeepAlive.Load(); got != 2 {
				t.Errorf("%d keep-alives", got)
			}
			long := bytes.Replace(one("long"), []byte("Content-Length: 0\r\n\r\n"), fmt.Appendf(nil, "Subject: %s\r\nContent-Length: 60000\r\n\r\n%s", strings.Repeat("s", 300), strings.Repeat("x", 60000)), 1)
			b.frame(ws.OpBinary, true, long)
			b.expect(200, "long")
			b.frame(ws.OpText, true, []byte("no SIP at all"))
			b.frame(ws.OpText, true, one("after"))
			b.expect(200, "after")
			b.frame(ws.OpClose, true, ws.NewCloseFrameBody(ws.StatusGoingAway, "bye"))
			b.ends(ws.StatusNormalClosure)

			want := transport.WS
			if secure != nil {
				want = transport.WSS
			}
			if f := flows.next(t); f.Proto != want || f.Local != at || n.SentBy(f) != at || f.Proto.URIParam() != "ws" {
				t.Errorf("flow %+v, sent-by %s", f, n.SentBy(f))
			}
		})
	}
}

// TestWebSocketSending: each message that is sent is a frame of its own, text where it is that.
func TestWebSocketSending(t *testing.T) {
	heard := make(chan transport.Flow, 1)
	n := start(t, transport.Options{}, func(_ *sip.Message, f transport.Flow) { heard <- f })
	at, err := n.ListenWS(anyPort, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := dialWS(t, at, nil)
	b.frame(ws.OpText, true, options(b.LocalAddr(), "hello"))
	f := <-heard
	for _, size := range []int{1, 125, 126, 65535, 65536, 70000} {
		for _, text := range []bool{true, false} {
			p, want := bytes.Repeat([]byte("x"), size), ws.OpText
			if !text {
				p[0], want = 0xff, ws.OpBinary
			}
			if err := n.Send(f, p); err != nil {
				t.Fatal(err)
			}
			if got, op := b.next(); op != want || !bytes.Equal(got, p) {
				t.Errorf("%d bytes arrive as %v with %d", size, op, len(got))
			}
		}
	}
	const each = 200
	for g := range 4 {
		go func() {
			for i := range each {
				_ = n.Send(f, options(b.LocalAddr(), id(g, i)))
			}
		}()
	}
	seen := map[string]bool{}
	for range 4 * each {
		p, _ := b.next()
		m := new(sip.Message)
		if err := m.Parse(p); err != nil {
			t.Fatalf("%v in %q", err, p)
		}
		_ = m.Check()
		seen[m.Via().Branch] = true
	}
	if len(seen) != 4*each {
		t.Errorf("%d of %d messages arrived", len(seen), 4*each)
	}
}

// TestWebSocketFaults: who breaks the protocol is told how, and goes (RFC 6455 §7.4.1).
func TestWebSocketFaults(t *testing.T) {
	n, at := startWS(t, transport.Options{}, nil)
	raw := func(b ...byte) func(*browser) { return func(c *browser) { _, _ = c.Write(b) } }
	for name, c := range map[string]struct {
		do   func(*browser)
		code ws.StatusCode
	}{
		"not masked":         {raw(0x81, 1, 'x'), ws.StatusProtocolError},
		"reserved bit":       {raw(0xc1, 0x81, 0, 0, 0, 0, 'x'), ws.StatusProtocolError},
		"reserved operation": {raw(0x83, 0x80, 0, 0, 0, 0), ws.StatusProtocolError},
		"control in pieces":  {raw(0x09, 0x80, 0, 0, 0, 0), ws.StatusProtocolError},
		"long control":       {raw(0x89, 0xfe, 0, 126, 0, 0, 0, 0), ws.StatusProtocolError},
		"negative length":    {raw(0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), ws.StatusProtocolError},
		"rest of nothing":    {func(c *browser) { c.frame(ws.OpContinuation, true, []byte("x")) }, ws.StatusProtocolError},
		"another before the rest": {func(c *browser) {
			c.frame(ws.OpText, false, []byte("x"))
			c.frame(ws.OpText, true, []byte("y"))
		}, ws.StatusProtocolError},
		"too big": {func(c *browser) { c.frame(ws.OpBinary, true, make([]byte, 65537)) }, ws.StatusMessageTooBig},
		"too big in pieces": {func(c *browser) {
			c.frame(ws.OpBinary, false, make([]byte, 65536))
			c.frame(ws.OpContinuation, true, []byte("x"))
		}, ws.StatusMessageTooBig},
		"text that is none": {func(c *browser) { c.frame(ws.OpText, true, []byte{'x', 0xff}) }, ws.StatusInvalidFramePayloadData},
	} {
		t.Run(name, func(t *testing.T) {
			b := dialWS(t, at, nil)
			c.do(b)
			b.ends(c.code)
		})
	}
	until(t, "all are gone", func() bool { return n.Connections() == 0 })
}

// TestUpgrade: who does not ask for SIP, or not for a WebSocket, is told so and goes; so does who is slow or endless.
func TestUpgrade(t *testing.T) {
	n, at := startWS(t, transport.Options{HandshakeTime: 400 * time.Millisecond}, nil)
	good := "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for i, c := range []struct{ request, answer string }{
		{good + "\r\n", "HTTP/1.1 400 "},
		{good + "Sec-WebSocket-Protocol: xmpp, msrp\r\n\r\n", "HTTP/1.1 400 "},
		{"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
		{"POST / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 "},
		{"OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP x\r\n\r\n", ""},
		{"GET / HTTP/1.1\r\n", ""}, // and no more
		{good + strings.Repeat("X: "+strings.Repeat("x", 100)+"\r\n", 200), ""},
	} {
		p := dial(t, at)
		p.send([]byte(c.request))
		b, _ := io.ReadAll(p)
		_ = p.Close()
		if !strings.HasPrefix(string(b), c.answer) || c.answer == "" && strings.Contains(string(b), " 101 ") {
			t.Errorf("%.60q is answered %q", c.request, b)
		}
		until(t, "the handshake is counted", func() bool { return n.Counters.HandshakeFailed.Load() == uint64(i+1) && n.Connections() == 0 })
	}
}

// TestWebSocketTimes: a message must be whole in time; a connection may be idle for long.
func TestWebSocketTimes(t *testing.T) {
	n, at := startWS(t, transport.Options{MessageTime: 300 * time.Millisecond, Idle: 1500 * time.Millisecond}, nil)
	slow := dialWS(t, at, nil)
	slow.frame(ws.OpText, false, []byte("OPTIONS"))
	began := time.Now()
	if _, err := readFrame(slow); !errors.Is(err, io.EOF) || time.Since(began) > time.Second {
		t.Errorf("half a message: %v after %v", err, time.Since(began))
	}
	quiet := dialWS(t, at, nil)
	time.Sleep(700 * time.Millisecond)
	if err := wsutil.WriteClientMessage(quiet, ws.OpText, options(quiet.LocalAddr(), "late")); err != nil {
		t.Fatal(err)
	}
	quiet.expect(200, "late")
	began = time.Now()
	if _, err := readFrame(quiet); !errors.Is(err, io.EOF) || time.Since(began) < time.Second {
		t.Errorf("idle: %v after %v", err, time.Since(began))
	}
	if got := n.Counters.ConnTimedOut.Load(); got != 2 {
		t.Errorf("%d timed out", got)
	}
}

// TestWebSocketPings: a quiet WebSocket is pinged, one whose handshake is not over is not.
func TestWebSocketPings(t *testing.T) {
	n, at := startWS(t, transport.Options{PingEvery: 50 * time.Millisecond, HandshakeTime: 500 * time.Millisecond}, nil)
	half := dial(t, at)
	half.send([]byte("GET / HTTP/1.1\r\n"))
	b := dialWS(t, at, nil)
	for range 3 {
		if p, op := b.next(); op != ws.OpPing || len(p) > 0 {
			t.Fatalf("heard %v %q", op, p)
		}
		b.frame(ws.OpPong, true, nil)
	}
	if rest, _ := io.ReadAll(half); len(rest) > 0 {
		t.Errorf("before the end of the handshake %q", rest)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// FuzzWebSocket sends any bytes behind a good handshake: the connection ends, what is answered is whole frames, and the
// next connection is served.
func FuzzWebSocket(f *testing.F) {
	n := start(f, transport.Options{MessageTime: 200 * time.Millisecond, Idle: 200 * time.Millisecond}, nil)
	at, err := n.ListenWS(anyPort, nil)
	if err != nil {
		f.Fatal(err)
	}
	frame := func(op ws.OpCode, fin bool, p string) []byte {
		return ws.MustCompileFrame(ws.MaskFrameWith(ws.NewFrame(op, fin, []byte(p)), [4]byte{1, 2, 3, 4}))
	}
	whole := string(options(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5060}, "fuzz"))
	f.Add(frame(ws.OpText, true, whole))
	f.Add(append(frame(ws.OpBinary, false, whole[:20]), append(frame(ws.OpPing, true, "x"), frame(ws.OpContinuation, true, whole[20:])...)...))
	f.Add(frame(ws.OpClose, true, "\x03\xe8"))
	f.Add(append(frame(ws.OpText, true, "\r\n\r\n"), frame(ws.OpText, true, "")...))
	f.Add([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		conn, _, _, err := ws.Dialer{Protocols: []string{"sip"}}.Dial(t.Context(), "ws://"+at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write(b); err != nil {
			return // it has ended already
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		for {
			f, err := readFrame(conn)
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%v after %q", err, b)
			}
			if err != nil {
				return
			}
			if f.Header.Masked || !f.Header.Fin || f.Header.OpCode.IsReserved() {
				t.Fatalf("answered %+v", f.Header)
			}
		}
	})
}
