package embedded

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"rollcall/store"
)

const shardCount = 256

// kindState is all that is known of one kind.
type kindState struct {
	db     *DB
	kind   *store.Kind
	image  *image
	cold   bool
	memory bool // hot and soft: Apply works on the maps alone

	hotBucket, metaBucket, valueBucket []byte

	shards []shard // of hot kinds

	watchMu  sync.Mutex
	watchers atomic.Pointer[[]*watcher]
}

// shard is a part of a hot kind's owners. Nothing waits for I/O under its lock.
type shard struct {
	mu     sync.Mutex // of writers
	owners table
	seq    store.Version // last version given here; of memory kinds

	// Of memory kinds: the owners whose image is behind. An entry whose round is
	// the shard's is in dirty already. Deleted owners may be in it twice.
	dirty []string
	round uint32
}

func newKindState(db *DB, k *store.Kind) *kindState {
	ks := &kindState{
		db: db, kind: k, image: db.soft, cold: k.Place() == store.Cold,
		hotBucket: []byte("hot:" + k.Name()), metaBucket: []byte("meta:" + k.Name()), valueBucket: []byte("value:" + k.Name()),
	}
	if k.Life() == store.Durable {
		ks.image = db.durable
	}
	ks.memory = !ks.cold && k.Life() == store.Soft
	if !ks.cold {
		ks.shards = make([]shard, shardCount)
		for i := range ks.shards {
			ks.shards[i].round = 1
		}
	}
	return ks
}

func (ks *kindState) committer() *committer {
	if ks.kind.Life() == store.Durable {
		return ks.db.commits
	}
	return ks.db.softCommits
}

// setFloor makes all versions given from now on greater than those of earlier
// starts, also of those whose change never reached the image.
func (ks *kindState) setFloor(v store.Version) {
	for i := range ks.shards {
		ks.shards[i].seq = max(ks.shards[i].seq, v)
	}
}

// shard returns where an owner is, and its hash there, which has nothing of what
// chose the shard.
func (ks *kindState) shard(owner string) (*shard, uint32) {
	hash := maphash.String(ks.db.seed, owner)
	return &ks.shards[hash%shardCount], uint32(hash >> 32)
}

// entry returns what is in memory of an owner, nil for nothing.
func (ks *kindState) entry(owner string) *entry {
	sh, hash := ks.shard(owner)
	return sh.owners.get(hash, owner)
}

func (ks *kindState) loadHot(owner string) store.Set {
	if e := ks.entry(owner); e != nil {
		return e.set()
	}
	return store.Set{}
}

// applyMemory is Apply of a kind that is hot and soft.
func (ks *kindState) applyMemory(owner string, base store.Version, changes []store.Change) (store.Version, error) {
	sh, hash := ks.shard(owner)
	now := nowMilli()
	var space [2]store.Item
	sh.mu.Lock()
	// Close sets closed and then takes each lock once, so an Apply is either seen
	// by the last flush or refused.
	if ks.db.closed.Load() {
		sh.mu.Unlock()
		return 0, store.ErrClosed
	}
	e := sh.owners.get(hash, owner)
	before := &nothing
	if e != nil {
		before = &e.state
	}
	if !matches(before, now, base) {
		sh.mu.Unlock()
		return 0, store.ErrConflict
	}
	after, changed, dropped := before.apply(now, changes, space[:0])
	if changed && len(after.items) > 0 {
		sh.seq++
		after.version = sh.seq
	}
	if changed || dropped {
		sh.put(hash, owner, e, after)
	}
	sh.mu.Unlock()
	if changed {
		ks.hint(owner)
	}
	return after.version, nil
}

// nothing is the state of an owner that is not there.
var nothing = state{next: never}

func matches(s *state, now int64, base store.Version) bool {
	if base == store.Any {
		return true
	}
	if s.live(now) {
		return s.version == base
	}
	return base == 0
}

// put replaces the state of an owner, whose entry is e, nil for none, and marks its image
// as behind.
func (sh *shard) put(hash uint32, owner string, e *entry, after state) {
	var round uint32
	if e != nil {
		owner, round = e.owner, e.round
	} else {
		owner = cloneString(owner)
	}
	switch {
	case len(after.items) > 0:
		next := newEntry(hash, owner, after)
		next.round = sh.round
		sh.owners.put(next)
	case e != nil:
		sh.owners.remove(hash, owner)
	default:
		return
	}
	if round != sh.round {
		sh.dirty = append(sh.dirty, owner)
	}
}

// replace sets an owner's state after its commit; of hot durable kinds.
func (ks *kindState) replace(owner string, after state) {
	sh, hash := ks.shard(owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(after.items) == 0 {
		sh.owners.remove(hash, owner)
		return
	}
	if e := sh.owners.get(hash, owner); e != nil {
		owner = e.owner
	} else {
		owner = cloneString(owner)
	}
	sh.owners.put(newEntry(hash, owner, after))
}

// current is an owner's state as it is in memory, expired items included.
func (ks *kindState) current(owner string) state {
	if e := ks.entry(owner); e != nil {
		return e.state
	}
	return nothing
}

// fence returns when no Apply that began before it is still at the maps.
func (ks *kindState) fence() {
	for i := range ks.shards {
		ks.shards[i].mu.Lock()
		ks.shards[i].mu.Unlock() //nolint:staticcheck // an empty critical section is the fence
	}
}
