package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/archive/index"
	"rollcall/config"
)

const (
	// The index gives way when the journal takes busyRecords a second, 6,000 messages, or busyReceived SIP messages
	// come; from a tenth of that on it takes half of a processor.
	busyRecords  = 12_000
	busyReceived = 40_000
	// loadTime is the shortest time by which the load is told.
	loadTime = 100 * time.Millisecond
	// searchWait is how long a search waits for the newest records to come into the index.
	searchWait = 2 * time.Second
	// forgetWait is how long an erasure waits until what was erased is out of the index.
	forgetWait = 5 * time.Minute
)

// newIndex makes the index of the record, or removes it when none is wanted: it would keep what is erased.
func (s *Server) newIndex(cfg *config.Config, log *zap.Logger) error {
	if !cfg.Archive.Index {
		if err := index.Remove(cfg.IndexDir()); err != nil {
			return fmt.Errorf("remove the index: %w", err)
		}
		return nil
	}
	s.index = index.New(index.Options{
		Dir: cfg.IndexDir(), Folder: archive.Folder{Dir: cfg.ArchiveDir(), Keys: s.ring},
		Durable: func() uint64 { return s.journal.Stats().Seq }, Load: s.load(), Log: log,
	})
	return nil
}

// load returns what tells the index how much else there is to do. It belongs to one goroutine.
func (s *Server) load() func() index.Load {
	var records, received uint64
	var at time.Time
	load := index.Quiet
	return func() index.Load {
		now := time.Now()
		d := now.Sub(at)
		if d < loadTime {
			return load
		}
		toRecords, toReceived := s.journal.Stats().Seq, s.transport.Counters.Received.Load()
		load = loadOf(toRecords-records, toReceived-received, d)
		records, received, at = toRecords, toReceived, now
		return load
	}
}

// loadOf tells the load of a time in which the journal took so many records, and so many SIP messages came.
func loadOf(records, received uint64, d time.Duration) index.Load {
	share := max(float64(records)/busyRecords, float64(received)/busyReceived) / d.Seconds()
	switch {
	case d > 10*loadTime: // nobody asked for long, and what was then says little
		return index.Loaded
	case share < 0.1:
		return index.Quiet
	case share < 1:
		return index.Loaded
	}
	return index.Busy
}

// forget waits until what is gone from the record is gone from the index. If that takes too long it is tried
// again later: the record tells the index.
func (s *Server) forget(ctx context.Context, f func(ctx context.Context) error) error {
	if s.index == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, forgetWait)
	defer cancel()
	return f(ctx)
}

// indexLag is how far the index is behind the record.
func (s *Server) indexLag() index.Lag {
	if s.index == nil {
		return index.Lag{}
	}
	return s.index.Lag()
}

// Search implements api.Record.
func (b backend) Search(ctx context.Context, actor string, r api.SearchRequest, begin func(api.Searched), f func(archive.View) error) error {
	q, err := archive.ParseQuery(r.Query, b.cfg.Load().Location())
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	if _, err := b.act(ctx, actor, "search", r.Query, r.Reason, nil); err != nil {
		return err
	}
	n := 0
	each := func(rec *archive.Record) error {
		if err := f(rec.View(false)); err != nil {
			return err
		}
		if n++; n == r.Limit {
			return errEnough
		}
		return nil
	}
	err = index.ErrNotReady
	if b.index != nil && b.index.Ready() {
		wait, cancel := context.WithTimeout(ctx, searchWait)
		lag := b.index.Wait(wait)
		cancel()
		begin(api.Searched{Index: true, Behind: lag.Records, Age: lag.Age})
		err = b.index.Search(ctx, q, each)
	}
	if errors.Is(err, index.ErrNotReady) {
		begin(api.Searched{})
		err = archive.Folder{Dir: b.cfg.Load().ArchiveDir(), Keys: b.ring}.Search(ctx, q, func(rec *archive.Record, _ archive.Pos) error { return each(rec) })
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

var errEnough = errors.New("enough")
