package server

import (
	"net/netip"
	"strings"

	"rollcall/sip"
)

// ours reports whether a URI's host is a domain or an address of this server.
func (s *Server) ours(u sip.URI) bool {
	for _, d := range s.domains {
		if strings.EqualFold(u.Host, d) {
			return true
		}
	}
	if a, ok := u.Addr(); ok {
		return s.isLocal(a)
	}
	return false
}

// isLocal reports an address that one of our listeners answers at.
func (s *Server) isLocal(a netip.Addr) bool {
	for _, l := range s.listens {
		if l == a {
			return true
		}
	}
	return false
}

// ownRoutes counts the Route values in front that name this server; they are
// taken off (RFC 3261 §16.4). A Route that goes on to elsewhere is refused: this
// server relays to its own users and to peers.
func (s *Server) ownRoutes(m *sip.Message) (int, *sip.Error) {
	own, foreign := 0, false
	err := m.EachItem(sip.HeaderRoute, func(item string) bool {
		a, err := sip.ParseAddress(item)
		if err != nil {
			foreign = true
			return false
		}
		u, err := sip.ParseURI(a.URI)
		if err != nil || !s.ours(u) {
			foreign = true
			return false
		}
		own++
		return true
	})
	if err != nil {
		return 0, sip.NewError(sip.StatusBadRequest, "Malformed Route")
	}
	if foreign {
		return 0, sip.NewError(sip.StatusForbidden, "Route leads to another server")
	}
	return own, nil
}

// listensAt reports an address and port of our own.
func (s *Server) listensAt(a netip.AddrPort) bool {
	b := s.bound.Load()
	if b == nil || !s.isLocal(a.Addr()) {
		return false
	}
	for _, at := range b.at {
		if at.Port() == a.Port() && (at.Addr().IsUnspecified() || at.Addr() == a.Addr()) {
			return true
		}
	}
	return false
}
