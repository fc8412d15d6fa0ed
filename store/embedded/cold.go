package embedded

import (
	"context"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"rollcall/store"
)

// A cold kind has two buckets: one with an owner's version, ids and expiries, and
// one with the values, each under owner and id, so that a new item in a long
// queue does not write the others again.

func valueKey(owner, id string) []byte {
	b := make([]byte, 0, 2+len(owner)+len(id))
	b = binary.BigEndian.AppendUint16(b, uint16(len(owner)))
	b = append(b, owner...)
	return append(b, id...)
}

func (ks *kindState) readMeta(tx *bbolt.Tx, owner string) (state, error) {
	b := tx.Bucket(ks.metaBucket)
	if b == nil {
		return state{next: never}, nil
	}
	raw := b.Get([]byte(owner))
	if raw == nil {
		return state{next: never}, nil
	}
	s, err := decodeState(raw, false)
	if err != nil {
		return state{}, fmt.Errorf("%s %q: %w", ks.kind, owner, err)
	}
	return s, nil
}

func (ks *kindState) loadCold(owner string) (set store.Set, err error) {
	err = guard(func() error {
		return ks.image.bolt.View(func(tx *bbolt.Tx) error {
			meta, err := ks.readMeta(tx, owner)
			if err != nil {
				return err
			}
			set = meta.set()
			if len(set.Items) == 0 {
				return nil
			}
			values := tx.Bucket(ks.valueBucket)
			if values == nil {
				return errTorn
			}
			for i := range set.Items {
				item := &set.Items[i]
				if item.Value, err = decodeValue(values.Get(valueKey(owner, item.ID))); err != nil {
					return fmt.Errorf("value %q: %w", item.ID, err)
				}
			}
			return nil
		})
	})
	switch {
	case err == nil:
		return set, nil
	case ks.db.closed.Load():
		return store.Set{}, store.ErrClosed
	}
	return store.Set{}, fmt.Errorf("load %s %q from %s: %w", ks.kind, owner, ks.image.path, err)
}

// writeCold writes what is different between two states of an owner.
func (ks *kindState) writeCold(tx *bbolt.Tx, owner string, before, after *state, changes []store.Change) error {
	metas, err := tx.CreateBucketIfNotExists(ks.metaBucket)
	if err != nil {
		return err
	}
	values, err := tx.CreateBucketIfNotExists(ks.valueBucket)
	if err != nil {
		return err
	}
	left := make(map[string]bool, len(after.items))
	for i := range after.items {
		left[after.items[i].ID] = true
	}
	for i := range before.items {
		if id := before.items[i].ID; !left[id] {
			if err := values.Delete(valueKey(owner, id)); err != nil {
				return err
			}
		}
	}
	for i := range changes {
		if c := &changes[i]; c.Action == store.ActionPut && left[c.Item.ID] {
			if err := values.Put(valueKey(owner, c.Item.ID), encodeValue(c.Item.Value)); err != nil {
				return err
			}
		}
	}
	if len(after.items) == 0 {
		return metas.Delete([]byte(owner))
	}
	return metas.Put([]byte(owner), encodeState(after, false))
}

// coldChunk is how many owners one read transaction visits: a longer one would
// keep the pages that writers free from being used again.
const coldChunk = 512

// scanCold calls visit, outside of any transaction, for chunks of owners and
// their states.
func (ks *kindState) scanCold(ctx context.Context, visit func(owners []string, states []state) bool) error {
	var from []byte
	for {
		if err := ks.db.usable(ctx); err != nil {
			return err
		}
		var owners []string
		var states []state
		err := guard(func() error {
			return ks.image.bolt.View(func(tx *bbolt.Tx) error {
				b := tx.Bucket(ks.metaBucket)
				if b == nil {
					return nil
				}
				c := b.Cursor()
				for k, v := c.Seek(from); k != nil && len(owners) < coldChunk; k, v = c.Next() {
					s, err := decodeState(v, false)
					if err != nil {
						return fmt.Errorf("%s %q in %s: %w", ks.kind, k, ks.image.path, err)
					}
					owners, states = append(owners, string(k)), append(states, s)
				}
				return nil
			})
		})
		if err != nil {
			if ks.db.closed.Load() {
				return store.ErrClosed
			}
			return err
		}
		if len(owners) == 0 || !visit(owners, states) || len(owners) < coldChunk {
			return nil
		}
		from = append([]byte(owners[len(owners)-1]), 0)
	}
}

func (ks *kindState) coldKeys(ctx context.Context, yield func(string, error) bool) {
	err := ks.scanCold(ctx, func(owners []string, states []state) bool {
		now := nowMilli()
		for i, owner := range owners {
			if states[i].live(now) && !yield(owner, nil) {
				return false
			}
		}
		return true
	})
	if err != nil {
		yield("", err)
	}
}
