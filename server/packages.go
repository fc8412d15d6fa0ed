package server

import (
	"rollcall/config"
	"rollcall/event"
)

// packages are the event packages of this server.
func (s *Server) packages(*config.Config) []event.Package {
	return nil
}
