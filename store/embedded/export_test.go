package embedded

// LimitSize makes both files refuse to grow beyond the size, as a full disk
// does. Zero ends it.
func LimitSize(db *DB, size int) {
	db.durable.bolt.MaxSize = size
	db.soft.bolt.MaxSize = size
}

// Owners counts the owners that a kind has in memory, expired ones included.
func Owners(db *DB, kind interface{ Index() int }) int {
	n := 0
	ks := (*db.kinds.Load())[kind.Index()]
	for i := range ks.shards {
		ks.shards[i].mu.RLock()
		n += len(ks.shards[i].owners)
		ks.shards[i].mu.RUnlock()
	}
	return n
}
