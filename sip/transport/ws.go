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
	in := incoming{c: c, r: bufio.NewReaderSize(c.nc, firstRead)}
	for {
		h, payload, code, err := in.next()
		if err != nil {
			if timedOut(err) {
				c.t.Counters.ConnTimedOut.Add(1)
			}
			return
		}
		if code == 0 {
			code = in.take(h, payload)
		}
		if code != 0 {
			_ = c.sendFrame(ws.OpClose, ws.NewCloseFrameBody(code, ""))
			c.linger()
			return
		}
	}
}

// incoming is the read side of a WebSocket.
type incoming struct {
	c       *conn
	r       *bufio.Reader
	m       sip.Message
	control [ws.MaxControlFramePayloadSize]byte

	one  []byte    // the message that is coming, as far as it is there
	kind ws.OpCode // of it; ws.OpContinuation while none is
}

// next reads a frame. Its payload is a part of the message that is coming, or that of a control frame. A
// code says why the connection ends.
func (in *incoming) next() (h ws.Header, payload []byte, code ws.StatusCode, err error) {
	c, o := in.c, &in.c.t.o
	if in.kind == ws.OpContinuation {
		_ = c.nc.SetReadDeadline(time.Now().Add(o.Idle))
	}
	h, err = ws.ReadHeader(in.r)
	switch {
	case errors.Is(err, ws.ErrHeaderLengthMSB), errors.Is(err, ws.ErrHeaderLengthUnexpected):
		return h, nil, ws.StatusProtocolError, nil
	case err != nil:
		return h, nil, 0, err
	}
	if in.kind == ws.OpContinuation {
		_ = c.nc.SetReadDeadline(time.Now().Add(o.MessageTime)) // of the whole message, if it is the first of one
	}
	if code = fault(h, in.kind, len(in.one), o.Limits.MessageBytes); code != 0 {
		return h, nil, code, nil
	}
	n := int(h.Length)
	if h.OpCode.IsControl() {
		payload = in.control[:n]
	} else {
		in.one = append(in.one, make([]byte, n)...)
		payload = in.one[len(in.one)-n:]
	}
	_, err = io.ReadFull(in.r, payload)
	ws.Cipher(payload, h.Mask, 0)
	return h, payload, 0, err
}

// take does what a good frame asks for.
func (in *incoming) take(h ws.Header, payload []byte) (code ws.StatusCode) {
	switch {
	case h.OpCode == ws.OpClose:
		return ws.StatusNormalClosure
	case h.OpCode == ws.OpPing:
		in.c.t.Counters.KeepAlive.Add(1)
		_ = in.c.sendFrame(ws.OpPong, payload)
		return 0
	case h.OpCode.IsControl(): // a pong
		return 0
	case h.OpCode != ws.OpContinuation:
		in.kind = h.OpCode
	}
	if !h.Fin {
		return 0
	}
	if in.kind == ws.OpText && !utf8.Valid(in.one) { // RFC 6455 §8.1
		return ws.StatusInvalidFramePayloadData
	}
	in.c.serve(&in.m, in.one)
	in.one, in.kind = in.one[:0], ws.OpContinuation
	if cap(in.one) > busyRead {
		in.one = nil
	}
	return 0
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
