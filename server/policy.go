package server

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/config"
	"rollcall/policy"
	"rollcall/sip"
)

// actPolicy is the action of the record of rules that took effect.
const actPolicy = "policy"

// party is what rules want to know of an account or a stranger.
func (s *Server) party(a sip.AOR) policy.Party {
	if owner, ok := s.directory.Owner(a); ok {
		a = owner
	}
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
	rule := rules.Between(s.party(watcher), s.party(resource))
	if rule != "" {
		s.barred.state(s, watcher, resource, rule, rules.Version())
	}
	return rule
}

// actBarred is the action of the record of an account that wanted to learn of another
// from which a rule keeps it.
const actBarred = "barred"

const (
	// barredAgain is how long the same attempt makes no second record.
	barredAgain = time.Hour
	// maxBarred bounds the attempts that are remembered, about 200 bytes each. When there
	// are more, all are forgotten, and a record is made again.
	maxBarred = 1 << 14
)

// barred remembers the attempts that were recorded a short while ago: a softphone tries
// again and again.
type barred struct {
	mu   sync.Mutex
	seen map[[2]sip.AOR]time.Time
}

// state records an attempt.
func (b *barred) state(s *Server, watcher, resource sip.AOR, rule, version string) {
	now := time.Now()
	key := [2]sip.AOR{watcher, resource}
	b.mu.Lock()
	last, there := b.seen[key]
	again := there && now.Sub(last) < barredAgain
	if !again {
		if b.seen == nil || len(b.seen) >= maxBarred {
			b.seen = map[[2]sip.AOR]time.Time{}
		}
		b.seen[[2]sip.AOR{watcher.Clone(), resource.Clone()}] = now
	}
	b.mu.Unlock()
	if again {
		return
	}
	err := s.journal.Note(&archive.Record{Type: archive.TypeAct, Received: now, Actor: watcher.String(), Action: actBarred,
		Object: resource.String(), Reason: rule, Rule: rule, Policy: version})
	if err != nil {
		s.log.Warn("a barred attempt is not recorded", zap.Error(err))
	}
}

// loadPolicy puts the rules of the configuration in force. With a fault in the
// file the rules stay as they are.
func (s *Server) loadPolicy(cfg *config.Config) {
	rules, err := loadRules(cfg)
	if err != nil {
		s.noteFault(err)
		s.counters.policyFaults.Inc()
		s.log.Error("policy is not good; the rules stay as they were", zap.Error(err))
		return
	}
	old := s.rules.Load()
	if rules.Version() == old.Version() && cfg.Policy == s.cfg.Load().Policy {
		s.noteFault(nil)
		return // equal rules would begin the counts of rates anew
	}
	if _, err := s.act(s.ctx, itself, actPolicy, rules.Version(), "policy file changed", nil); err != nil {
		s.log.Error("policy is not recorded; the rules stay as they were", zap.Error(err))
		s.noteFault(fmt.Errorf("the change could not be recorded: %w", err))
		return
	}
	s.rules.Store(rules)
	s.policy.Store(&policyState{since: time.Now().UTC()}) // without a fault
	s.log.Info("policy in force", zap.String("version", rules.Version()))
	if rules.Separates() || old.Separates() {
		for _, pkg := range s.notifier.Packages() {
			s.notifier.Rules(pkg, sip.AOR{})
		}
	}
}

// policyEvery is how often the policy file is looked at.
const policyEvery = time.Second

// fileStamp tells one state of a file from another.
type fileStamp struct {
	at   time.Time // zero: there is no file
	size int64
}

func stampOf(path string) fileStamp {
	fi, err := os.Stat(path)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{fi.ModTime(), fi.Size()}
}

// watchPolicy puts a changed policy file in force until ctx ends. Seen is the
// state of the file before it was read at the start.
func (s *Server) watchPolicy(ctx context.Context, seen fileStamp) {
	tick := time.NewTicker(policyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := stampOf(s.cfg.Load().Policy.File); !now.at.IsZero() && now != seen {
			seen = now
			cfg := s.cfg.Load()
			s.loadPolicy(cfg)
			s.relay.Reload(relaySettings(cfg, s.rules.Load(), s.peerRoots))
		}
	}
}
