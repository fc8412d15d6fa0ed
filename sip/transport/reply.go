package transport

import (
	"net/netip"
	"strings"

	"rollcall/sip"
)

// defaultPort is what a Via without port means (RFC 3261 §18.2.2).
const defaultPort = 5060

// ReplyFlow returns the flow that the answers to a request take. Over a
// connection it is the connection (RFC 3261 §18.2.2). Over UDP the source
// address counts, never what the client wrote into received; its port with
// rport (RFC 3581 §4), else the port of sent-by. A maddr is followed only to
// the source's own address: elsewhere it would make the server a reflector.
func ReplyFlow(via sip.Via, f Flow) Flow {
	if f.Proto != UDP {
		return f
	}
	port := via.Port
	if port == 0 {
		port = defaultPort
	}
	if maddr, ok := via.Maddr(); ok {
		if a, err := netip.ParseAddr(strings.Trim(maddr, "[]")); err == nil && a.Unmap() == f.Remote.Addr() {
			f.Remote = netip.AddrPortFrom(f.Remote.Addr(), port)
			return f
		}
	}
	if !via.Rport() {
		f.Remote = netip.AddrPortFrom(f.Remote.Addr(), port)
	}
	return f
}
