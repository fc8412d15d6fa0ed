package embedded

import (
	"errors"
	"os"
	"path/filepath"

	"rollcall/store"
)

// FillDisk makes writes to all files fail, as a full disk does, until the result
// is called.
func FillDisk(db *DB) (empty func()) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	limit := func(size int, log *os.File) (old *os.File) {
		for _, im := range []*image{db.durable, db.soft} {
			tx, err := im.bolt.Begin(true) // the writers look at it
			if err != nil {
				panic(err)
			}
			im.bolt.MaxSize = size
			_ = tx.Rollback()
		}
		db.flushMu.Lock()
		defer db.flushMu.Unlock()
		old, db.log.file = db.log.file, log
		return old
	}
	file := limit(8<<20, full)
	return func() { _ = limit(0, file).Close() }
}

// Owners counts the owners that a kind has in memory, expired ones included.
func Owners(db *DB, kind *store.Kind) int {
	n := 0
	ks, err := db.state(kind)
	if err != nil {
		panic(err)
	}
	for i := range ks.shards {
		ks.shards[i].mu.Lock()
		n += ks.shards[i].owners.n
		ks.shards[i].mu.Unlock()
	}
	return n
}

// AppendForeign appends to a soft image an item of a kind that is not declared.
func AppendForeign(dir, kind, owner string, item store.Item) error {
	f, err := os.OpenFile(filepath.Join(dir, "soft.log"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	w := &logWriter{file: f, at: info.Size()}
	w.state(kind, owner, &state{version: 1, next: never, items: []store.Item{item}})
	return errors.Join(w.finish(), f.Close())
}
