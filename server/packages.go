package server

import (
	"rollcall/config"
	"rollcall/event"
	"rollcall/presence"
)

// packages are the event packages of this server.
func (s *Server) packages(*config.Config) []event.Package {
	return []event.Package{
		presence.New(presence.Options{Locations: s.registrar, HardState: hardState{s.documents}}),
	}
}
