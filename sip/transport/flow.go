package transport

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"
)

// Proto is a transport protocol as Via and URIs name it.
type Proto uint8

// The transports of RFC 3261 §18 and RFC 7118.
const (
	UDP Proto = iota + 1
	TCP
	TLS
	WS
	WSS

	// Program is no transport: what is sent over such a flow stays in this process,
	// for the part of it that made the flow. No socket gives one, none is read from
	// the store, and a Transport sends nothing over it.
	Program Proto = 0x80
)

// String returns the name in Via (upper case).
func (p Proto) String() string {
	switch p {
	case UDP:
		return "UDP"
	case TCP:
		return "TCP"
	case TLS:
		return "TLS"
	case WS:
		return "WS"
	case WSS:
		return "WSS"
	case Program:
		return "PROGRAM"
	}
	return "NONE"
}

// Param returns the name in configuration and logs (lower case).
func (p Proto) Param() string {
	switch p {
	case UDP:
		return "udp"
	case TCP:
		return "tcp"
	case TLS:
		return "tls"
	case WS:
		return "ws"
	case WSS:
		return "wss"
	case Program:
		return "program"
	}
	return ""
}

// URIParam returns the value of the transport parameter of a URI that leads over it. WebSocket has one, over TLS
// or not (RFC 7118 §5.2).
func (p Proto) URIParam() string {
	if p == WSS {
		p = WS
	}
	return p.Param()
}

// Stream reports a transport with connections.
func (p Proto) Stream() bool { return p > UDP }

// Flow is the way over which a peer was heard and is reached (RFC 5626 §3.1).
// Flows are comparable; the zero Flow leads nowhere. A UDP flow is its pair of
// addresses and outlives a restart; a connection's flow carries the number of
// the connection and of the process that accepted it, and ends with either.
type Flow struct {
	Proto  Proto
	Boot   uint32 // process; 0 for UDP
	Conn   uint64 // connection; 0 for UDP
	Local  netip.AddrPort
	Remote netip.AddrPort
}

// IsZero reports a flow that leads nowhere.
func (f Flow) IsZero() bool { return f.Proto == 0 }

// String is for logs and records: "udp 192.0.2.1:5060".
func (f Flow) String() string {
	if f.IsZero() {
		return "none"
	}
	b := make([]byte, 0, 64)
	b = append(append(b, f.Proto.Param()...), ' ')
	return string(f.Remote.AppendTo(b))
}

// flowVersion begins the stored form of a flow.
const flowVersion = 1

var errFlow = errors.New("malformed flow")

// AppendBinary appends the stored form.
func (f Flow) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, flowVersion, byte(f.Proto))
	dst = binary.AppendUvarint(dst, uint64(f.Boot))
	dst = binary.AppendUvarint(dst, f.Conn)
	dst = appendAddr(dst, f.Local)
	return appendAddr(dst, f.Remote), nil
}

func appendAddr(dst []byte, a netip.AddrPort) []byte {
	ip := a.Addr().AsSlice() // nil when a is not valid
	dst = append(dst, byte(len(ip)))
	dst = append(dst, ip...)
	return binary.BigEndian.AppendUint16(dst, a.Port())
}

// UnmarshalBinary reads the stored form.
func (f *Flow) UnmarshalBinary(b []byte) error {
	if len(b) < 2 || b[0] != flowVersion || b[1] > byte(WSS) {
		return errFlow
	}
	g := Flow{Proto: Proto(b[1])}
	b = b[2:]
	boot, n := binary.Uvarint(b)
	if n <= 0 || boot > 1<<32-1 {
		return errFlow
	}
	b = b[n:]
	g.Boot = uint32(boot)
	if g.Conn, n = binary.Uvarint(b); n <= 0 {
		return errFlow
	}
	b = b[n:]
	var ok bool
	if g.Local, b, ok = cutAddr(b); !ok {
		return errFlow
	}
	if g.Remote, b, ok = cutAddr(b); !ok || len(b) != 0 {
		return errFlow
	}
	*f = g
	return nil
}

func cutAddr(b []byte) (netip.AddrPort, []byte, bool) {
	if len(b) < 3 || b[0] != 0 && b[0] != 4 && b[0] != 16 || len(b) < 1+int(b[0])+2 {
		return netip.AddrPort{}, b, false
	}
	n := int(b[0])
	ip, _ := netip.AddrFromSlice(b[1 : 1+n])
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[1+n:])), b[3+n:], true
}

// Tokens turns flows into opaque strings that may leave the server, as in the
// user part of a Path URI (RFC 5626 §5.2), and back. Only tokens made with the
// same key are taken.
type Tokens struct{ key []byte }

// NewTokens uses key, at least 16 bytes, for signing.
func NewTokens(key []byte) *Tokens { return &Tokens{key: append([]byte(nil), key...)} }

const tokenMAC = 10 // bytes of the HMAC kept: RFC 5626 §5.2 uses 80 bits

// Token returns the signed, URI-safe form of a flow.
func (t *Tokens) Token(f Flow) string {
	b, _ := f.AppendBinary(make([]byte, 0, 64)) // never fails
	return base64.RawURLEncoding.EncodeToString(append(b, t.mac(b)...))
}

// Flow verifies a token and returns its flow.
func (t *Tokens) Flow(token string) (Flow, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) <= tokenMAC {
		return Flow{}, errFlow
	}
	body, mac := b[:len(b)-tokenMAC], b[len(b)-tokenMAC:]
	if !hmac.Equal(mac, t.mac(body)) {
		return Flow{}, errFlow
	}
	var f Flow
	return f, f.UnmarshalBinary(body)
}

func (t *Tokens) mac(b []byte) []byte {
	h := hmac.New(sha256.New, t.key)
	h.Write(b)
	return h.Sum(nil)[:tokenMAC]
}
