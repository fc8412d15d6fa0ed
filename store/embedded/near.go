package embedded

import (
	"sync/atomic"

	"rollcall/store"
)

// nearAtOnce bounds the owners that are looked for at once.
const nearAtOnce = 64

// nearBytes bounds what is read of a value; those of requests are shorter.
const nearBytes = 512

// nearSink keeps the compiler from leaving the reads of Near out.
var nearSink atomic.Uint32

// Near implements store.Nearer for the hot kinds. A Load waits for memory five times,
// as each place is found through the one before. Here each step is made for all keys
// before the next, so that the processor waits for many at once.
func (db *DB) Near(keys []store.Key) {
	var found [nearAtOnce]*entry
	var values [nearAtOnce][]byte
	keys = keys[:min(len(keys), nearAtOnce)]
	kinds := *db.kinds.Load()
	for i, k := range keys {
		if k.Owner == "" || k.Kind == nil {
			continue
		}
		if at := k.Kind.Index(); at < len(kinds) && kinds[at] != nil && !kinds[at].cold {
			sh, hash := kinds[at].shard(k.Owner)
			found[i] = sh.owners.likely(hash)
		}
	}
	var sum byte
	for i := range keys {
		if e := found[i]; e != nil && e.owner != "" && len(e.items) > 0 {
			sum += e.owner[0]
			values[i] = e.items[0].Value
		}
	}
	for i := range keys {
		for at := 0; at < min(len(values[i]), nearBytes); at += 64 {
			sum += values[i][at]
		}
	}
	if sum == 0xa5 { // now and then, as a write each time is dear
		nearSink.Store(uint32(sum))
	}
}

var _ store.Nearer = (*DB)(nil)
