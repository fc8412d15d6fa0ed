package embedded

import (
	"context"
	"iter"
	"sync"

	"rollcall/store"
)

// hintRoom is how many hints wait for a slow reader before they are lost.
const hintRoom = 4096

type watcher struct {
	mu     sync.Mutex
	ch     chan store.Key
	closed bool
}

func (w *watcher) send(k store.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	select {
	case w.ch <- k:
	default:
	}
}

func (w *watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		close(w.ch)
	}
}

func (ks *kindState) hint(owner string) {
	list := ks.watchers.Load()
	if list == nil {
		return
	}
	for _, w := range *list {
		w.send(store.Key{Kind: ks.kind, Owner: owner})
	}
}

// Watch implements store.Store. Hints are lost only while 4096 of them wait.
func (db *DB) Watch(ctx context.Context, kind *store.Kind) (<-chan store.Key, error) {
	ks, err := db.enter(ctx, store.Key{Kind: kind, Owner: "*"}, nil)
	if err != nil {
		return nil, err
	}
	if err := store.CheckWatch(kind); err != nil {
		return nil, err
	}
	w := &watcher{ch: make(chan store.Key, hintRoom)}
	ks.watchMu.Lock()
	defer ks.watchMu.Unlock()
	if db.closed.Load() {
		return nil, store.ErrClosed
	}
	var list []*watcher
	if old := ks.watchers.Load(); old != nil {
		list = append(list, *old...)
	}
	list = append(list, w)
	ks.watchers.Store(&list)
	context.AfterFunc(ctx, func() { ks.dropWatcher(w) })
	return w.ch, nil
}

func (ks *kindState) dropWatcher(w *watcher) {
	ks.watchMu.Lock()
	defer ks.watchMu.Unlock()
	if old := ks.watchers.Load(); old != nil {
		var list []*watcher
		for _, other := range *old {
			if other != w {
				list = append(list, other)
			}
		}
		if list == nil {
			ks.watchers.Store(nil)
		} else {
			ks.watchers.Store(&list)
		}
	}
	w.close()
}

func (ks *kindState) closeWatchers() {
	ks.watchMu.Lock()
	defer ks.watchMu.Unlock()
	if list := ks.watchers.Swap(nil); list != nil {
		for _, w := range *list {
			w.close()
		}
	}
}

// Keys implements store.Store. No owner is given twice.
func (db *DB) Keys(ctx context.Context, kind *store.Kind) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		ks, err := db.enter(ctx, store.Key{Kind: kind, Owner: "*"}, nil)
		if err != nil {
			yield("", err)
			return
		}
		if ks.cold {
			ks.coldKeys(ctx, yield)
			return
		}
		var owners []string
		for i := range ks.shards {
			if err := db.usable(ctx); err != nil {
				yield("", err)
				return
			}
			owners = ks.shards[i].live(owners[:0])
			for _, owner := range owners {
				if !yield(owner, nil) {
					return
				}
			}
		}
	}
}

func (db *DB) usable(ctx context.Context) error {
	if db.closed.Load() {
		return store.ErrClosed
	}
	return ctx.Err()
}

func (sh *shard) live(owners []string) []string {
	now := nowMilli()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.owners.each(func(e *entry) {
		if e.live(now) {
			owners = append(owners, e.owner)
		}
	})
	return owners
}
