package transport

import (
	"crypto/tls"
	"net"
	"net/netip"
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
	return true
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
