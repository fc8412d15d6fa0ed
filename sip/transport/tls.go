package transport

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// ListenTLS opens the address for SIP over TLS (RFC 3261 §26.2.1) and starts accepting.
// It returns the address bound. A connection counts against the limits from its first
// byte on, and is closed if the handshake takes longer than Options.HandshakeTime.
func (t *Transport) ListenTLS(addr netip.AddrPort, secure *tls.Config) (netip.AddrPort, error) {
	return t.listenStream(TLS, addr, secure)
}

// handshake makes a connection that begins with one, or two, ready for reading. Of the reading goroutine.
func (c *conn) handshake() bool {
	secure, ok := c.nc.(*tls.Conn)
	if !ok && !c.flow.Proto.framed() {
		return true
	}
	_ = c.nc.SetDeadline(time.Now().Add(c.t.o.HandshakeTime))
	if ok && secure.Handshake() != nil {
		c.t.Counters.HandshakeFailed.Add(1)
		return false
	}
	if c.flow.Proto.framed() && upgrade(c.nc) != nil {
		c.t.Counters.HandshakeFailed.Add(1)
		c.linger() // for who reads why
		return false
	}
	_ = c.nc.SetDeadline(time.Time{})
	c.upgraded.Store(c.flow.Proto.framed())
	return true
}

// secure makes TLS of a connection to a target, or closes it. The certificate counts for the SIP domain
// and not for the host that it was found at (RFC 5922 §7.2).
func (t *Transport) secure(nc net.Conn, to Target) (net.Conn, error) {
	c := tls.Client(nc, &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: to.Domain,
		InsecureSkipVerify: true, // VerifyConnection does it, by the rules of SIP
		VerifyConnection:   func(s tls.ConnectionState) error { return to.verify(s.PeerCertificates) },
	})
	_ = c.SetDeadline(time.Now().Add(t.o.DialTime))
	if err := c.Handshake(); err != nil {
		t.Counters.HandshakeFailed.Add(1)
		_ = nc.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	return c, nil
}

func (to *Target) verify(chain []*x509.Certificate) error {
	o := x509.VerifyOptions{Roots: to.Roots, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(o); err != nil {
		return err
	}
	for _, domain := range Identities(chain[0]) {
		if strings.EqualFold(domain, to.Domain) {
			return nil
		}
	}
	return fmt.Errorf("the certificate is not for %s", to.Domain)
}

// Identities are the SIP domains that a certificate is for: those of its sip URIs, or without any its DNS
// names, among which wildcards count for nothing (RFC 5922 §7.1, §7.2).
func Identities(c *x509.Certificate) []string {
	var domains []string
	for _, u := range c.URIs {
		if strings.EqualFold(u.Scheme, "sip") && !strings.Contains(u.Opaque, "@") {
			domains = append(domains, u.Opaque)
		}
	}
	if len(domains) > 0 {
		return domains
	}
	return c.DNSNames
}

// bare is the connection below TLS. Closing that waits for nobody, while the other end of TLS would
// be told first, for which it has to read. It learns all that counts from the end of the stream, since
// SIP tells itself where a message ends.
func bare(nc net.Conn) net.Conn {
	if secure, ok := nc.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return nc
}
