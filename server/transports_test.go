package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"rollcall/config"
	"rollcall/sip"
	"rollcall/sip/siptest"
)

// overTLS adds a listener with the certificate.
func overTLS(cert *siptest.Certificate) func(*config.Config) {
	return func(c *config.Config) {
		c.Listen = append(c.Listen, config.Listen{Address: "127.0.0.1:0", Transport: "tls", CertFile: cert.CertFile, KeyFile: cert.KeyFile})
	}
}

// TestOverTLS: a device over TLS registers, sends and is sent to, watches and is told; when its connection ends its
// binding goes, and what comes meanwhile waits.
func TestOverTLS(t *testing.T) {
	cert := siptest.NewCertificate(t, nil, "example.com")
	h := start(t, overTLS(cert))
	h.roots = cert.Pool
	alice, bob := h.client("alice", "TLS"), h.client("bob", "UDP")
	alice.register("")
	bob.register("")

	bob.send(bob.authorized("MESSAGE", "sip:alice@example.com", "over TLS", "Content-Type: text/plain"))
	m := alice.answer(200)
	if via := m.Via(); m.Body() != "over TLS" || via.Transport != "TLS" || int(via.Port) != h.Addrs()[2].(*net.TCPAddr).Port {
		t.Errorf("alice got\n%s", m.Raw())
	}
	if m := bob.next(15 * time.Second); m == nil || m.Status() != 200 {
		t.Fatalf("bob got %v", m)
	}
	alice.send(alice.authorized("MESSAGE", "sip:bob@example.com", "from TLS", "Content-Type: text/plain"))
	if m := bob.answer(200); m.Body() != "from TLS" {
		t.Errorf("bob got\n%s", m.Raw())
	}
	if m := alice.next(15 * time.Second); m == nil || m.Status() != 200 {
		t.Fatalf("alice got %v", m)
	}

	w := h.watch("alice", "TLS", "sip:bob@example.com")
	w.sees("bob")

	_ = alice.conn.Close()
	eventually(t, "the binding is gone", func() bool {
		list, err := h.registrar.Lookup(t.Context(), aor(t, "alice"))
		return err == nil && len(list) == 0
	})
	bob.want(202, "MESSAGE", "sip:alice@example.com", "later", "Content-Type: text/plain")
	again := h.client("alice", "TLS")
	again.register("")
	if m := again.answer(200); m.Body() != "later" {
		t.Errorf("alice got\n%s", m.Raw())
	}
}

// TestOverWebSocket: a browser's user agent, whose Contact is a name that nobody can look up and whose requests have no
// Content-Length, talks with devices on other transports.
func TestOverWebSocket(t *testing.T) {
	h := start(t, func(c *config.Config) {
		c.Listen = append(c.Listen, config.Listen{Address: "127.0.0.1:0", Transport: "ws"})
	})
	alice, bob := h.client("alice", "WS"), h.client("bob", "TCP")
	contact := "Contact: <sip:u4kd7@df7jal23ls0d.invalid;transport=ws>;reg-id=1;+sip.instance=\"<urn:uuid:f81-7dec-14a06cf1>\""
	measured := func(text string) string {
		head, body, _ := strings.Cut(text, "\r\n\r\n")
		head, _, _ = strings.Cut(head, "\r\nContent-Length:")
		return strings.Replace(head, alice.conn.LocalAddr().String(), "df7jal23ls0d.invalid", 1) + "\r\n\r\n" + body
	}
	if m := alice.ask(measured(alice.authorized("REGISTER", "sip:example.com", "", contact, "Supported: path, outbound"))); m.Status() != 200 {
		t.Fatalf("REGISTER: %s", m.Raw())
	}
	bob.register("")
	bob.send(bob.authorized("MESSAGE", "sip:alice@example.com", "to the browser: 漢字", "Content-Type: text/plain;charset=utf-8"))
	m := alice.answer(200)
	if via := m.Via(); m.Body() != "to the browser: 漢字" || via.Transport != "WS" || !strings.Contains(m.RequestURI(), "df7jal23ls0d.invalid") {
		t.Errorf("alice got\n%s", m.Raw())
	}
	if m := bob.next(15 * time.Second); m == nil || m.Status() != 200 {
		t.Fatalf("bob got %v", m)
	}
	alice.send(measured(alice.authorized("MESSAGE", "sip:bob@example.com", "from the browser", "Content-Type: text/plain")))
	if m := bob.answer(200); m.Body() != "from the browser" {
		t.Errorf("bob got\n%s", m.Raw())
	}
	if m := alice.next(15 * time.Second); m == nil || m.Status() != 200 {
		t.Fatalf("alice got %v", m)
	}
	w := h.watch("alice", "WS", "sip:bob@example.com")
	if m := w.sees("bob"); !strings.Contains(m.Get(sip.HeaderContact), ";transport=ws>") {
		t.Errorf("NOTIFY\n%s", m.Raw())
	}
	_ = alice.conn.Close()
	eventually(t, "the binding is gone", func() bool {
		list, err := h.registrar.Lookup(t.Context(), aor(t, "alice"))
		return err == nil && len(list) == 0
	})
}

// TestCertificateRenewed: a reload takes a renewed certificate for connections that come then, keeps those that are
// there, and keeps the one it has when the new one is not good.
func TestCertificateRenewed(t *testing.T) {
	first := siptest.NewCertificate(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) }, "example.com")
	core, seen := observer.New(zapcore.WarnLevel)
	c := testConfig(t, overTLS(first))
	h := startWith(t, c, zap.New(core))
	logged := func(message string) bool {
		return slices.ContainsFunc(seen.TakeAll(), func(e observer.LoggedEntry) bool { return e.Message == message })
	}
	if !logged("certificate expires soon") {
		t.Error("an hour before the end nothing is said of it")
	}
	shown := func() *big.Int {
		conn, err := tls.Dial("tcp", h.Addrs()[2].String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber
	}
	h.roots = first.Pool
	alice := h.client("alice", "TLS")
	alice.register("")

	second := siptest.NewCertificate(t, nil, "example.com")
	renew := func(cert, key string) {
		for from, to := range map[string]string{cert: first.CertFile, key: first.KeyFile} {
			b, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Reload(c); err != nil {
			t.Fatal(err)
		}
	}
	renew(second.CertFile, second.KeyFile)
	if got := shown(); got.Cmp(second.Pair.Leaf.SerialNumber) != 0 {
		t.Errorf("serial number %d, want that of the new certificate", got)
	}
	if got := int64(h.certificateEnd()); got != second.Pair.Leaf.NotAfter.Unix() {
		t.Errorf("expires %d, want %d", got, second.Pair.Leaf.NotAfter.Unix())
	}
	renew(first.CertFile, siptest.NewCertificate(t, nil).KeyFile)
	if !logged("certificate stays as it was") {
		t.Error("a key of another certificate is not complained about")
	}
	if got := shown(); got.Cmp(second.Pair.Leaf.SerialNumber) != 0 {
		t.Errorf("serial number %d, want that of the last good certificate", got)
	}
	alice.register("")
}

// TestCertificateFaults: a server whose certificates are not good does not start, and says of each what is wrong.
func TestCertificateFaults(t *testing.T) {
	good, other := siptest.NewCertificate(t, nil, "example.com"), siptest.NewCertificate(t, nil)
	for name, change := range map[string]struct {
		do   func(*config.Listen)
		want string
	}{
		"key of another": {func(l *config.Listen) { l.KeyFile = other.KeyFile }, other.KeyFile + ": tls: private key does not match public key"},
		"no file":        {func(l *config.Listen) { l.CertFile = "/nowhere/cert.pem" }, "/nowhere/cert.pem"},
		"key as CA":      {func(l *config.Listen) { l.ClientCAFile = good.KeyFile }, "has no certificate in PEM"},
	} {
		c := testConfig(t, overTLS(good))
		change.do(&c.Listen[2])
		if _, err := New(c, zap.NewNop()); err == nil {
			t.Fatalf("%s: the server starts", name)
		} else if !strings.Contains(err.Error(), change.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPeerOverTLS: a message to the domain of a peer goes there over TLS, if its certificate is for the domain.
func TestPeerOverTLS(t *testing.T) {
	cert := siptest.NewCertificate(t, nil, "partner.example")
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert.Pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan *sip.Message, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				peer := &client{t: t, proto: "TLS", conn: conn, in: heard}
				stream, b := bufio.NewReader(conn), make([]byte, 64<<10)
				for {
					n, err := readMessage(stream, b)
					if err != nil {
						return
					}
					m := new(sip.Message)
					if m.Parse(bytes.Clone(b[:n])) == nil && m.Check() == nil {
						heard <- m
						peer.send(string(reply(m, 200)))
					}
				}
			}()
		}
	}()
	h := start(t, func(c *config.Config) {
		for _, domain := range []string{"partner.example", "other.example"} {
			c.Peer = append(c.Peer, config.Peer{Name: domain, Domain: domain, Address: l.Addr().String(), Transport: "tls", CAFile: cert.CertFile})
		}
	})
	alice := h.client("alice", "UDP")
	for _, text := range []string{"first", "over the same connection"} {
		alice.want(200, "MESSAGE", "sip:carol@partner.example", text, "Content-Type: text/plain")
		if m := <-heard; m.Body() != text || m.Via().Transport != "TLS" || m.RequestURI() != "sip:carol@partner.example" {
			t.Errorf("the peer got\n%s", m.Raw())
		}
	}
	alice.want(504, "MESSAGE", "sip:carol@other.example", "to another domain", "Content-Type: text/plain")
	if len(heard) > 0 {
		t.Errorf("a server without a certificate for the domain got\n%s", (<-heard).Raw())
	}
}

// TestEdgeProxyOverTLS: a device that registered through a proxy over TLS is reached over that proxy's connection, by its
// Path (RFC 3327 §5.3), though the proxy names the port that it listens at.
func TestEdgeProxyOverTLS(t *testing.T) {
	cert := siptest.NewCertificate(t, nil, "example.com")
	h := start(t, overTLS(cert))
	h.roots = cert.Pool
	edge, bob := h.client("alice", "TLS"), h.client("bob", "UDP")
	edge.want(200, "REGISTER", "sip:example.com", "", "Contact: <sip:alice@192.0.2.7>", "Expires: 600", "Supported: path", "Path: <sip:127.0.0.1:5061;transport=tls;lr>",
		"Via: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bKedge, SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKphone")
	bob.send(bob.authorized("MESSAGE", "sip:alice@example.com", "through the edge", "Content-Type: text/plain"))
	if m := edge.answer(200); m.Body() != "through the edge" || m.RequestURI() != "sip:alice@192.0.2.7" || !strings.Contains(m.Raw(), "Route: <sip:127.0.0.1:5061;transport=tls;lr>") {
		t.Errorf("the edge got\n%s", m.Raw())
	}
	if m := bob.next(15 * time.Second); m == nil || m.Status() != 200 {
		t.Fatalf("bob got %v", m)
	}
}
