package embedded

import (
	"context"
	"runtime"
	"time"

	"go.uber.org/zap"

	"rollcall/store"
)

// sweeper removes expired items from memory and image. Readers filter them
// anyway, so it may take its time.
func (db *DB) sweeper(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-db.stop:
			return
		case <-tick.C:
			if err := db.sweep(); err != nil && !db.closed.Load() {
				db.logger.Warn("sweep of expired items ended early", zap.Error(err))
			}
		}
	}
}

func (db *DB) sweep() error {
	for _, ks := range *db.kinds.Load() {
		if ks == nil {
			continue
		}
		if ks.cold {
			var failed error
			err := ks.scanCold(context.Background(), func(owners []string, states []state) bool {
				now := nowMilli()
				expired := owners[:0]
				for i, owner := range owners {
					if states[i].next <= now {
						expired = append(expired, owner)
					}
				}
				failed = ks.sweepCommitted(expired)
				return failed == nil
			})
			if err != nil {
				return err
			}
			if failed != nil {
				return failed
			}
			continue
		}
		for i := range ks.shards {
			if db.closed.Load() {
				return store.ErrClosed
			}
			expired := ks.shards[i].expired()
			if ks.memory {
				ks.sweepMemory(expired)
			} else if err := ks.sweepCommitted(expired); err != nil {
				return err
			}
			runtime.Gosched()
		}
	}
	return nil
}

// expired returns the owners that have an expired item.
func (sh *shard) expired() (owners []string) {
	now := nowMilli()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.owners.each(func(e *entry) {
		if e.next <= now {
			owners = append(owners, e.owner)
		}
	})
	return owners
}

func (ks *kindState) sweepMemory(owners []string) {
	for _, owner := range owners {
		now := nowMilli()
		sh, hash := ks.shard(owner)
		sh.mu.Lock()
		if e := sh.owners.get(hash, owner); e != nil {
			if after, _, dropped := e.apply(now, nil, nil); dropped {
				sh.put(hash, owner, e, after)
			}
		}
		sh.mu.Unlock()
	}
}

// sweepCommitted drops the expired items of owners whose changes go through a
// committer.
func (ks *kindState) sweepCommitted(owners []string) error {
	reply := make(chan *request, len(owners))
	for i, owner := range owners {
		r := &request{ks: ks, owner: owner, base: store.Any, reply: reply}
		if err := ks.committer().submit(context.Background(), r); err != nil {
			for range i {
				<-reply
			}
			return err
		}
	}
	var failed error
	for range owners {
		if r := <-reply; r.err != nil {
			failed = r.err
		}
	}
	return failed
}
