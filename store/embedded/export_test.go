package embedded

// LimitSize makes both files refuse to grow beyond the size, as a full disk
// does. Zero ends it.
func LimitSize(db *DB, size int) {
	for _, im := range []*image{db.durable, db.soft} {
		tx, err := im.bolt.Begin(true) // the writers look at it
		if err != nil {
			panic(err)
		}
		im.bolt.MaxSize = size
		_ = tx.Rollback()
	}
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
