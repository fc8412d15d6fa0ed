package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
)

// compactEvery is how often finished segments are looked for that could not be
// compressed, or had to wait for a quiet time.
const compactEvery = 30 * time.Second

// segmentBegan tells that the journal has finished segments.
func (s *Server) segmentBegan() {
	select {
	case s.finished <- struct{}{}:
	default:
	}
}

// itself is the actor of what the server does by its own rules.
const itself = "server"

// act records what somebody did, durably. It comes before the effect.
func (s *Server) act(ctx context.Context, actor, action, object, reason string, detail any) (archive.Receipt, error) {
	rec := &archive.Record{Type: archive.TypeAct, Received: time.Now(), Actor: actor, Action: action, Object: object, Reason: reason}
	if detail != nil {
		raw, err := json.Marshal(detail)
		if err != nil {
			return archive.Receipt{}, fmt.Errorf("record %s: %w", action, err)
		}
		rec.Raw = raw
	}
	return s.journal.Append(ctx, rec)
}

// segments compresses what the journal has finished, one segment after the
// other, until ctx ends. One that cannot be is left, and tried again later.
func (s *Server) segments(ctx context.Context) {
	tick := time.NewTicker(compactEvery)
	defer tick.Stop()
	for {
		if err := s.compact(ctx, s.quiet); err != nil && !errors.Is(err, context.Canceled) {
			s.log.Warn("segments of the record are not compressed", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.finished:
		}
	}
}

const (
	// quietRecords is how many records a second the journal may take while segments are compressed.
	quietRecords = 4000
	// waitingSegments may wait for a quiet time; beyond that they are compressed all the same.
	waitingSegments = 128
)

// quiet reports whether there is time to compress, with so many segments waiting.
func (s *Server) quiet(ctx context.Context, waiting int) bool {
	if waiting > waitingSegments {
		return true
	}
	before := s.journal.Stats().Records
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Second):
	}
	return s.journal.Stats().Records-before < quietRecords
}

// compact compresses the segments that are finished now, as long as may allows it.
func (s *Server) compact(ctx context.Context, may func(ctx context.Context, waiting int) bool) error {
	folder := archive.Folder{Dir: s.cfg.Load().ArchiveDir(), Keys: s.ring}
	numbers, err := folder.Finished()
	if err != nil {
		return err
	}
	for i, n := range numbers {
		if !may(ctx, len(numbers)-i) {
			return errors.Join(err, ctx.Err())
		}
		c, e := folder.Compact(n, s.ring, nil)
		if e == nil {
			e = s.install(ctx, c)
		}
		err = errors.Join(err, e)
	}
	return err
}

// install states a compressed segment in the record, and puts it in its place.
func (s *Server) install(ctx context.Context, c *archive.Compacted) error {
	if _, err := s.act(ctx, itself, archive.ActSegment, c.Statement.File, "", c.Statement); err != nil {
		return err // the next try writes the file again
	}
	return c.Install()
}
