package embedded

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"testing"

	"rollcall/store"
)

// TestTable: it holds what a map would hold, also when nearly all hashes are the
// same, and gives back the slots of those that are gone.
func TestTable(t *testing.T) {
	seed := maphash.MakeSeed()
	for _, hashes := range []uint64{1 << 32, 3} {
		hash := func(owner string) uint32 { return uint32(maphash.String(seed, owner) % hashes) }
		var tab table
		want := map[string]store.Version{}
		random := rand.New(rand.NewPCG(3, hashes))
		for i := range 30_000 {
			owner := fmt.Sprint(random.IntN(150))
			if random.IntN(3) > 0 {
				tab.put(newEntry(hash(owner), owner, state{version: store.Version(i + 1)}))
				want[owner] = store.Version(i + 1)
			} else {
				tab.remove(hash(owner), owner)
				delete(want, owner)
			}
			owner = fmt.Sprint(random.IntN(150))
			var got store.Version
			if e := tab.get(hash(owner), owner); e != nil {
				got = e.version
			}
			if got != want[owner] {
				t.Fatalf("%d hashes, step %d: owner %s has %d, want %d", hashes, i, owner, got, want[owner])
			}
		}
		n := 0
		tab.each(func(e *entry) {
			if n++; e.version != want[e.owner] {
				t.Errorf("owner %s has %d, want %d", e.owner, e.version, want[e.owner])
			}
		})
		if n != len(want) || tab.n != n {
			t.Errorf("%d owners, %d counted, want %d", n, tab.n, len(want))
		}
		if room := len(*tab.slots.Load()); room > 2048 {
			t.Errorf("%d slots for 150 owners", room)
		}
	}
}

// TestTableReaders: who reads while the table changes sees every owner that stays,
// with the items that belong to its version.
func TestTableReaders(t *testing.T) {
	seed := maphash.MakeSeed()
	var tab table
	put := func(owner string, v store.Version) {
		items := []store.Item{{ID: fmt.Sprint(v)}}
		tab.put(newEntry(uint32(maphash.String(seed, owner)), owner, state{version: v, items: items}))
	}
	for i := range 50 {
		put(fmt.Sprint("stays ", i), 1)
	}
	var readers sync.WaitGroup
	done := make(chan struct{})
	for r := range 4 {
		readers.Go(func() {
			for i := r; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				owner := fmt.Sprint("stays ", i%50)
				e := tab.get(uint32(maphash.String(seed, owner)), owner)
				if e == nil || e.items[0].ID != fmt.Sprint(e.version) {
					t.Errorf("%s: %+v", owner, e)
					return
				}
				tab.likely(uint32(maphash.String(seed, owner)))
			}
		})
	}
	for i := range 20_000 {
		put(fmt.Sprint("stays ", i%50), store.Version(i+2))
		owner := fmt.Sprint("comes and goes ", i%700)
		if i/700%2 == 0 {
			put(owner, store.Version(i))
		} else {
			tab.remove(uint32(maphash.String(seed, owner)), owner)
		}
	}
	close(done)
	readers.Wait()
}
