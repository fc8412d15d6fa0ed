package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/archive/keys"
	"rollcall/archive/stream"
	"rollcall/config"
	"rollcall/im"
	"rollcall/store/redis"
)

// journal takes records: a folder of this server alone, or streams in Redis that one of
// several servers seals into a common folder.
type journal interface {
	im.Journal
	Append(ctx context.Context, r *archive.Record) (archive.Receipt, error)
	NewestCheckpoint() []byte
	Durable() uint64
	Last() (time.Time, error)
	Stats() archive.JournalStats
	Err() error
	Close() error
}

// plainJournal leaves out the tree and sealed content. It is false in every build but the one of plain.go.
var plainJournal bool

// openJournal opens what [archive] journal names, and the keys to it.
func (s *Server) openJournal(cfg *config.Config, node string, log *zap.Logger) error {
	origin := cfg.Domains[0] + "/rollcall/" + node
	shared := cfg.Archive.Journal == "redis"
	if shared {
		origin = cfg.Domains[0] + "/rollcall" // whichever server seals
	}
	var err error
	if s.signers, err = keys.LoadSigners(filepath.Join(cfg.KeysDir, checkpointKey), origin); err != nil {
		return fmt.Errorf("keys_dir: %w", err)
	}
	o := archive.Options{
		Origin: s.signers.Origin(), Signers: s.signers.List,
		Node: node, Log: journalLog(log), Began: s.segmentBegan, Checkpoint: s.witnesses.offer,
		Synced: s.disk.synced,
		Run:    func(calls func()) { s.transport.Post(calls) }, // there before the first record
	}
	if shared {
		return s.openStream(cfg, o, log)
	}
	if s.ring, err = openRing(cfg.KeysDir); err != nil {
		return fmt.Errorf("keys_dir: %w", err)
	}
	s.closers = append(s.closers, s.ring.Close)
	o.Keys = s.ring
	if plainJournal {
		o.Keys, o.Signers = nil, nil
	}
	j, err := archive.Open(cfg.ArchiveDir(), o)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	s.journal = j
	s.closers = append(s.closers, s.journal.Close)
	if err = s.stateKey(j, "start"); err != nil {
		return fmt.Errorf("record the start: %w", err)
	}
	if err = (archive.Folder{Dir: cfg.ArchiveDir(), Keys: s.ring}).FinishCompaction(); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	return nil
}

// streamStart bounds the wait for Redis at the start.
const streamStart = 10 * time.Second

// openStream opens the streams in the Redis of the store.
func (s *Server) openStream(cfg *config.Config, o archive.Options, log *zap.Logger) error {
	db, ok := s.store.(*redis.DB)
	if !ok {
		return errors.New(`[archive] journal = "redis" needs [store] url on Redis`)
	}
	ctx, cancel := context.WithTimeout(s.ctx, streamStart)
	defer cancel()
	facts, err := db.Facts(ctx)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if err := fitForRecords(cfg, &facts); err != nil {
		return err
	}
	master, err := keys.LoadFile(filepath.Join(cfg.KeysDir, masterKey), true)
	if err != nil {
		return fmt.Errorf("keys_dir: %w", err)
	}
	s.ring = keys.OpenForReading(filepath.Join(cfg.KeysDir, contentKeys), master)
	s.closers = append(s.closers, s.ring.Close)
	local := o
	local.Keys, local.Run = s.ring, nil
	folder := archive.Folder{Dir: cfg.ArchiveDir()}
	replicas := 0
	if cfg.Archive.Durability == "replicated" {
		replicas = cfg.Archive.Replicas
	}
	spool := ""
	if cfg.Archive.OnFailure == "spool" {
		spool = cfg.SpoolDir()
	}
	s.stream, err = stream.Open(ctx, stream.Options{
		Spool: spool, SpoolBytes: int64(cfg.Archive.SpoolBytes),
		Client: db.Client(), Prefix: db.Prefix(), Node: o.Node, Replicas: replicas, Keep: cfg.Archive.StreamKeep.Duration, Run: o.Run, Folder: folder, Log: log,
		Master: stream.Master{
			Wrap:   func(id [16]byte, key []byte) ([]byte, error) { return master.Wrap(keys.ID(id), key) },
			Unwrap: func(id [16]byte, wrapped []byte) ([]byte, error) { return master.Unwrap(keys.ID(id), wrapped) },
		},
		Open: func() (*archive.Journal, func() error, error) { return s.openShared(folder, local) },
	})
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	s.journal = s.stream
	s.closers = append(s.closers, s.stream.Close)
	return nil
}

// openShared opens the folder of the record while this server has the lease.
func (s *Server) openShared(folder archive.Folder, o archive.Options) (*archive.Journal, func() error, error) {
	j, err := archive.Open(folder.Dir, o)
	if err != nil {
		return nil, nil, err
	}
	if err := s.ring.Acquire(); err != nil {
		return nil, nil, errors.Join(err, j.Close())
	}
	if err := s.stateKey(j, "lease"); err == nil {
		err = archive.Folder{Dir: folder.Dir, Keys: s.ring}.FinishCompaction()
		if err == nil {
			return j, s.ring.Release, nil
		}
	}
	return nil, nil, errors.Join(err, j.Close(), s.ring.Release())
}

// fitForRecords refuses a Redis that forgets.
func fitForRecords(cfg *config.Config, f *redis.Facts) error {
	weak := ""
	switch {
	case !f.AppendOnly:
		weak = "keeps no append-only file: set appendonly yes, and appendfsync always or everysec"
	case f.AppendFsync == "no":
		weak = "does not sync its append-only file (appendfsync no): set appendfsync always or everysec"
	}
	if weak != "" && !cfg.Archive.AllowWeakRedis {
		return fmt.Errorf("[archive] journal: Redis %s; or set allow_weak_redis = true, and a power loss takes records", weak)
	}
	return nil
}

// tendEvery is how often it is looked whether this server seals.
const tendEvery = 300 * time.Millisecond

// tend runs f while this server seals the record: always, with a folder of its own.
func (s *Server) tend(ctx context.Context, f func(context.Context)) {
	if s.stream == nil {
		f(ctx)
		return
	}
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	var stop context.CancelFunc
	var done chan struct{}
	for {
		switch seals := s.stream.Seals(); {
		case seals && stop == nil:
			var within context.Context
			within, stop = context.WithCancel(ctx)
			done = make(chan struct{})
			go func() { defer close(done); f(within) }()
		case !seals && stop != nil:
			stop()
			<-done
			stop = nil
		}
		select {
		case <-ctx.Done():
			if stop != nil {
				stop()
				<-done
			}
			return
		case <-tick.C:
		}
	}
}

// unsealed counts the records in the streams that are not in the folder yet.
func (s *Server) unsealed() float64 {
	if s.stream == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	defer cancel()
	n, err := s.stream.Unsealed(ctx)
	if err != nil {
		return -1
	}
	return float64(n)
}

// spooled tells how much waits for Redis on this disk, and for how many seconds.
func (s *Server) spooled() (bytes, age float64) {
	if s.stream == nil {
		return 0, 0
	}
	x := s.stream.Spooled()
	if x.Since.IsZero() {
		return float64(x.Bytes), 0
	}
	return float64(x.Bytes), time.Since(x.Since).Seconds()
}
