package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/archive/retain"
	"rollcall/auth"
	"rollcall/config"
	"rollcall/sip"
	"rollcall/store"
)

// kindHold holds the legal holds: one owner, an item for each.
var kindHold = store.NewKind("hold", store.Durable, store.Hot)

const holdsOwner = "holds"

// holds implements retain.Holds on the store.
type holds struct {
	table *store.Table[*retain.Hold]
}

func newHolds(s store.Store) holds {
	return holds{store.NewTable(s, kindHold,
		func(h *retain.Hold) (store.Item, error) {
			b, err := h.Encode()
			return store.Item{ID: h.Name, Value: b}, err
		},
		func(i store.Item) (*retain.Hold, error) { return retain.DecodeHold(i.Value) })}
}

func (h holds) List(ctx context.Context) ([]*retain.Hold, error) {
	list, _, err := h.table.Load(ctx, holdsOwner)
	return list, err
}

func (h holds) Put(ctx context.Context, hold *retain.Hold) error {
	c, err := h.table.Put(hold)
	if err != nil {
		return err
	}
	_, err = h.table.Apply(ctx, holdsOwner, store.Any, c)
	return err
}

func (h holds) Delete(ctx context.Context, name string) error {
	_, err := h.table.Apply(ctx, holdsOwner, store.Any, store.Delete(name))
	return err
}

// classesOf reads the retention classes from the configuration.
func classesOf(cfg *config.Config) retain.Classes {
	var cs retain.Classes
	for _, c := range cfg.Retention {
		cs = append(cs, retain.Class{Name: c.Class, Years: c.Years, Days: c.Days, Groups: c.Groups, Units: c.Units})
	}
	return cs
}

// describe notes in the record of a message what is known of its parties now,
// for retention and for those who are charged. Of somebody who is not known, or
// not without asking another machine, nothing is noted.
func (s *Server) describe(rec *archive.Record, from auth.Identity, to sip.AOR) {
	rec.FromUnit = from.Unit()
	var other auth.Person
	if s.directory.Serves(to.Domain()) {
		other, _ = s.directory.Known(s.ctx, to)
	}
	rec.ToUnit = other.Unit()
	rec.FromGroups, rec.ToGroups = groupsText(from.Groups()), groupsText(other.Groups())
	if cs := *s.classes.Load(); len(cs) > 0 {
		rec.Class = cs.Of(retain.Party{Unit: rec.FromUnit, Groups: from.Groups()}, retain.Party{Unit: rec.ToUnit, Groups: other.Groups()})
	}
}

// maxGroupsText bounds the groups of one party that a record names, in bytes.
const maxGroupsText = 8 << 10

// groupsText is how a record names groups. Those beyond the bound are not named.
func groupsText(groups []string) string {
	n := 0
	for i, g := range groups {
		if n += len(g) + 1; n > maxGroupsText {
			groups = groups[:i]
			break
		}
	}
	return strings.Join(groups, ";")
}

// newKeeper makes the keeper of the record.
func (s *Server) newKeeper(cfg *config.Config) *retain.Keeper {
	return retain.New(retain.Options{
		Folder: archive.Folder{Dir: cfg.ArchiveDir(), Keys: s.ring}, Ring: s.ring, Holds: newHolds(s.store),
		Classes: func() retain.Classes { return *s.classes.Load() },
		Act: func(ctx context.Context, actor, action, object, reason string, detail any) error {
			_, err := s.act(ctx, actor, action, object, reason, detail)
			return err
		},
		Erased: func(ctx context.Context, author string) error {
			return s.forget(ctx, func(ctx context.Context) error { return s.index.Forget(ctx, author) })
		},
		Purged: func(ctx context.Context, file string) error {
			return s.forget(ctx, func(ctx context.Context) error { return s.index.ForgetSegment(ctx, file) })
		},
	})
}

// purgeEvery is how often content is looked for whose time is over.
const purgeEvery = 24 * time.Hour

// purges runs the purge each day until ctx ends.
func (s *Server) purges(ctx context.Context) {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		done, err := s.keeper.Purge(ctx, itself, time.Now())
		for _, p := range done {
			s.log.Info("content purged", zap.String("file", p.File), zap.Int("contents", p.Contents), zap.Int("held", p.Held))
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			s.log.Warn("purge", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Holds implements api.Record.
func (b backend) Holds(ctx context.Context) ([]*retain.Hold, error) { return b.keeper.List(ctx) }

// PlaceHold implements api.Record.
func (b backend) PlaceHold(ctx context.Context, actor string, h retain.Hold) (*retain.Hold, error) {
	for i, c := range h.Custodians {
		aor, err := sip.ParseAORString(c)
		if err != nil {
			return nil, fmt.Errorf("%w: custodian %q is not an address", api.ErrInvalid, c)
		}
		h.Custodians[i] = aor.String()
	}
	placed, err := b.keeper.Place(ctx, actor, h)
	return placed, retainError(err)
}

// ReleaseHold implements api.Record.
func (b backend) ReleaseHold(ctx context.Context, actor, name, reason string) (api.Release, error) {
	h, released, err := b.keeper.Release(ctx, actor, name, reason)
	return api.Release{Hold: h, Released: released}, retainError(err)
}

// Erase implements api.Record.
func (b backend) Erase(ctx context.Context, actor string, e api.EraseRequest) (*retain.Erasure, error) {
	erased, err := b.keeper.Erase(ctx, actor, e.Author, e.From, e.To, e.Reason)
	return erased, retainError(err)
}

// Purge implements api.Record.
func (b backend) Purge(ctx context.Context, actor string) ([]retain.Purged, error) {
	if err := b.compact(ctx, func(ctx context.Context, _ int) bool { return ctx.Err() == nil }); err != nil {
		return nil, err
	}
	return b.keeper.Purge(ctx, actor, time.Now())
}

// Show implements api.Record.
func (b backend) Show(ctx context.Context, actor string, id archive.ID, reason string) (*archive.Shown, error) {
	if _, err := b.act(ctx, actor, "view", id.String(), reason, nil); err != nil {
		return nil, err
	}
	shown, err := archive.Folder{Dir: b.cfg.Load().ArchiveDir(), Keys: b.ring}.Show(id)
	if errors.Is(err, archive.ErrNotFound) {
		err = fmt.Errorf("%w: %w", api.ErrNotFound, err)
	}
	return shown, err
}

// Proof implements api.Record.
func (b backend) Proof(_ context.Context, id archive.ID) ([]byte, error) {
	folder := archive.Folder{Dir: b.cfg.Load().ArchiveDir()}
	rec, _, err := folder.Find(id)
	if errors.Is(err, archive.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", api.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	p, err := folder.Prover()
	if err != nil {
		return nil, err
	}
	proof, err := p.Proof(rec.Seq)
	if errors.Is(err, archive.ErrUnsigned) {
		err = fmt.Errorf("%w: %w", api.ErrRefused, err)
	}
	return proof, err
}

// Act implements api.Record.
func (b backend) Act(ctx context.Context, actor string, a api.Act) (api.Acted, error) {
	switch a.Action {
	case "search", "view", "export", archive.ActStream:
		var detail any
		if len(a.Detail) > 0 {
			detail = a.Detail
		}
		r, err := b.act(ctx, actor, a.Action, a.Object, a.Reason, detail)
		return api.Acted{ID: r.ID()}, err
	}
	return api.Acted{}, fmt.Errorf("%w: %q is no act of a reader", api.ErrInvalid, a.Action)
}

// retainError tells which of the API's errors an error is.
func retainError(err error) error {
	for _, k := range []struct{ from, to error }{
		{retain.ErrInvalid, api.ErrInvalid}, {retain.ErrExists, api.ErrExists}, {retain.ErrNotFound, api.ErrNotFound}, {retain.ErrRefused, api.ErrRefused},
	} {
		if errors.Is(err, k.from) {
			return fmt.Errorf("%w: %w", k.to, err)
		}
	}
	return err
}
