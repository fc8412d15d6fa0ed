package server

import (
	"runtime"
	"runtime/debug"
	"sync"
)

// The heap may grow between two collections by what is left of heapRoom, but at
// least by minGrowth and at most by maxGrowth: a small heap is not collected many
// times a second under load, and a large one does not double.
const (
	heapRoom  = 224 << 20
	minGrowth = 64 << 20
	maxGrowth = 160 << 20
)

var pacing sync.Once

// paceGC sets the collector's target after each collection by the size of what
// is live then.
func paceGC() {
	pacing.Do(func() {
		type sentinel struct{ _ [16]byte }
		var again func(*sentinel)
		set := 100
		again = func(*sentinel) {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			live := max(m.HeapAlloc, 4<<20)
			growth := uint64(min(max(heapRoom-int64(live), minGrowth), maxGrowth))
			if want := int(max(25, 100*growth/live)); want*10 < set*9 || want*9 > set*10 { // setting it stops the world
				debug.SetGCPercent(want)
				set = want
			}
			runtime.SetFinalizer(new(sentinel), again)
		}
		again(nil)
	})
}
