package server

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
)

const (
	// reconcileEvery is how often days are looked for that have no account yet.
	reconcileEvery = time.Hour
	// reconcileDays is how far back: a server that was off for longer leaves
	// older days to `archive stats`.
	reconcileDays = 7
	// settle is how long after its end a day is accounted for: what was under way
	// at midnight has ended by then.
	settle = 5 * time.Minute
)

// reconciles states each day, in the record, what became of its messages, until ctx ends.
func (s *Server) reconciles(ctx context.Context) {
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	for {
		if err := s.reconcile(ctx, time.Now()); err != nil && !errors.Is(err, context.Canceled) {
			s.log.Warn("reconciliation", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// reconcile accounts for the days before now that have messages and no account.
func (s *Server) reconcile(ctx context.Context, now time.Time) error {
	today := now.Add(-settle).UTC().Truncate(24 * time.Hour)
	first := today.AddDate(0, 0, -reconcileDays)
	folder := archive.Folder{Dir: s.cfg.Load().ArchiveDir()}
	missing := map[string]time.Time{}
	for day := first; day.Before(today); day = day.AddDate(0, 0, 1) {
		missing[day.Format(time.DateOnly)] = day
	}
	err := folder.Search(ctx, archive.Query{Type: "act", After: first}, func(r *archive.Record, _ archive.Pos) error {
		if r.Action == archive.ActReconcile {
			delete(missing, r.Object)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for day := first; day.Before(today); day = day.AddDate(0, 0, 1) {
		if _, ok := missing[day.Format(time.DateOnly)]; !ok {
			continue
		}
		r, err := folder.Reconcile(ctx, day)
		if err != nil {
			return err
		}
		if r.Received == 0 {
			continue
		}
		if !r.Balanced() {
			s.counters.unreconciled.n.Add(r.Open)
			s.log.Error("messages of a day have no outcome", zap.String("day", r.Day), zap.Uint64("received", r.Received), zap.Uint64("open", r.Open))
		}
		if _, err := s.act(ctx, itself, archive.ActReconcile, r.Day, "", r); err != nil {
			return err
		}
	}
	return nil
}
