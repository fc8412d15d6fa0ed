package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Table is a kind whose items are values of type T. It holds nothing itself and
// may be used by many goroutines.
type Table[T any] struct {
	store  Store
	kind   *Kind
	encode func(T) (Item, error)
	decode func(Item) (T, error)
}

// NewTable returns the typed view of a kind. The codec is two funcs: encode must
// return a Value of its own memory, decode must not change the Value and may
// keep parts of it. The stored form should begin with its version.
func NewTable[T any](s Store, kind *Kind, encode func(T) (Item, error), decode func(Item) (T, error)) *Table[T] {
	return &Table[T]{store: s, kind: kind, encode: encode, decode: decode}
}

// Kind returns the kind the table is a view of.
func (t *Table[T]) Kind() *Kind { return t.kind }

// Load returns the values of an owner in the order of Set.Items, and the version
// for an Apply on top of them.
func (t *Table[T]) Load(ctx context.Context, owner string) ([]T, Version, error) {
	set, err := t.store.Load(ctx, Key{t.kind, owner})
	if err != nil {
		return nil, 0, fmt.Errorf("load %s of %q: %w", t.kind, owner, err)
	}
	if len(set.Items) == 0 {
		return nil, set.Version, nil
	}
	values := make([]T, len(set.Items))
	for i, item := range set.Items {
		if values[i], err = t.decode(item); err != nil {
			return nil, 0, fmt.Errorf("decode %s %q of %q: %w", t.kind, item.ID, owner, err)
		}
	}
	return values, set.Version, nil
}

// Get returns one value of an owner, and false if it is not there.
func (t *Table[T]) Get(ctx context.Context, owner, id string) (value T, v Version, ok bool, err error) {
	set, err := t.store.Load(ctx, Key{t.kind, owner})
	if err != nil {
		return value, 0, false, fmt.Errorf("load %s of %q: %w", t.kind, owner, err)
	}
	item, ok := set.Get(id)
	if !ok {
		return value, set.Version, false, nil
	}
	if value, err = t.decode(item); err != nil {
		return value, 0, false, fmt.Errorf("decode %s %q of %q: %w", t.kind, id, owner, err)
	}
	return value, set.Version, true, nil
}

// Put returns the change that puts a value.
func (t *Table[T]) Put(value T) (Change, error) {
	item, err := t.encode(value)
	if err != nil {
		return Change{}, fmt.Errorf("encode %s: %w", t.kind, err)
	}
	return Put(item), nil
}

// Apply is Store.Apply for an owner of the table's kind.
func (t *Table[T]) Apply(ctx context.Context, owner string, base Version, changes ...Change) (Version, error) {
	v, err := t.store.Apply(ctx, Key{t.kind, owner}, base, changes...)
	if err != nil {
		return 0, fmt.Errorf("apply to %s of %q: %w", t.kind, owner, err)
	}
	return v, nil
}

// updateTries bounds Update: an owner that moves so often while one writer
// decides has a fault elsewhere.
const updateTries = 1000

// Update loads an owner's values, asks decide for the changes, and applies them.
// If the owner moved meanwhile it begins again, so decide may be called several
// times and must have no effect but its result. An error of decide ends it and is
// returned as it is. No changes leave the owner as it is.
func (t *Table[T]) Update(ctx context.Context, owner string, decide func([]T) ([]Change, error)) (Version, error) {
	for range updateTries {
		values, base, err := t.Load(ctx, owner)
		if err != nil {
			return 0, err
		}
		changes, err := decide(values)
		if err != nil {
			return 0, err
		}
		if len(changes) == 0 {
			return base, nil
		}
		v, err := t.Apply(ctx, owner, base, changes...)
		if !errors.Is(err, ErrConflict) {
			return v, err
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("update %s of %q, %d tries: %w", t.kind, owner, updateTries, ErrConflict)
}

// Keys is Store.Keys for the table's kind.
func (t *Table[T]) Keys(ctx context.Context) iter.Seq2[string, error] {
	return t.store.Keys(ctx, t.kind)
}

// Watch is Store.Watch for the table's kind.
func (t *Table[T]) Watch(ctx context.Context) (<-chan Key, error) {
	return t.store.Watch(ctx, t.kind)
}
