package transaction

import (
	"math/rand/v2"
	"testing"
)

// TestTable holds the table against a map over many random steps, with keys that
// crowd the same slots.
func TestTable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var table table[uint64]
	want := map[Key]uint64{}
	for step := range 200_000 {
		k := Key(rnd.Uint64N(500))<<3 | Key(rnd.Uint64N(2))<<60
		switch rnd.IntN(3) {
		case 0:
			table.remove(k)
			delete(want, k)
		default:
			place := 1 + rnd.Uint64N(1<<40)
			table.put(k, place)
			want[k] = place
		}
		if step%1000 == 0 && rnd.IntN(10) == 0 { // empty it, so that it shrinks
			for k := range want {
				table.remove(k)
			}
			clear(want)
		}
		got, ok := table.get(k)
		if w, there := want[k]; ok != there || ok && got != w {
			t.Fatalf("step %d: key %x is %d, %v; want %d, %v", step, k, got, ok, w, there)
		}
		if table.n != len(want) {
			t.Fatalf("step %d: %d keys, want %d", step, table.n, len(want))
		}
	}
	for k, w := range want {
		if got, ok := table.get(k); !ok || got != w {
			t.Fatalf("key %x is %d, %v; want %d", k, got, ok, w)
		}
	}
}
