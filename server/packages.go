package server

import (
	"fmt"

	"rollcall/config"
	"rollcall/event"
	"rollcall/event/conferenceinfo"
	"rollcall/event/dialoginfo"
	"rollcall/event/messagesummary"
	"rollcall/event/watcherinfo"
	"rollcall/policy/presrules"
	"rollcall/presence"
	"rollcall/registrar/reginfo"
	"rollcall/sip"
	"rollcall/xcap/xcapdiff"
)

// packages are the event packages of this server.
func (s *Server) packages(cfg *config.Config) ([]event.Package, error) {
	publishers, err := publishersOf(cfg)
	if err != nil {
		return nil, err
	}
	s.publishers = publishers
	documents, err := xcapdiff.New(s.documents, "http://"+cfg.HTTP.Address+"/xcap/")
	if err != nil {
		return nil, fmt.Errorf("[http] address: %w", err)
	}
	rules := presence.NewRuleSets(presenceRules{s.documents}, presence.Policy{
		Colleague:  func(watcher sip.AOR) bool { return s.directory.Serves(watcher.Domain()) },
		Colleagues: presrules.HandlingOf(cfg.Presence.Colleagues), Others: presrules.HandlingOf(cfg.Presence.Others),
	})
	o := presence.Options{HardState: hardState{s.documents}, Rules: rules, Publishers: publishers}
	if cfg.Presence.RegistrationHint {
		o.Locations = s.registrar
	}
	return []event.Package{
		presence.New(o),
		watcherinfo.New(presence.Name),
		dialoginfo.New(dialoginfo.Options{Publishers: publishers, Rules: rules, Full: s.colleagues}),
		conferenceinfo.New(conferenceinfo.Options{Publishers: publishers, Rules: rules}),
		documents,
		messagesummary.New(messagesummary.Options{Queue: s.relay, Publishers: publishers}),
		reginfo.New(reginfo.Options{Locations: s.registrar, GRUUs: s.gruus}),
	}, nil
}

// colleagues reports accounts of the company: of those whom the rules let in, they
// see each other's calls as lamps on a phone show them, and others only that there
// are some.
func (s *Server) colleagues(_, watcher sip.AOR) bool { return s.directory.Serves(watcher.Domain()) }

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
