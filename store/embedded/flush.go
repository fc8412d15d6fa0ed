package embedded

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"
)

// flushBytes and flushOwners bound one transaction of a flush, and with it the
// memory of a flush and the time that a cold write waits for it.
const (
	flushBytes  = 4 << 20
	flushOwners = 8192
)

// trimTicks is how many flushes pass before mapped pages are given back.
const trimTicks = 4

func (db *DB) trim() {
	if err := errors.Join(db.soft.trim(), db.durable.trim()); err != nil {
		db.log.Debug("mapped pages are not given back", zap.Error(err))
	}
}

func (db *DB) flusher(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-db.stop:
			return
		case <-tick.C:
		}
		// The owners stay marked, so the next flush tries again. Only the first
		// failure of a row is logged.
		if err := db.flush(); err != nil {
			if db.failing.Swap(&err) == nil {
				db.log.Error("soft state is not written to disk", zap.Error(err))
			}
		} else if db.failing.Swap(nil) != nil {
			db.log.Info("soft state is written to disk again")
		}
		if n%trimTicks == 1 {
			db.trim()
		}
	}
}

// flush brings the soft image up to the memory and syncs it.
func (db *DB) flush() error {
	db.flushMu.Lock()
	defer db.flushMu.Unlock()
	wrote := db.softCommits.wrote.Swap(false)
	var errs []error
	for _, ks := range *db.kinds.Load() {
		if ks == nil || !ks.memory {
			continue
		}
		n, err := ks.flush()
		wrote = wrote || n > 0
		if err != nil {
			errs = append(errs, err)
		}
	}
	if wrote {
		errs = append(errs, db.soft.bolt.Sync())
	}
	return errors.Join(errs...)
}

// flush writes the owners of a kind whose image is behind, in the order of the
// file: neighbours share a page.
func (ks *kindState) flush() (int, error) {
	owners := ks.takeDirty()
	slices.Sort(owners)
	owners = slices.Compact(owners)
	var buf []byte
	for done := 0; done < len(owners); {
		n, err := ks.flushSome(owners[done:], &buf)
		if err != nil {
			ks.markDirty(owners[done:])
			return done, fmt.Errorf("write %s to %s: %w", ks.kind, ks.image.path, err)
		}
		done += n
	}
	return len(owners), nil
}

func (ks *kindState) takeDirty() []string {
	var owners []string
	for i := range ks.shards {
		sh := &ks.shards[i]
		sh.mu.Lock()
		owners = append(owners, sh.dirty...)
		clear(sh.dirty)
		sh.dirty = sh.dirty[:0]
		if cap(sh.dirty) > 1024 { // a storm is over some day
			sh.dirty = nil
		}
		sh.round++
		sh.mu.Unlock()
	}
	return owners
}

func (ks *kindState) markDirty(owners []string) {
	for _, owner := range owners {
		sh := ks.shard(owner)
		sh.mu.Lock()
		e, known := sh.owners[owner]
		if !known || e.round != sh.round {
			sh.dirty = append(sh.dirty, owner)
		}
		if known {
			e.round = sh.round
			sh.owners[owner] = e
		}
		sh.mu.Unlock()
	}
}

// flushSome writes the first of the owners in one transaction and returns how
// many. The stored forms lie in buf, which is free again when it returns.
func (ks *kindState) flushSome(owners []string, buf *[]byte) (n int, err error) {
	*buf = (*buf)[:0]
	err = guard(func() error {
		return ks.image.bolt.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(ks.hotBucket)
			if err != nil {
				return err
			}
			for size := 0; n < len(owners) && n < flushOwners && size < flushBytes; n++ {
				s := ks.current(owners[n])
				if len(s.items) == 0 {
					err = b.Delete([]byte(owners[n]))
				} else {
					// When it grows, what was put before stays in the old array.
					from := len(*buf)
					*buf = appendState(slices.Grow(*buf, stateSize(&s, true)), &s, true)
					v := (*buf)[from:]
					size += len(v)
					err = b.Put([]byte(owners[n]), v)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	return n, err
}
