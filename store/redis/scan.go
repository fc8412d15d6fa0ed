package redis

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"rollcall/store"
)

const scanCount = 500

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
				now := float64(time.Now().UnixMilli())
				for i := 0; i+1 < len(page); i += 2 {
					latest, err := strconv.ParseFloat(page[i+1], 64)
					if err == nil && latest <= now {
						continue
					}
					if !yield(page[i], nil) {
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
