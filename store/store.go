package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"
)

// Version tells one state of an owner from every other. Versions are compared
// for equality only; later ones are greater, with gaps. A version of an owner
// never comes back, also not after all of its items were gone and new ones came.
//
// Zero is no such number but the state "nothing is there": it is the version of
// an owner that was never written, whose items were all deleted, or have all
// expired.
type Version uint64

// Any is the base for an Apply that is right on top of every state, such as
// changes that commute. It never conflicts.
const Any Version = math.MaxUint64

var (
	// ErrConflict is returned by Apply when the owner's version is not the base.
	// Nothing was changed; load again and decide again.
	ErrConflict = errors.New("store: version moved")

	// ErrClosed is returned by everything after Close.
	ErrClosed = errors.New("store: closed")

	// ErrUnavailable marks, for errors.Is, that the store cannot be reached or
	// cannot write now and that the same call may succeed later. Whether an
	// Apply that failed so was applied is not known.
	ErrUnavailable = errors.New("store: unavailable")

	// ErrInvalid marks, for errors.Is, a key or change over the limits of Check.
	ErrInvalid = errors.New("store: invalid")
)

// Limits of what a caller may store, the same everywhere. They protect the store
// and are wide; the callers have narrower ones of their own.
const (
	MaxOwner = 4 << 10  // bytes of Key.Owner, which must not be empty
	MaxID    = 4 << 10  // bytes of Item.ID
	MaxValue = 16 << 20 // bytes of Item.Value
)

// Key names an owner within a kind. The owner may hold any bytes.
type Key struct {
	Kind  *Kind
	Owner string
}

func (k Key) String() string {
	if k.Kind == nil {
		return fmt.Sprintf("?/%q", k.Owner)
	}
	return fmt.Sprintf("%s/%q", k.Kind.name, k.Owner)
}

// Item is one thing an owner has.
type Item struct {
	// ID is unique within the owner. It may hold any bytes, and may be empty.
	ID string

	// Value must not be changed by anybody once it was given to or by the store.
	// The store may keep the slice itself, so it must not be a part of a buffer
	// that is used again.
	Value []byte

	// Expires is when the item stops to exist, kept to the millisecond (the rest
	// is cut off) and given back in UTC. Zero means never.
	Expires time.Time
}

// Live reports whether the item still exists at the given time.
func (i Item) Live(now time.Time) bool { return i.Expires.IsZero() || now.Before(i.Expires) }

// Set is the state of an owner: what Load gives.
type Set struct {
	// Version is zero exactly if there are no items.
	Version Version

	// Items are the live items in the order in which their IDs were first put;
	// a Put of an ID that exists keeps its place. The slice is shared: it must not
	// be changed.
	Items []Item
}

// Get returns the item with the ID.
func (s Set) Get(id string) (Item, bool) {
	for i := range s.Items {
		if s.Items[i].ID == id {
			return s.Items[i], true
		}
	}
	return Item{}, false
}

// Action is what a Change does.
type Action uint8

const (
	ActionPut Action = iota + 1
	ActionDelete
	ActionClear
)

// Change is one step of an Apply. Make it with Put, Delete or Clear.
type Change struct {
	Action Action
	Item   Item // of ActionDelete only the ID
}

// Put adds the item or replaces the one with its ID. An item that has expired
// already is deleted instead.
func Put(i Item) Change { return Change{Action: ActionPut, Item: i} }

// Delete removes the item with the ID, if there is one.
func Delete(id string) Change { return Change{Action: ActionDelete, Item: Item{ID: id}} }

// Clear removes all items.
func Clear() Change { return Change{Action: ActionClear} }

// Store keeps sets of items. All methods may be called at the same time by many
// goroutines.
//
// A context that is done makes a method return the context's error. If that
// happens while Apply waits, it is not known whether it was applied. The same is
// true for each other error of Apply but ErrConflict, ErrInvalid and ErrClosed.
type Store interface {
	// Load returns the state of an owner. An owner that is not known gives the
	// zero Set and no error. Items that have expired are not in it.
	//
	// Load sees each Apply that returned before it was called: in this process
	// with the embedded store, in every process with Redis.
	Load(ctx context.Context, k Key) (Set, error)

	// Apply makes the changes, in order, all or none, if the owner's version is
	// base or base is Any, and returns the version that Load gives from then on:
	// zero if nothing is left. If it is another, it returns ErrConflict.
	//
	// Changes that change nothing (no changes, a Delete of what is not there)
	// leave the version as it is. A Put always moves it. Items that expire do not
	// move it, but for the last one, which makes it zero.
	//
	// For a kind that is Durable the change is on stable storage when Apply
	// returns, as far as the implementation promises it.
	Apply(ctx context.Context, k Key, base Version, changes ...Change) (Version, error)

	// Keys gives the owners of a kind that have live items, in no order. It scans:
	// it is for the start, for sweeps and for lists, not for a request. An owner
	// that comes or goes meanwhile may be given or not; one may be given twice.
	// An error is given as the last pair.
	Keys(ctx context.Context, kind *Kind) iter.Seq2[string, error]

	// Watch gives a hint whenever an owner of the kind, declared WithHints, was changed by an Apply, of
	// any process that shares the store: load it again. Hints may be late,
	// doubled or lost, and items that expire give none; a sweep over versions
	// makes a lost hint good. It returns when the watch is in place. The channel
	// is closed when ctx is done or the store is closed.
	Watch(ctx context.Context, kind *Kind) (<-chan Key, error)

	// Ping returns nil if the store can read and write now.
	Ping(ctx context.Context) error

	// Local reports that Load and Apply of kinds that are Hot and Soft never wait
	// for I/O, so that a caller may run them where it must not wait.
	Local() bool

	// Close makes what was applied durable, soft kinds included, and releases
	// everything. A second Close does nothing.
	Close() error
}

// Op is one Apply of a batch.
type Op struct {
	Key     Key
	Base    Version
	Changes []Change
}

// Batcher is a Store that can do many Apply at once for much less than their
// sum, as an import needs. Use it through ApplyAll.
type Batcher interface {
	// ApplyAll does each op as Apply would, in order for each owner. The batch is
	// not all or none: an op that conflicts does not hold up the others. All that
	// was applied is durable when it returns. The error joins an *OpError for each
	// op that was refused, up to 100 of them; any other error ends the batch,
	// and what was applied up to there is not known.
	ApplyAll(ctx context.Context, ops []Op) error
}

// Nearer is a Store that can bring what it has in memory into the processor's
// cache. Near changes nothing and returns nothing; it pays for a row of keys that
// are loaded right after.
type Nearer interface {
	Near(keys []Key)
}

// OpError says which op of a batch was refused.
type OpError struct {
	Index int // in the ops given to ApplyAll
	Key   Key
	Err   error
}

func (e *OpError) Error() string { return fmt.Sprintf("op %d, %s: %v", e.Index, e.Key, e.Err) }
func (e *OpError) Unwrap() error { return e.Err }

// MaxOpErrors is how many *OpError an ApplyAll joins at most.
const MaxOpErrors = 100

// ApplyAll runs the ops in a batch if the store is a Batcher, and one after the
// other if not, with the meaning of Batcher.ApplyAll.
func ApplyAll(ctx context.Context, s Store, ops []Op) error {
	if b, ok := s.(Batcher); ok {
		return b.ApplyAll(ctx, ops)
	}
	var refused []error
	for i, op := range ops {
		_, err := s.Apply(ctx, op.Key, op.Base, op.Changes...)
		switch {
		case err == nil:
		case errors.Is(err, ErrConflict), errors.Is(err, ErrInvalid):
			if len(refused) < MaxOpErrors {
				refused = append(refused, &OpError{Index: i, Key: op.Key, Err: err})
			}
		default:
			return fmt.Errorf("op %d, %s: %w", i, op.Key, err)
		}
	}
	return errors.Join(refused...)
}

// Check refuses, with an error that is ErrInvalid, what no store takes. Every
// implementation calls it first.
func Check(k Key, changes []Change) error {
	if k.Kind == nil {
		return fmt.Errorf("%w: key without a kind", ErrInvalid)
	}
	if k.Owner == "" || len(k.Owner) > MaxOwner {
		return fmt.Errorf("%w: owner of %d bytes, want 1 to %d", ErrInvalid, len(k.Owner), MaxOwner)
	}
	for i := range changes {
		c := &changes[i]
		if c.Action < ActionPut || c.Action > ActionClear {
			return fmt.Errorf("%w: unknown action %d", ErrInvalid, c.Action)
		}
		if len(c.Item.ID) > MaxID {
			return fmt.Errorf("%w: id of %d bytes, want at most %d", ErrInvalid, len(c.Item.ID), MaxID)
		}
		if len(c.Item.Value) > MaxValue {
			return fmt.Errorf("%w: value of %d bytes, want at most %d", ErrInvalid, len(c.Item.Value), MaxValue)
		}
	}
	return nil
}

// CheckWatch refuses, with an error that is ErrInvalid, to watch a kind that was
// not declared for it. Every implementation calls it.
func CheckWatch(kind *Kind) error {
	if !kind.hints {
		return fmt.Errorf("%w: %s is a kind without hints", ErrInvalid, kind)
	}
	return nil
}
