package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/auth"
	"rollcall/config"
	"rollcall/event"
	"rollcall/im"
	"rollcall/policy"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
	"rollcall/store"
	"rollcall/store/embedded"
	"rollcall/store/redis"
	"rollcall/xcap"
)

// New opens store and journal by the configuration and puts the parts together.
// After an error nothing stays open.
func New(cfg *config.Config, log *zap.Logger) (*Server, error) {
	return open(cfg, log, func(t *transport.Transport) transaction.Sender { return t })
}

// open is New with a choice of what transactions send with.
func open(cfg *config.Config, log *zap.Logger, sender func(*transport.Transport) transaction.Sender) (_ *Server, err error) {
	paceGC()
	s := &Server{log: log, started: time.Now(), domains: cfg.Domains, listens: localAddrs(cfg.Listen), finished: make(chan struct{}, 1)}
	s.cfg.Store(cfg)
	s.ctx, s.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			s.stop()
			for i := len(s.closers) - 1; i >= 0; i-- {
				_ = s.closers[i]()
			}
		}
	}()
	if err := s.openCertificates(cfg); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	node, err := loadNode(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("name of this node: %w", err)
	}
	branchKey, err := loadKey(cfg.KeysDir, "branch")
	if err != nil {
		return nil, fmt.Errorf("keys_dir: %w", err)
	}
	if s.store, err = OpenStore(cfg, log); err != nil {
		return nil, err
	}
	s.local = s.store.Local()
	s.near, _ = s.store.(store.Nearer)
	s.closers = append(s.closers, s.store.Close)
	if s.witnesses, err = openWitnesses(cfg); err != nil {
		return nil, err
	}
	if s.authority, err = newAuthority(cfg); err != nil {
		return nil, err
	}
	if s.replica, err = openReplica(cfg); err != nil {
		return nil, err
	}
	s.node, s.disk = node, newDisk(log)
	if err = s.openJournal(cfg, node, log); err != nil {
		return nil, err
	}
	classes := classesOf(cfg)
	s.classes.Store(&classes)
	s.keeper = s.newKeeper(cfg)
	if err = s.openExports(cfg); err != nil {
		return nil, err
	}
	if err = s.newIndex(cfg, log); err != nil {
		return nil, err
	}
	s.tokens = auth.NewTokens(s.store)
	if s.directory, err = auth.NewDirectory(s.store, cfg.Domains); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() error { s.directory.Close(); return nil })
	if s.groups, err = auth.NewGroups(s.directory, s.tellGroups); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() error { s.groups.Close(); return nil })
	s.authn, err = auth.New(auth.Options{
		Directory: s.directory, Nonces: digest.NoncesOptions{Life: cfg.Auth.NonceLife.Duration},
		AcceptRFC2069: cfg.Auth.AcceptRFC2069, MD5ForOldClients: cfg.Auth.MD5ForOldClients,
		WrongPerSource:  cfg.Auth.FailedLogins,
		WrongPerAccount: cfg.Auth.FailedLoginsPerAccount, Log: log,
	})
	if err != nil {
		return nil, err
	}
	s.documents, err = xcap.NewDocuments(xcap.Options{
		Store: s.store, Accounts: s.directory, Apart: s.apart, Company: s.companyDocument, Log: log,
		Bytes: cfg.XCAP.DocumentBytes, IconBytes: cfg.XCAP.IconBytes, PerUsage: cfg.XCAP.Documents,
	})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() error { s.documents.Close(); return nil })
	s.transport = transport.New(s.receive, transport.Options{
		MaxConnections: cfg.Limits.TCPConnections, MaxPerSource: cfg.Limits.TCPPerSource, Idle: cfg.Limits.TCPIdle.Duration,
		WriteTime: cfg.Limits.TCPWrite.Duration, Limits: limitsOf(cfg), Closed: s.flowClosed, Log: log,
		Ahead: s.ahead, Later: mayWait, Backlog: cfg.Limits.BacklogBytes,
	})
	s.policyFile = stampOf(cfg.Policy.File)
	rules, err := loadRules(cfg)
	if err != nil {
		return nil, err
	}
	s.rules.Store(rules)
	s.policy.Store(&policyState{since: time.Now().UTC()})
	if v := rules.Version(); v != "" {
		if _, err := s.act(s.ctx, itself, actPolicy, v, "start", nil); err != nil {
			return nil, fmt.Errorf("record the policy: %w", err)
		}
	}
	s.tx = transaction.New(sender(s.transport), transaction.Options{Bytes: cfg.Limits.TransactionBytes, Programs: s.programs.take})
	gruuKey, err := loadKey(cfg.KeysDir, "gruu")
	if err != nil {
		return nil, fmt.Errorf("keys_dir: %w", err)
	}
	s.gruus = registrar.NewGRUUs(gruuKey)
	s.registrar = registrar.New(s.store, s.registrarOptions(cfg))
	s.relay = im.New(im.Options{
		Journal: s.journal, Store: s.store, Locations: locations{s.registrar, s.directory, &s.programs}, Accounts: s.directory,
		GRUUs: s.gruus, Transport: reaching{s.transport, &s.programs}, Transactions: s.tx, Key: branchKey, Log: log, Go: s.work.Go, Panicked: s.panicked,
		Describe: s.describe, Parties: s.parties,
	}, relaySettings(cfg, s.rules.Load(), s.peerRoots))
	packages, err := s.packages(cfg)
	if err != nil {
		s.relay.Close()
		s.tx.Close()
		return nil, err
	}
	s.notifier = event.New(event.Options{
		Store: s.store, Requests: s.tx, Transport: ways{s.transport, s.relay}, Accounts: s.directory,
		Apart: s.apart, Lists: companyLists{lists{s.documents}, s, cfg.Presence.GroupLists}, Bound: s.boundFrom, Settings: eventSettings(cfg), Log: log, Go: s.work.Go,
	}, packages...)
	if err := s.recover(); err != nil {
		s.notifier.Close()
		s.relay.Close()
		s.tx.Close()
		return nil, err
	}
	s.counters = newCounters()
	s.registry = s.newRegistry()
	return s, nil
}

// recover reads what the last run left unfinished.
func (s *Server) recover() error {
	if err := s.registrar.Sweep(s.ctx); err != nil && !errors.Is(err, store.ErrUnavailable) {
		return fmt.Errorf("remove bindings of closed connections: %w", err)
	}
	last, err := s.journal.Last()
	if err != nil {
		return fmt.Errorf("read the end of the journal: %w", err)
	}
	since := time.Now()
	if !last.IsZero() && last.Before(since) {
		since = last
	}
	if err := s.notifier.Recover(s.ctx); err != nil && !errors.Is(err, store.ErrUnavailable) {
		return fmt.Errorf("read the subscriptions: %w", err)
	}
	return s.relay.Recover(s.ctx, since)
}

// OpenStore opens what [store] url names.
func OpenStore(cfg *config.Config, log *zap.Logger) (store.Store, error) {
	url := cfg.Store.URL
	if strings.HasPrefix(url, "embedded:") {
		return embedded.Open(filepath.Join(cfg.DataDir, "store"), embedded.Options{Logger: log})
	}
	o := redis.Options{Logger: log}
	if cfg.Store.PasswordFile != "" {
		b, err := os.ReadFile(cfg.Store.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("[store] password_file: %w", err)
		}
		o.Password = strings.TrimRight(string(b), "\r\n")
	}
	return redis.Open(url, o)
}

func journalLog(log *zap.Logger) func(archive.Event) {
	return func(e archive.Event) {
		fields := []zap.Field{zap.String("event", e.What)}
		if e.File != "" {
			fields = append(fields, zap.String("file", e.File), zap.Int64("offset", e.Offset), zap.Int64("bytes", e.Bytes))
		}
		if e.Err != nil {
			log.Error("journal", append(fields, zap.Error(e.Err))...)
			return
		}
		log.Info("journal", fields...)
	}
}

func limitsOf(cfg *config.Config) sip.Limits {
	return sip.Limits{MessageBytes: cfg.Limits.MessageBytes, Headers: cfg.Limits.HeaderCount, URIBytes: cfg.Limits.URIBytes}
}

func (s *Server) registrarOptions(cfg *config.Config) registrar.Options {
	return registrar.Options{
		Default: cfg.Registrar.DefaultExpires.Duration, Min: cfg.Registrar.MinExpires.Duration, Max: cfg.Registrar.MaxExpires.Duration,
		MaxContacts: cfg.Registrar.MaxContacts, Domains: cfg.Domains, Boot: s.transport.Boot(), Alive: s.transport.Alive, Here: s.listensAt,
		Outbound: true, GRUUs: s.gruus, Log: s.log,
	}
}

func relaySettings(cfg *config.Config, rules *policy.Rules, roots map[string]*x509.CertPool) im.Settings {
	set := im.Settings{
		OfflineLife: cfg.IM.OfflineLife.Duration, OfflineLimit: cfg.IM.OfflineLimit, AnswerAfter: cfg.IM.AnswerAfter.Duration,
	}
	for _, p := range cfg.Peer {
		proto := transport.UDP
		switch p.Transport {
		case "tcp":
			proto = transport.TCP
		case "tls":
			proto = transport.TLS
		}
		set.Peers = append(set.Peers, im.Peer{Name: p.Name, Domain: p.Domain, Address: p.Address, Proto: proto, Roots: roots[p.CAFile]})
	}
	set.Rules = rules
	return set
}

// loadRules reads the policy.
func loadRules(cfg *config.Config) (*policy.Rules, error) {
	peers := map[string]string{}
	for _, p := range cfg.Peer {
		peers[p.Domain] = p.Name
	}
	if cfg.Policy.File == "" {
		return policy.New(cfg.Domains, peers), nil
	}
	return policy.Load(cfg.Policy.File, cfg.Domains, peers, cfg.Location())
}

// Reload applies what may change while the server runs; docs/config.md says for
// each key whether it may. What needs a restart stays as it was and is logged.
func (s *Server) Reload(cfg *config.Config) error {
	for _, key := range config.RestartKeys(s.cfg.Load(), cfg) {
		s.log.Warn("configuration key applies after a restart", zap.String("key", key))
	}
	next := *s.cfg.Load()
	classes := classesOf(cfg)
	s.classes.Store(&classes)
	next.Retention, next.Policy, next.Review = cfg.Retention, cfg.Policy, cfg.Review
	next.Registrar, next.Auth, next.IM, next.Log, next.TimeZone, next.Presence = cfg.Registrar, cfg.Auth, cfg.IM, cfg.Log, cfg.TimeZone, cfg.Presence
	s.registrar.Reload(s.registrarOptions(&next))
	s.loadPolicy(&next)
	s.relay.Reload(relaySettings(&next, s.rules.Load(), s.peerRoots))
	s.notifier.Reload(eventSettings(&next))
	s.readCertificates()
	s.cfg.Store(&next)
	s.log.Info("configuration reloaded")
	return nil
}

// flowClosed ends what hung on a connection.
func (s *Server) flowClosed(f transport.Flow) {
	s.tx.FlowClosed(f)
	s.notifier.FlowClosed(s.ctx, f)
	if err := s.registrar.FlowClosed(s.ctx, f); err != nil && s.ctx.Err() == nil {
		s.log.Warn("bindings of a closed connection stay until they expire", zap.Stringer("flow", f), zap.Error(err))
	}
}
