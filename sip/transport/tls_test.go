package transport_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transport"
)

// secure starts a transport with a TLS listener, and gives its address and what a client needs.
func secure(t *testing.T, o transport.Options, change func(*tls.Config)) (*node, netip.AddrPort, *tls.Config) {
	t.Helper()
	cert := siptest.NewCertificate(t, nil, "example.com")
	cfg := &tls.Config{Certificates: []tls.Certificate{cert.Pair}, MinVersion: tls.VersionTLS12, ClientCAs: cert.Pool}
	if change != nil {
		change(cfg)
	}
	n := start(t, o, nil)
	at, err := n.ListenTLS(anyPort, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n, at, &tls.Config{RootCAs: cert.Pool, ServerName: "example.com", Certificates: []tls.Certificate{cert.Pair}}
}

func dialTLS(t *testing.T, to netip.AddrPort, cfg *tls.Config) *peer {
	t.Helper()
	c, err := tls.Dial("tcp", to.String(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &peer{c, t, bufio.NewReader(c)}
}

// TestTLS: what is spoken over TCP is spoken over TLS; the flow says so.
func TestTLS(t *testing.T) {
	flows := make(closings, 1)
	n, at, client := secure(t, transport.Options{Closed: flows.told}, nil)
	p := dialTLS(t, at, client)
	p.send([]byte("\r\n\r\n"))
	p.pong()
	for i := range 100 { // answers that are written by who is writing already
		p.send(bytes.Repeat(options(p.LocalAddr(), id(i)), 3))
	}
	for i := range 100 {
		for range 3 {
			p.expect(200, id(i))
		}
	}
	whole := options(p.LocalAddr(), "split")
	for _, b := range whole {
		p.send([]byte{b})
	}
	p.expect(200, "split")
	_ = p.CloseWrite()
	f := flows.next(t)
	if f.Proto != transport.TLS || f.Local != at || f.Remote != addrPort(p.LocalAddr()) {
		t.Errorf("flow %+v", f)
	}
	if got := n.SentBy(f); got != at {
		t.Errorf("sent-by %s, want the listener %s", got, at)
	}
	if tcp := (transport.Flow{Proto: transport.TCP, Local: netip.AddrPortFrom(at.Addr(), 1), Remote: f.Remote}); n.SentBy(tcp) != n.tcp {
		t.Errorf("a connection of ours says %s, want the TCP listener %s", n.SentBy(tcp), n.tcp)
	}
	if got := n.Counters.HandshakeFailed.Load(); got != 0 {
		t.Errorf("%d handshakes failed", got)
	}
}

// CloseWrite ends what the peer sends.
func (p *peer) CloseWrite() error { return p.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// TestTLSSending: what is sent over the flow arrives, from several at once.
func TestTLSSending(t *testing.T) {
	heard := make(chan transport.Flow, 1)
	cert := siptest.NewCertificate(t, nil, "example.com")
	n := start(t, transport.Options{}, func(m *sip.Message, f transport.Flow) { heard <- f })
	at, err := n.ListenTLS(anyPort, &tls.Config{Certificates: []tls.Certificate{cert.Pair}})
	if err != nil {
		t.Fatal(err)
	}
	p := dialTLS(t, at, &tls.Config{RootCAs: cert.Pool, ServerName: "example.com"})
	p.send(options(p.LocalAddr(), "hello"))
	f := <-heard
	const each = 200
	for g := range 4 {
		go func() {
			for i := range each {
				if err := n.Send(f, options(p.LocalAddr(), id(g, i))); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	seen := map[string]bool{}
	for range 4 * each {
		seen[p.next().Via().Branch] = true
	}
	if len(seen) != 4*each {
		t.Errorf("%d of %d messages arrived", len(seen), 4*each)
	}
	if !n.Alive(f) {
		t.Error("the flow is gone")
	}
	p.Close()
	until(t, "the flow ends with the connection", func() bool { return !n.Alive(f) })
	if n.Send(f, []byte("x")) == nil {
		t.Error("sent over a flow that is gone")
	}
}

// TestTLSFramingError: the last answer arrives before the end, though the connection is ended by us.
func TestTLSFramingError(t *testing.T) {
	_, at, client := secure(t, transport.Options{}, nil)
	p := dialTLS(t, at, client)
	b := bytes.Replace(options(p.LocalAddr(), "bad"), []byte("Content-Length: 0"), []byte("Content-Length: x"), 1)
	p.send(append(b, bytes.Repeat([]byte("what follows can't be found "), 100)...))
	p.expect(400, "bad")
	p.closed()
}

// TestHandshake: strangers that speak no TLS, none of our versions, nothing at all or have no certificate end in the handshake.
func TestHandshake(t *testing.T) {
	n, at, client := secure(t, transport.Options{HandshakeTime: 300 * time.Millisecond, MaxConnections: 3}, func(c *tls.Config) {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	})
	failed := func(what string, count uint64) {
		t.Helper()
		until(t, what, func() bool { return n.Counters.HandshakeFailed.Load() == count && n.Connections() == 0 })
	}
	plain := dial(t, at)
	plain.send(options(plain.LocalAddr(), "plain"))
	_, _ = io.ReadAll(plain) // an alert, perhaps
	failed("plain SIP", 1)

	var silent []net.Conn
	for range 3 {
		silent = append(silent, dial(t, at))
	}
	until(t, "three are counted", func() bool { return n.Connections() == 3 })
	dial(t, at).closed()
	for _, c := range silent {
		_, _ = io.ReadAll(c)
	}
	failed("silence", 4)

	old := client.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if c, err := tls.Dial("tcp", at.String(), old); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
	failed("an old version", 5)

	for i, certs := range [][]tls.Certificate{nil, {siptest.NewCertificate(t, nil).Pair}} {
		nobody := client.Clone()
		nobody.Certificates = certs
		if c, err := tls.Dial("tcp", at.String(), nobody); err == nil { // TLS 1.3 tells the client later
			if _, err := io.ReadAll(c); err == nil {
				t.Error("who has no certificate of ours is let in")
			}
			c.Close()
		}
		failed("a client without a certificate", uint64(6+i))
	}

	p := dialTLS(t, at, client)
	p.send(options(p.LocalAddr(), "known"))
	p.expect(200, "known")
	time.Sleep(400 * time.Millisecond) // the handshake's deadline is no deadline of the connection
	p.send(options(p.LocalAddr(), "later"))
	p.expect(200, "later")
}

// TestTLSPeerDoesNotRead: who does not read is closed, and who sends to it does not wait.
func TestTLSPeerDoesNotRead(t *testing.T) {
	heard := make(chan transport.Flow, 1)
	cert := siptest.NewCertificate(t, nil, "example.com")
	n := start(t, transport.Options{MaxQueue: 256 << 10, WriteTime: time.Minute}, func(m *sip.Message, f transport.Flow) { heard <- f })
	at, err := n.ListenTLS(anyPort, &tls.Config{Certificates: []tls.Certificate{cert.Pair}})
	if err != nil {
		t.Fatal(err)
	}
	p := dialTLS(t, at, &tls.Config{RootCAs: cert.Pool, ServerName: "example.com"})
	p.send(options(p.LocalAddr(), "hello"))
	f := <-heard
	big := append(options(p.LocalAddr(), "big"), make([]byte, 32<<10)...)
	began := time.Now()
	for i := 0; n.Send(f, big) == nil; i++ {
		if i > 10_000 {
			t.Fatal("everything is taken")
		}
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("sending waited %v", took)
	}
	until(t, "the connection ends", func() bool { return !n.Alive(f) && n.Connections() == 0 })
}

// TestDialTLS: a connection is made to a domain that its certificate is for, once for each target.
func TestDialTLS(t *testing.T) {
	cert := siptest.NewCertificate(t, nil, "example.com", "*.example.net")
	uri := siptest.NewCertificate(t, func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "sip", Opaque: "example.org"}} }, "example.com")
	b := start(t, transport.Options{}, nil)
	at, err := b.ListenTLS(anyPort, &tls.Config{Certificates: []tls.Certificate{cert.Pair}})
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.ListenTLS(anyPort, &tls.Config{Certificates: []tls.Certificate{uri.Pair}})
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan string, 10)
	a := start(t, transport.Options{DialTime: time.Second}, func(m *sip.Message, f transport.Flow) {
		if m.Check() == nil && f.Proto == transport.TLS {
			answers <- m.Via().Branch
		}
	})
	to := transport.Target{Proto: transport.TLS, Remote: at, Domain: "Example.com", Roots: cert.Pool}
	f, err := a.Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.Dial(t.Context(), to); err != nil || again != f {
		t.Errorf("another connection to the same target: %+v, %v", again, err)
	}
	if err := a.Send(f, options(net.TCPAddrFromAddrPort(f.Local), "over")); err != nil {
		t.Fatal(err)
	}
	if got := <-answers; got != "z9hG4bKover" {
		t.Errorf("answer to %s", got)
	}
	if g, err := a.Dial(t.Context(), transport.Target{Proto: transport.TLS, Remote: other, Domain: "example.org", Roots: uri.Pool}); err != nil || g == f {
		t.Errorf("by the sip URI of a certificate: %v", err)
	}
	for name, to := range map[string]transport.Target{
		"another domain":        {Domain: "example.org", Remote: at, Roots: cert.Pool},
		"a wildcard":            {Domain: "sip.example.net", Remote: at, Roots: cert.Pool},
		"a name beside the URI": {Domain: "example.com", Remote: other, Roots: uri.Pool},
		"an unknown authority":  {Domain: "example.com", Remote: at, Roots: uri.Pool},
		"no authority":          {Domain: "example.com", Remote: at},
		"no TLS there":          {Domain: "example.com", Remote: b.tcp, Roots: cert.Pool},
	} {
		to.Proto = transport.TLS
		if f, err := a.Dial(t.Context(), to); err == nil {
			t.Errorf("%s: connected by %s", name, f)
		}
	}
	until(t, "what failed is closed", func() bool { return a.Connections() == 2 && b.Connections() == 2 })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the flow ends with the connection", func() bool { return !a.Alive(f) })
	if _, err := a.Dial(t.Context(), to); err == nil {
		t.Error("connected to nobody")
	}
}
