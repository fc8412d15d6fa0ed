package redis

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"rollcall/store"
)

const scanCount = 500

// grace is how long the hash of an owner is there at least when its last item has expired, and slack how
// much longer it may be. apply.lua has both.
const (
	grace = time.Minute
	slack = 131072 * time.Millisecond
)

// Keys implements store.Store. An owner may be given twice.
func (db *DB) Keys(ctx context.Context, kind *store.Kind) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := db.enter(ctx, store.Key{Kind: kind, Owner: "*"}, nil); err != nil {
			yield("", err)
			return
		}
		n := db.names(kind)
		for tag := range tags {
			for cursor := uint64(0); ; {
				cmd := redis.NewScanCmd(db.ctx, nil, "zscan", n.index[tag], cursor, "count", scanCount)
				if err := db.enterAndRun(ctx, cmd); err != nil {
					yield("", fmt.Errorf("keys of %s: %w", kind, err))
					return
				}
				var page []string
				page, cursor = cmd.Val()
				live, err := db.living(ctx, n.hash[tag], page)
				if err != nil {
					yield("", fmt.Errorf("keys of %s: %w", kind, err))
					return
				}
				for _, owner := range live {
					if !yield(owner, nil) {
						return
					}
				}
				if cursor == 0 {
					break
				}
			}
		}
	}
}

// living gives those owners on a page of an index that have live items. The index
// has when the hashes expire, which is later: for those that may be over, the
// first field of each hash is read.
func (db *DB) living(ctx context.Context, hash string, page []string) ([]string, error) {
	now := time.Now()
	sure := float64(now.Add(grace + slack).UnixMilli())
	live := page[:0]
	type doubt struct {
		owner string
		cmd   *redis.StringCmd
		reply redis.AutoFuture
	}
	var doubts []doubt
	for i := 0; i+1 < len(page); i += 2 {
		owner := page[i]
		if ends, err := strconv.ParseFloat(page[i+1], 64); err == nil && ends <= sure {
			cmd := redis.NewStringCmd(db.ctx, "hget", hash+owner, "m")
			doubts = append(doubts, doubt{owner, cmd, db.queue.Submit(db.ctx, cmd)})
			continue
		}
		live = append(live, owner)
	}
	if len(doubts) == 0 {
		return live, nil
	}
	waiting, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	for _, d := range doubts {
		if err := d.reply.WaitContext(waiting); errors.Is(err, redis.Nil) {
			continue
		} else if err != nil {
			return nil, db.failure(ctx, err)
		}
		set, err := decodeMeta(d.cmd.Val(), now.UnixMilli())
		if err != nil || len(set.Items) > 0 { // a damaged one is for Load to complain about
			live = append(live, d.owner)
		}
	}
	return live, nil
}

// sweeper removes from the indexes the owners whose hashes have expired. All
// nodes do it; what one removed the next does not find.
func (db *DB) sweeper(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-db.ctx.Done():
			return
		case <-tick.C:
			if err := db.sweep(); err != nil && db.ctx.Err() == nil {
				db.log.Debug("sweep of indexes ended early", zap.Error(err))
			}
		}
	}
}

func (db *DB) sweep() error {
	for _, kind := range store.Kinds() {
		for _, index := range db.names(kind).index {
			for {
				n, err := sweepScript.Run(db.ctx, db.client, []string{index}, scanCount).Int()
				if err != nil {
					return err
				}
				if n < scanCount {
					break
				}
			}
		}
	}
	return nil
}
