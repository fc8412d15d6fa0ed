package server

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
)

const (
	// useEvery is how often the subscriptions in force are counted, at full hours
	// of UTC: by these counts units are charged.
	useEvery = time.Hour
	// usePerRecord bounds the accounts in one record.
	usePerRecord = 1000
)

// presenceUses states in the record, each full hour, how many subscriptions each
// account has at this server, until ctx ends.
func (s *Server) presenceUses(ctx context.Context) {
	for {
		now := time.Now()
		hour := now.Truncate(useEvery).Add(useEvery)
		t := time.NewTimer(hour.Sub(now))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if err := s.presenceUse(ctx, hour); err != nil && ctx.Err() == nil {
			s.log.Warn("the use of presence of an hour is not recorded", zap.Error(err))
		}
	}
}

// presenceUse states the subscriptions of now as those of an hour.
func (s *Server) presenceUse(ctx context.Context, hour time.Time) error {
	counts := s.notifier.Counts()
	list := make([]archive.WatcherUse, 0, len(counts))
	for watcher, n := range counts {
		list = append(list, archive.WatcherUse{User: watcher.String(), Unit: s.party(watcher).Unit, Subscriptions: uint64(n)})
	}
	slices.SortFunc(list, func(a, b archive.WatcherUse) int { return cmp.Compare(a.User, b.User) })
	for part := range slices.Chunk(list, usePerRecord) {
		if _, err := s.act(ctx, itself, archive.ActPresenceUse, hour.UTC().Format(time.RFC3339), "", archive.PresenceUse{Watchers: part}); err != nil {
			return err
		}
	}
	return nil
}
