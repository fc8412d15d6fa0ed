package embedded

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// compactBytes bounds one transaction when soft.db is copied.
const compactBytes = 4 << 20

// trimTicks is how many flushes pass before mapped pages are given back.
const trimTicks = 4

func (db *DB) trim() {
	if err := errors.Join(db.soft.trim(), db.durable.trim()); err != nil {
		db.logger.Debug("mapped pages are not given back", zap.Error(err))
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
				db.logger.Error("soft state is not written to disk", zap.Error(err))
			}
		} else if db.failing.Swap(nil) != nil {
			db.logger.Info("soft state is written to disk again")
		}
		if n%trimTicks == 1 {
			db.trim()
		}
	}
}

// flush brings the soft images up to the memory and syncs them.
func (db *DB) flush() error {
	db.flushMu.Lock()
	defer db.flushMu.Unlock()
	var err error
	if db.softCommits.wrote.Swap(false) {
		err = db.soft.bolt.Sync()
	}
	if db.log.size > 2*db.log.base+logSlack {
		return errors.Join(err, db.rewrite())
	}
	return errors.Join(err, db.extend())
}

// extend appends to the log the owners whose image is behind.
func (db *DB) extend() error {
	taken := db.takeDirty()
	w := &logWriter{file: db.log.file, at: db.log.size}
	for _, t := range taken {
		for _, owner := range t.owners {
			s := t.ks.current(owner)
			w.state(t.ks.kind.Name(), owner, &s)
		}
	}
	if w.n == 0 {
		return nil
	}
	if err := w.finish(); err != nil {
		db.markDirty(taken)
		// What is there in part is written over by the next flush, or cut off at the
		// next start.
		_ = db.log.file.Truncate(db.log.size)
		return fmt.Errorf("write %s: %w", db.log.path, err)
	}
	db.log.size = w.at
	return nil
}

// dirty are owners of a kind whose image is behind.
type dirty struct {
	ks     *kindState
	owners []string
}

func (db *DB) takeDirty() (taken []dirty) {
	for _, ks := range *db.kinds.Load() {
		if ks == nil || !ks.memory {
			continue
		}
		if owners := ks.takeDirty(); len(owners) > 0 {
			taken = append(taken, dirty{ks, owners})
		}
	}
	return taken
}

func (db *DB) markDirty(taken []dirty) {
	for _, t := range taken {
		t.ks.markDirty(t.owners)
	}
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

// markDirty gives owners back to the next flush. One that is gone may have been
// given before, and is told apart by nothing, so a row of failures would grow
// without the look at what is marked.
func (ks *kindState) markDirty(owners []string) {
	gone := make(map[string]bool)
	for _, owner := range owners {
		sh, hash := ks.shard(owner)
		sh.mu.Lock()
		e := sh.owners.get(hash, owner)
		switch {
		case e != nil && e.round != sh.round:
			e.round = sh.round
			sh.dirty = append(sh.dirty, owner)
		case e == nil && !gone[owner]:
			gone[owner] = true
			sh.dirty = append(sh.dirty, owner)
		}
		sh.mu.Unlock()
	}
}
