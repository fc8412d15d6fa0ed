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
	mu     sync.RWMutex
	owners map[string]*entry
	seq    store.Version // last version given here; of memory kinds

	// Of memory kinds: the owners whose image is behind. An entry whose round is
	// the shard's is in dirty already. Deleted owners may be in it twice.
	dirty []string
	round uint32

	_ [8]byte
}

type entry struct {
	state
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
			ks.shards[i].owners = make(map[string]*entry)
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

func (ks *kindState) shard(owner string) *shard {
	return &ks.shards[maphash.String(ks.db.seed, owner)%shardCount]
}

func (ks *kindState) loadHot(owner string) store.Set {
	sh := ks.shard(owner)
	sh.mu.RLock()
	e := sh.owners[owner]
	if e == nil {
		sh.mu.RUnlock()
		return store.Set{}
	}
	s := e.state
	sh.mu.RUnlock()
	return s.set()
}

// applyMemory is Apply of a kind that is hot and soft.
func (ks *kindState) applyMemory(owner string, base store.Version, changes []store.Change) (store.Version, error) {
	sh := ks.shard(owner)
	now := nowMilli()
	sh.mu.Lock()
	// Close sets closed and then takes each lock once, so an Apply is either seen
	// by the last flush or refused.
	if ks.db.closed.Load() {
		sh.mu.Unlock()
		return 0, store.ErrClosed
	}
	e := sh.owners[owner]
	before := &nothing
	if e != nil {
		before = &e.state
	}
	if !matches(before, now, base) {
		sh.mu.Unlock()
		return 0, store.ErrConflict
	}
	after, changed, dropped := before.apply(now, changes)
	if changed && len(after.items) > 0 {
		sh.seq++
		after.version = sh.seq
	}
	if changed || dropped {
		sh.put(owner, e, after)
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
func (sh *shard) put(owner string, e *entry, after state) {
	if len(after.items) == 0 {
		if e != nil {
			delete(sh.owners, owner)
			if e.round != sh.round {
				sh.dirty = append(sh.dirty, cloneString(owner))
			}
		}
		return
	}
	if e == nil {
		owner = cloneString(owner)
		e = &entry{}
		sh.owners[owner] = e
	}
	if e.round != sh.round {
		e.round = sh.round
		sh.dirty = append(sh.dirty, owner)
	}
	e.state = after
}

// replace sets an owner's state after its commit; of hot durable kinds.
func (ks *kindState) replace(owner string, after state) {
	sh := ks.shard(owner)
	sh.mu.Lock()
	if len(after.items) == 0 {
		delete(sh.owners, owner)
	} else {
		if _, known := sh.owners[owner]; !known {
			owner = cloneString(owner)
		}
		sh.owners[owner] = &entry{state: after}
	}
	sh.mu.Unlock()
}

// current is an owner's state as it is in memory, expired items included.
func (ks *kindState) current(owner string) state {
	sh := ks.shard(owner)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if e := sh.owners[owner]; e != nil {
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
