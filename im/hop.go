package im

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/transport"
)

// hop is where a request is sent next.
type hop struct {
	flow     transport.Flow  // used when it is alive
	fallback transport.Flow  // when proto can't be had: the datagram that was too long
	proto    transport.Proto // how to reach remote when there is no flow
	remote   netip.AddrPort
	domain   string         // TLS: of the peer
	roots    *x509.CertPool // TLS
	uri      string         // Request-URI
	routes   []string
}

// defaultPort is SIP's (RFC 3261 §19.1.2).
const defaultPort = 5060

// hopOf tells how a binding is reached: by its Path (RFC 3327 §5.3), over the
// connection it was registered on (RFC 5626 §5.3), or at its contact.
func (r *Relay) hopOf(b *registrar.Binding) (hop, bool) {
	h := hop{uri: b.Contact, routes: b.Path}
	if len(b.Path) > 0 {
		a, err := sip.ParseAddress(b.Path[0])
		if err != nil {
			return h, false
		}
		return r.toURI(h, a.URI, b.Flow)
	}
	if b.Tied() {
		h.flow = b.Flow
		return h, r.o.Transport.Alive(b.Flow)
	}
	u, err := sip.ParseURI(b.Contact)
	a, literal := u.Addr()
	if b.Flow.Proto == transport.UDP && b.Direct && (b.RegID > 0 || err != nil || !literal || behindNAT(a, b.Flow.Remote.Addr())) {
		h.flow = b.Flow
		return h, r.o.Transport.Alive(b.Flow)
	}
	if err != nil {
		return h, false
	}
	return r.toAddr(h, u, a, literal, b.Flow)
}

// behindNAT reports the address of a contact that can't be reached as it stands, so that the
// source of the REGISTER is used: a private address that is not the source. So is a name, of which
// only the device knows the meaning, as with .invalid.
func behindNAT(a, source netip.Addr) bool {
	return a != source && (a.IsPrivate() || a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast())
}

// toURI fills in address and transport of a URI with an address in it. Names
// would need RFC 3263; those that the flow leads to are reached by it.
func (r *Relay) toURI(h hop, uri string, flow transport.Flow) (hop, bool) {
	u, err := sip.ParseURI(uri)
	if err != nil {
		return h, false
	}
	a, literal := u.Addr()
	return r.toAddr(h, u, a, literal, flow)
}

// toAddr is toURI with the URI parsed, and its host read as an address if it is one.
func (r *Relay) toAddr(h hop, u sip.URI, a netip.Addr, literal bool, flow transport.Flow) (hop, bool) {
	if !u.IsScheme("sip") {
		return h, false
	}
	if !literal {
		h.flow = flow
		return h, r.o.Transport.Alive(flow)
	}
	port := u.Port
	if port == 0 {
		port = defaultPort
	}
	h.remote = netip.AddrPortFrom(a, port)
	if maddr, ok := u.Param("maddr"); ok {
		m, err := netip.ParseAddr(strings.Trim(maddr, "[]"))
		if err != nil {
			return h, false
		}
		h.remote = netip.AddrPortFrom(m.Unmap(), port)
	}
	if !mayReach(h.remote.Addr(), flow.Remote.Addr()) {
		return h, false
	}
	h.proto = transport.UDP
	if t, ok := u.Param("transport"); ok {
		switch {
		case strings.EqualFold(t, "tcp"):
			h.proto = transport.TCP
		case strings.EqualFold(t, flow.Proto.URIParam()) && flow.Proto > transport.TCP:
			// Over TLS and WebSocket no device or edge proxy is connected to. The one that the REGISTER came from is reached
			// over its connection, which has another port there than the one that it names.
			h.flow = flow
			return h, flow.Remote.Addr() == h.remote.Addr() && r.o.Transport.Alive(flow)
		case !strings.EqualFold(t, "udp"):
			return h, false
		}
	}
	if h.proto == transport.UDP && flow.Proto == transport.UDP && flow.Local.IsValid() && flow.Remote.Addr().Is4() == a.Is4() {
		h.flow = flow // from the socket the device knows
		h.flow.Remote = h.remote
	}
	if h.proto == transport.TCP && flow.Proto == transport.TCP && flow.Remote == h.remote {
		h.flow = flow
	}
	return h, true
}

// mayReach refuses what no device is at: addresses of many hosts, and of this
// host when the REGISTER came from another one. Else a user could have this
// server send what the user wrote to whatever listens here for local programs
// alone, a store for instance.
func mayReach(a, from netip.Addr) bool {
	switch {
	case a.IsMulticast(), a.IsUnspecified(), a == broadcast:
		return false
	case a.IsLoopback():
		return !from.IsValid() || from.IsLoopback()
	}
	return true
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// flowOf returns a flow for the hop that is there already.
func (r *Relay) flowOf(h *hop) (transport.Flow, bool) {
	if !h.flow.IsZero() && r.o.Transport.Alive(h.flow) {
		return h.flow, true
	}
	if h.proto == transport.UDP {
		return r.o.Transport.UDPFlow(h.remote)
	}
	return transport.Flow{}, false
}

// connect makes the connection a hop needs. Where a long datagram was to move to
// TCP and the peer does not take it, it goes over UDP all the same (RFC 3261
// §18.1.1), and the peer is not asked again for a while.
func (r *Relay) connect(ctx context.Context, h *hop) (transport.Flow, error) {
	remote := h.remote
	if !remote.IsValid() {
		remote = h.fallback.Remote
	}
	flow, err := r.o.Transport.Dial(ctx, transport.Target{Proto: h.proto, Remote: remote, Domain: h.domain, Roots: h.roots})
	if err == nil || h.fallback.IsZero() {
		return flow, err
	}
	r.noTCP.add(remote)
	return h.fallback, nil
}

// refusals remembers peers that refused TCP, for a while and not too many.
type refusals struct {
	mu   sync.Mutex
	till map[netip.AddrPort]time.Time
}

const (
	refusalLife = 5 * time.Minute
	maxRefusals = 10_000
)

func (x *refusals) add(a netip.AddrPort) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.till == nil || len(x.till) >= maxRefusals {
		x.till = map[netip.AddrPort]time.Time{}
	}
	x.till[a] = time.Now().Add(refusalLife)
}

func (x *refusals) has(a netip.AddrPort) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	t, ok := x.till[a]
	if ok && time.Now().After(t) {
		delete(x.till, a)
		return false
	}
	return ok
}

// resolve turns host:port into an address. The full rules of RFC 3263 are not
// here: a peer is configured with its host.
func resolve(ctx context.Context, hostport string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(hostport); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("peer address %q: %w", hostport, err)
	}
	n, ok := sip.ParseUint(port)
	if !ok || n > 65535 {
		return netip.AddrPort{}, fmt.Errorf("peer address %q: bad port", hostport)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("resolve peer: %w", err)
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(n)), nil
}

// Reach gives then a flow for a request of so many bytes to a URI that a peer
// named over from: at once if there is one, else on a goroutine of its own, when
// it is made. False: there is no way. A long request moves to TCP as a MESSAGE
// does.
func (r *Relay) Reach(uri string, from transport.Flow, size int, then func(transport.Flow, bool)) {
	h, ok := r.toURI(hop{uri: uri}, uri, from)
	if !ok {
		then(transport.Flow{}, false)
		return
	}
	flow, ok := r.flowOf(&h)
	if ok && !flow.Proto.Stream() && size > maxDatagram && h.remote.IsValid() && !r.noTCP.has(flow.Remote) {
		h.proto, h.fallback, ok = transport.TCP, flow, false
	}
	if ok {
		then(flow, true)
		return
	}
	r.o.Go(func() {
		flow, err := r.connect(r.ctx, &h)
		then(flow, err == nil)
	})
}
