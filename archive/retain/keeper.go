package retain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"rollcall/archive"
)

// Actions of the acts that a Keeper records.
const (
	ActHold    = "hold"
	ActAsk     = "release-request"
	ActRelease = "release"
	ActPurge   = "purge"
	ActErase   = "erase"
	ActRefused = "erase-refused"
)

// Holds stores holds durably. Its methods may be called from any goroutine.
type Holds interface {
	List(ctx context.Context) ([]*Hold, error)
	Put(ctx context.Context, h *Hold) error
	Delete(ctx context.Context, name string) error
}

// Ring has the keys of contents.
type Ring interface {
	archive.Resealer
	// Destroy destroys the keys of an author for the months within from and to,
	// and returns those months.
	Destroy(author string, from, to time.Time) ([]string, error)
}

// Options of a Keeper.
type Options struct {
	Folder  archive.Folder // with keys
	Ring    Ring
	Holds   Holds
	Classes func() Classes
	// Act records, durably, what somebody does.
	Act func(ctx context.Context, actor, action, object, reason string, detail any) error
	// Erased and Purged are told of what is gone, so that what was made from it
	// goes too: of an author, and of a segment's file. They may be nil.
	Erased func(ctx context.Context, author string) error
	Purged func(ctx context.Context, file string) error
}

// Keeper purges, erases, and holds. Its methods may be called from any
// goroutine; one act at a time, so that no hold is placed between the check and
// the purge that it would have stopped.
type Keeper struct {
	o  Options
	mu sync.Mutex
}

// New returns a Keeper.
func New(o Options) *Keeper { return &Keeper{o: o} }

// Errors a caller may branch on.
var (
	ErrExists   = errors.New("retain: there is a hold of this name")
	ErrNotFound = errors.New("retain: no such hold")
	// ErrRefused is wrapped by the reason why content is not erased, or a hold not released.
	ErrRefused = errors.New("retain: refused")
)

// List returns the holds in force.
func (k *Keeper) List(ctx context.Context) ([]*Hold, error) { return k.o.Holds.List(ctx) }

// Place puts a hold in force.
func (k *Keeper) Place(ctx context.Context, actor string, h Hold) (*Hold, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	list, err := k.o.Holds.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, other := range list {
		if other.Name == h.Name {
			return nil, fmt.Errorf("%w: %s", ErrExists, other)
		}
	}
	if len(list) >= maxHolds {
		return nil, fmt.Errorf("%w: there are %d holds already", ErrInvalid, len(list))
	}
	h.By, h.Placed = actor, time.Now().UTC()
	h.ReleaseBy, h.ReleaseAsked, h.ReleaseReason = "", time.Time{}, ""
	if err := k.o.Act(ctx, actor, ActHold, h.Name, h.Reason, &h); err != nil {
		return nil, err
	}
	return &h, k.o.Holds.Put(ctx, &h)
}

// Release ends a hold: the first person asks, another confirms. It returns the
// hold as it is now, and whether it is released.
func (k *Keeper) Release(ctx context.Context, actor, name, reason string) (h *Hold, released bool, err error) {
	if reason == "" {
		return nil, false, fmt.Errorf("%w: a release needs a reason", ErrInvalid)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	list, err := k.o.Holds.List(ctx)
	if err != nil {
		return nil, false, err
	}
	for _, other := range list {
		if other.Name == name {
			h = other
		}
	}
	switch {
	case h == nil:
		return nil, false, fmt.Errorf("%w: %s", ErrNotFound, name)
	case h.ReleaseBy == "":
		h.ReleaseBy, h.ReleaseAsked, h.ReleaseReason = actor, time.Now().UTC(), reason
		if err := k.o.Act(ctx, actor, ActAsk, name, reason, nil); err != nil {
			return nil, false, err
		}
		return h, false, k.o.Holds.Put(ctx, h)
	case h.ReleaseBy == actor:
		return h, false, fmt.Errorf("%w: %s asked for the release of %s on %s; somebody else must confirm it", ErrRefused, actor, name, h.ReleaseAsked.Format(time.RFC3339))
	}
	if err := k.o.Act(ctx, actor, ActRelease, name, reason, h); err != nil {
		return nil, false, err
	}
	return h, true, k.o.Holds.Delete(ctx, name)
}

func (k *Keeper) covers(ctx context.Context) ([]cover, error) {
	list, err := k.o.Holds.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []cover
	for _, h := range list {
		c, err := h.cover()
		if err != nil {
			return nil, fmt.Errorf("hold %s: %w", h.Name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// Purged is what a purge took out of one segment.
type Purged struct {
	File     string         `json:"file"`
	Contents int            `json:"contents"`
	Held     int            `json:"held,omitempty"` // over their time, and kept by holds
	Classes  map[string]int `json:"classes"`        // contents by class
}

// Purge takes the contents whose time is over out of the compressed segments.
// It can be stopped and run again at any time.
func (k *Keeper) Purge(ctx context.Context, actor string, now time.Time) (done []Purged, err error) {
	classes := k.o.Classes()
	short := classes.shortest()
	if short == nil {
		return nil, nil
	}
	numbers, err := k.o.Folder.CompressedSegments()
	if err != nil {
		return nil, err
	}
	for _, n := range numbers {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		p, young, err := k.purge(ctx, actor, n, now, classes)
		if err != nil {
			return done, fmt.Errorf("purge segment %d: %w", n, err)
		}
		if p.Contents > 0 {
			done = append(done, p)
		}
		if young {
			break // and so are all behind it
		}
	}
	return done, nil
}

// enough ends a scan.
var errEnough = errors.New("enough")

func (k *Keeper) purge(ctx context.Context, actor string, number uint64, now time.Time, classes Classes) (p Purged, young bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	holds, err := k.covers(ctx)
	if err != nil {
		return p, false, err
	}
	p.Classes = map[string]int{}
	drop := map[uint64]bool{}
	first := true
	err = k.o.Folder.ScanSegment(number, func(r *archive.Record) error {
		if first {
			first = false
			if until := classes.shortest().Until(r.Archived); until.After(now) {
				young = true
				return errEnough
			}
		}
		if r.Type != archive.TypeMessage || r.Content == archive.Erased || len(r.Raw) == 0 && r.Content == archive.Present || !classes.Expired(r, now) {
			return nil
		}
		for i := range holds {
			if holds[i].covers(r) {
				p.Held++
				return nil
			}
		}
		drop[r.Seq] = true
		p.Classes[r.Class]++
		return nil
	})
	if errors.Is(err, errEnough) {
		return p, true, nil
	}
	if err != nil || len(drop) == 0 {
		return p, false, err
	}
	c, err := k.o.Folder.Compact(number, k.o.Ring, func(r *archive.Record) bool { return drop[r.Seq] })
	if err != nil {
		return p, false, err
	}
	p.File, p.Contents = c.Statement.File, len(drop)
	if err := k.o.Act(ctx, actor, ActPurge, p.File, "retention", &p); err != nil {
		return p, false, err
	}
	if err := k.o.Act(ctx, actor, archive.ActSegment, p.File, ActPurge, c.Statement); err != nil {
		return p, false, err
	}
	if err := c.Install(); err != nil || k.o.Purged == nil {
		return p, false, err
	}
	return p, false, k.o.Purged(ctx, p.File)
}

// Erasure is what was asked for, and what became of it.
type Erasure struct {
	Author string    `json:"author"`
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"`
	// Months whose keys were destroyed.
	Months []string `json:"months,omitempty"`
	// Messages that the author wrote in the period and whose content was there.
	Messages int    `json:"messages"`
	Refused  string `json:"refused,omitempty"` // why
}

// Erase makes unreadable what an author wrote in the whole months within from
// and to (zero times are no bounds), by destroying the keys. It is refused,
// and the refusal recorded, while the retention of any of it runs or a hold
// covers any of it.
func (k *Keeper) Erase(ctx context.Context, actor, author string, from, to time.Time, reason string) (*Erasure, error) {
	if reason == "" {
		return nil, fmt.Errorf("%w: an erasure needs a reason", ErrInvalid)
	}
	if !strings.HasPrefix(author, "sip:") {
		return nil, fmt.Errorf("%w: %q is not an address of record", ErrInvalid, author)
	}
	if !from.IsZero() && from.UTC() != month(from) || !to.IsZero() && to.UTC() != month(to) {
		return nil, fmt.Errorf("%w: keys are kept for each month, so a period begins and ends with one", ErrInvalid)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	e := &Erasure{Author: author, From: from, To: to}
	why, err := k.against(ctx, e)
	if err != nil {
		return nil, err
	}
	if why != "" {
		e.Refused = why
		if err := k.o.Act(ctx, actor, ActRefused, author, reason, e); err != nil {
			return nil, err
		}
		return e, fmt.Errorf("%w: %s", ErrRefused, why)
	}
	if err := k.o.Act(ctx, actor, ActErase, author, reason, e); err != nil {
		return nil, err
	}
	if e.Months, err = k.o.Ring.Destroy(author, from, to); err != nil {
		return e, err
	}
	if k.o.Erased != nil {
		err = k.o.Erased(ctx, author)
	}
	return e, err
}

func month(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// against says what stands against an erasure.
func (k *Keeper) against(ctx context.Context, e *Erasure) (why string, err error) {
	holds, err := k.covers(ctx)
	if err != nil {
		return "", err
	}
	classes, now := k.o.Classes(), time.Now()
	var until time.Time
	kept, forever := 0, 0
	held := map[string]int{}
	q := archive.Query{From: []string{e.Author}, After: e.From, Before: e.To}
	err = k.o.Folder.Search(ctx, q, func(r *archive.Record, _ archive.Pos) error {
		if r.From != e.Author || r.Content == archive.Erased {
			return nil
		}
		e.Messages++
		if len(classes) > 0 {
			switch u := classes.Until(r); {
			case u.IsZero():
				forever++
			case u.After(now):
				kept++
				if u.After(until) {
					until = u
				}
			}
		}
		for i := range holds {
			if holds[i].covers(r) {
				held[holds[i].Name]++
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	var reasons []string
	for name, n := range held {
		reasons = append(reasons, fmt.Sprintf("the hold %s covers %d of the messages", name, n))
	}
	if kept > 0 {
		reasons = append(reasons, fmt.Sprintf("the retention of %d messages runs until %s", kept, until.Format(time.DateOnly)))
	}
	if forever > 0 {
		reasons = append(reasons, fmt.Sprintf("%d messages are of a class that is kept for ever", forever))
	}
	return strings.Join(reasons, "; "), nil
}
