package registrar

import (
	"hash/maphash"
	"strings"
	"sync"

	"rollcall/store"
)

const (
	recallShards = 64
	// recallEntries and recallBytes, of each, bound what is remembered: some 200 MB at
	// most. The store is asked about who has more than that.
	recallEntries = 100_000
	recallBytes   = 1 << 10
)

// recall remembers what this process wrote last of an address of record, where the
// store is on another machine: a device refreshes at the server where it registered,
// and what it changes is decided on that, without asking first. It may be old. So
// nothing is refused on it, and a change on top of it is applied only if the store
// still has that version.
type recall struct {
	seed   maphash.Seed
	shards [recallShards]recallShard
}

type recallShard struct {
	mu   sync.Mutex
	sets map[string]store.Set
}

func newRecall() *recall {
	c := &recall{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].sets = map[string]store.Set{}
	}
	return c
}

func (c *recall) shard(owner string) *recallShard {
	return &c.shards[maphash.String(c.seed, owner)%recallShards]
}

// take returns what is remembered of an owner, and forgets it: whoever goes on
// with it remembers what comes of it.
func (c *recall) take(owner string) (store.Set, bool) {
	if c == nil {
		return store.Set{}, false
	}
	sh := c.shard(owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	set, ok := sh.sets[owner]
	if ok {
		delete(sh.sets, owner)
	}
	return set, ok
}

func (c *recall) put(owner string, set store.Set) {
	size := 0
	for i := range set.Items {
		size += len(set.Items[i].ID) + len(set.Items[i].Value)
	}
	if size == 0 || size > recallBytes {
		return
	}
	sh := c.shard(owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.sets) >= recallEntries/recallShards {
		for victim := range sh.sets { // any: a map gives them in random order
			delete(sh.sets, victim)
			break
		}
	}
	sh.sets[strings.Clone(owner)] = set
}

// after is what the store has when the changes were applied.
func (q *request) after(v store.Version) store.Set {
	set := store.Set{Version: v, Items: make([]store.Item, 0, len(q.places))}
	for i := range q.places {
		if p := &q.places[i]; !p.gone {
			set.Items = append(set.Items, p.item)
		}
	}
	return set
}
