package server

import (
	"context"
	"os"
	"time"

	"go.uber.org/zap"

	"rollcall/config"
	"rollcall/policy"
	"rollcall/sip"
)

// actPolicy is the action of the record of rules that took effect.
const actPolicy = "policy"

// party is what rules want to know of an account or a stranger.
func (s *Server) party(a sip.AOR) policy.Party {
	p := policy.Party{AOR: a.String()}
	if s.directory.Serves(a.Domain()) {
		known, _ := s.directory.Known(s.ctx, a)
		p.Unit, p.Groups = known.Unit(), known.Groups()
	}
	return p
}

// parties implements im.Options.Parties.
func (s *Server) parties(from, to sip.AOR) (policy.Party, policy.Party) {
	return s.party(from), s.party(to)
}

// apart implements event.Options.Apart.
func (s *Server) apart(_ context.Context, watcher, resource sip.AOR) string {
	rules := s.rules.Load()
	if !rules.Separates() {
		return ""
	}
	return rules.Between(s.party(watcher), s.party(resource))
}

// loadPolicy puts the rules of the configuration in force. With a fault in the
// file the rules stay as they are.
func (s *Server) loadPolicy(cfg *config.Config) {
	rules, err := loadRules(cfg)
	if err != nil {
		s.counters.policyFaults.Inc()
		s.log.Error("policy is not good; the rules stay as they were", zap.Error(err))
		return
	}
	old := s.rules.Load()
	if rules.Version() == old.Version() && cfg.Policy == s.cfg.Load().Policy {
		return // equal rules would begin the counts of rates anew
	}
	if _, err := s.act(s.ctx, itself, actPolicy, rules.Version(), "policy file changed", nil); err != nil {
		s.log.Error("policy is not recorded; the rules stay as they were", zap.Error(err))
		return
	}
	s.rules.Store(rules)
	s.log.Info("policy in force", zap.String("version", rules.Version()))
	if rules.Separates() || old.Separates() {
		for _, pkg := range s.notifier.Packages() {
			s.notifier.Rules(pkg, sip.AOR{})
		}
	}
}

// policyEvery is how often the policy file is looked at.
const policyEvery = time.Second

// watchPolicy puts a changed policy file in force until ctx ends.
func (s *Server) watchPolicy(ctx context.Context) {
	stamp := func() (at time.Time, size int64) {
		if fi, err := os.Stat(s.cfg.Load().Policy.File); err == nil {
			return fi.ModTime(), fi.Size()
		}
		return at, size
	}
	at, size := stamp()
	tick := time.NewTicker(policyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if t, n := stamp(); !t.IsZero() && (!t.Equal(at) || n != size) {
			at, size = t, n
			cfg := s.cfg.Load()
			s.loadPolicy(cfg)
			s.relay.Reload(relaySettings(cfg, s.rules.Load()))
		}
	}
}
