package server

import (
	"fmt"

	"rollcall/config"
	"rollcall/event"
	"rollcall/event/dialoginfo"
	"rollcall/event/messagesummary"
	"rollcall/event/watcherinfo"
	"rollcall/presence"
	"rollcall/registrar/reginfo"
	"rollcall/sip"
)

// packages are the event packages of this server.
func (s *Server) packages(cfg *config.Config) ([]event.Package, error) {
	publishers, err := publishersOf(cfg)
	if err != nil {
		return nil, err
	}
	rules := presence.NewRuleSets(presenceRules{s.documents})
	o := presence.Options{HardState: hardState{s.documents}, Rules: rules, Publishers: publishers}
	if cfg.Presence.RegistrationHint {
		o.Locations = s.registrar
	}
	return []event.Package{
		presence.New(o),
		watcherinfo.New(presence.Name),
		dialoginfo.New(dialoginfo.Options{Publishers: publishers}),
		messagesummary.New(messagesummary.Options{Queue: s.relay, Publishers: publishers}),
		reginfo.New(reginfo.Options{Locations: s.registrar}),
	}, nil
}

// publishersOf reads who may publish for every user.
func publishersOf(cfg *config.Config) (func(sip.AOR) bool, error) {
	all := map[sip.AOR]bool{}
	for _, p := range cfg.Presence.Publishers {
		aor, err := sip.ParseAORString(p)
		if err != nil {
			return nil, fmt.Errorf("[presence] publishers: %q: %w", p, err)
		}
		all[aor] = true
	}
	return func(aor sip.AOR) bool { return all[aor] }, nil
}
