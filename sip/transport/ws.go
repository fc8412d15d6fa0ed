package transport

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"rollcall/sip"
)

// ListenWS opens the address for SIP over WebSocket (RFC 7118), over TLS with a
// configuration, and starts accepting. It returns the address bound. Any path and any
// origin will do: who sends something has to show a password, which no page has from its
// browser.
func (t *Transport) ListenWS(addr netip.AddrPort, secure *tls.Config) (netip.AddrPort, error) {
	t.pinging.Do(func() { t.wg.Go(t.pingAll) })
	if secure != nil {
		return t.listenStream(WSS, addr, secure)
	}
	return t.listenStream(WS, addr, nil)
}

// Framed reports a transport that keeps the bounds of messages by itself, with connections.
func (p Proto) framed() bool { return p == WS || p == WSS }

// pingAll pings every WebSocket from time to time (RFC 7118 §6): a browser can't, and what stands between
// forgets a connection on which nothing comes.
func (t *Transport) pingAll() {
	tick := time.NewTicker(t.o.PingEvery)
	defer tick.Stop()
	for {
		select {
		case <-t.closed:
			return
		case <-tick.C:
		}
		var all []*conn
		t.mu.RLock()
		for _, c := range t.conns {
			if c.upgraded.Load() {
				all = append(all, c)
			}
		}
		t.mu.RUnlock()
		for _, c := range all {
			_ = c.sendFrame(ws.OpPing, nil) // one that is gone is removed by who reads it
		}
	}
}

// upgradeBytes bounds the request that begins a WebSocket.
const upgradeBytes = 16 << 10

var errSubprotocol = ws.RejectConnectionError(ws.RejectionStatus(400), ws.RejectionReason("only the subprotocol sip is spoken here"))

// upgrade answers the request that begins a WebSocket (RFC 7118 §4.1).
func upgrade(nc net.Conn) error {
	chosen := false
	u := ws.Upgrader{
		Protocol: func(name []byte) bool {
			chosen = chosen || strings.EqualFold(string(name), "sip")
			return chosen
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if !chosen {
				return nil, errSubprotocol
			}
			return nil, nil
		},
	}
	_, err := u.Upgrade(struct {
		io.Reader
		io.Writer
	}{io.LimitReader(nc, upgradeBytes), nc})
	return err
}

// readFrames is read for WebSocket, of which each message is one of SIP (RFC 7118 §4.2).
func (c *conn) readFrames() {
	t := c.t
	r := bufio.NewReaderSize(c.nc, firstRead)
	var (
		m       sip.Message
		one     []byte    // the message that is coming
		kind    ws.OpCode // of it; ws.OpContinuation while none is
		partial time.Time // when it began
	)
	for {
		idle := t.o.Idle
		if partial.IsZero() {
			_ = c.nc.SetReadDeadline(time.Now().Add(idle))
		}
		h, err := ws.ReadHeader(r)
		if err == nil && partial.IsZero() {
			partial = time.Now()
			_ = c.nc.SetReadDeadline(partial.Add(t.o.MessageTime))
		}
		var code ws.StatusCode
		if err == nil {
			code = fault(h, kind, len(one), t.o.Limits.MessageBytes)
		}
		var control [ws.MaxControlFramePayloadSize]byte
		payload := control[:0]
		if err == nil && code == 0 {
			if n := int(h.Length); h.OpCode.IsControl() {
				payload = control[:n]
			} else {
				one = append(one, make([]byte, n)...)
				payload = one[len(one)-n:]
			}
			_, err = io.ReadFull(r, payload)
		}
		switch {
		case errors.Is(err, ws.ErrHeaderLengthMSB), errors.Is(err, ws.ErrHeaderLengthUnexpected):
			code = ws.StatusProtocolError
		case err != nil:
			if timedOut(err) {
				t.Counters.ConnTimedOut.Add(1)
			}
			return
		}
		ws.Cipher(payload, h.Mask, 0)
		switch {
		case code != 0:
		case h.OpCode == ws.OpClose:
			code = ws.StatusNormalClosure
		case h.OpCode == ws.OpPing:
			t.Counters.KeepAlive.Add(1)
			_ = c.sendFrame(ws.OpPong, payload)
		case h.OpCode.IsControl(): // a pong, to what we have not asked
		default:
			if h.OpCode != ws.OpContinuation {
				kind = h.OpCode
			}
			if !h.Fin {
				continue
			}
			if kind == ws.OpText && !utf8.Valid(one) { // RFC 6455 §8.1
				code = ws.StatusInvalidFramePayloadData
				break
			}
			c.serve(&m, one)
			one, kind, partial = one[:0], ws.OpContinuation, time.Time{}
			if cap(one) > busyRead {
				one = nil
			}
		}
		if code != 0 {
			_ = c.sendFrame(ws.OpClose, ws.NewCloseFrameBody(code, ""))
			c.linger()
			return
		}
		if kind == ws.OpContinuation {
			partial = time.Time{}
		}
	}
}

// fault says with what status a connection ends because of a frame (RFC 6455 §5.2, §5.4,
// §5.5, §7.4.1); 0 if it is good. Kind is that of the message that is coming, of which
// have bytes are there.
func fault(h ws.Header, kind ws.OpCode, have, most int) ws.StatusCode {
	switch {
	case !h.Masked, h.Rsv != 0, h.OpCode.IsReserved():
		return ws.StatusProtocolError
	case h.OpCode.IsControl():
		if !h.Fin || h.Length > ws.MaxControlFramePayloadSize {
			return ws.StatusProtocolError
		}
	case (h.OpCode == ws.OpContinuation) == (kind == ws.OpContinuation): // the rest of nothing, or another before the rest
		return ws.StatusProtocolError
	case h.Length > int64(most-have):
		return ws.StatusMessageTooBig
	}
	return 0
}

// serve hands a message on, or answers a keep-alive.
func (c *conn) serve(m *sip.Message, b []byte) {
	if len(b) <= 4 && strings.Trim(string(b), "\r\n") == "" {
		c.ping(len(b))
		return
	}
	c.crlf = 0
	t := turn{c: c, corked: c.cork()}
	if later := c.t.o.Later; later != nil && later(b) {
		t.await()
	}
	c.t.dispatch(m, b, c.flow)
	t.end()
	if t.corked {
		c.drain()
	}
}

// appendFrame appends b as a whole message, or a control frame (RFC 6455 §5.2).
func appendFrame(dst []byte, op ws.OpCode, b []byte) []byte {
	dst = append(dst, 0x80|byte(op))
	switch n := len(b); {
	case n <= 125:
		dst = append(dst, byte(n))
	case n <= 1<<16-1:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, b...)
}

// frameOf is how a message is sent: text where it is that, for browsers, which know no other.
func frameOf(b []byte) ws.OpCode {
	if utf8.Valid(b) {
		return ws.OpText
	}
	return ws.OpBinary
}
