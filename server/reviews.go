package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rollcall/api"
	"rollcall/archive"
)

// samples are the shares of messages that are reviewed by chance.
func (s *Server) samples() (list []archive.Sample) {
	for _, r := range s.cfg.Load().Review {
		list = append(list, archive.Sample{Units: r.Units, Percent: r.Percent})
	}
	return list
}

// Reviews implements api.Record.
func (b backend) Reviews(ctx context.Context, since time.Time) (api.Reviews, error) {
	list, stats, err := archive.Folder{Dir: b.cfg.Load().ArchiveDir(), Keys: b.ring}.Reviews(ctx, since, b.samples())
	if list == nil {
		list = []*archive.Review{}
	}
	return api.Reviews{Stats: stats, List: list}, err
}

// Review implements api.Record.
func (b backend) Review(ctx context.Context, actor string, id archive.ID, step api.ReviewStep) (*archive.Review, error) {
	if !slices.Contains(archive.Steps, step.Step) {
		return nil, fmt.Errorf("%w: a step is one of %s", api.ErrInvalid, strings.Join(archive.Steps, ", "))
	}
	if step.Step != archive.StepClaim && step.Comment == "" {
		return nil, fmt.Errorf("%w: to %s needs a comment", api.ErrInvalid, step.Step)
	}
	find := func() (*archive.Review, error) {
		all, err := b.Reviews(ctx, id.Time().Add(-time.Hour))
		if err != nil {
			return nil, err
		}
		for _, rev := range all.List {
			if rev.ID == id {
				return rev, nil
			}
		}
		return nil, fmt.Errorf("%w: no message %s is to be reviewed", api.ErrNotFound, id)
	}
	rev, err := find()
	if err != nil {
		return nil, err
	}
	if rev.OfParties(actor) {
		return nil, fmt.Errorf("%w: %s is a party of the message", api.ErrRefused, actor)
	}
	_, err = b.journal.Append(ctx, &archive.Record{Type: archive.TypeAct, Received: time.Now(), Cites: id, Actor: actor, Action: archive.ActReview,
		Object: step.Step, Reason: step.Comment})
	if err != nil {
		return nil, err
	}
	return find()
}
