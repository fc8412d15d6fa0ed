package server

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// The heap may grow between two collections by roomFactor times what it is below
// heapRoom, but at least by minGrowth and at most by maxGrowth: a small heap is not
// collected many times a second under load, and a large one does not double.
const (
	heapRoom   = 200 << 20
	roomFactor = 3
	minGrowth  = 64 << 20
	maxGrowth  = 96 << 20
)

var pacing sync.Once

// memProfileRate is the mean of bytes from one sample of the heap profile to the
// next. At Go's own half a megabyte the samples of a busy server took one or two
// percent of its time.
const memProfileRate = 4 << 20

// paceGC sets the collector's target after each collection by the size of what
// is live then.
func paceGC() {
	pacing.Do(func() {
		runtime.MemProfileRate = memProfileRate
		type sentinel struct{ _ [16]byte }
		var again func(*sentinel)
		// What was marked: just after a collection, what is allocated has much in it that is not swept yet.
		marked := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		set := 100
		again = func(*sentinel) {
			metrics.Read(marked)
			live := max(marked[0].Value.Uint64(), 4<<20)
			growth := uint64(min(max(roomFactor*(heapRoom-int64(live)), minGrowth), maxGrowth))
			if want := int(max(25, 100*growth/live)); want*10 < set*9 || want*9 > set*10 { // setting it stops the world
				debug.SetGCPercent(want)
				set = want
			}
			runtime.SetFinalizer(new(sentinel), again)
		}
		again(nil)
	})
}

// A server is quiet when it allocates less than quietBytes in a time of quietTick. Nobody
// collects then, and what the last burst left would stay for two minutes: so it is collected
// after quietFirst such times, and after quietAgain, when the transactions of the burst are
// forgotten too (32 s over UDP, RFC 3261 §17.2.2).
const (
	quietTick  = 5 * time.Second
	quietBytes = 4 << 20
	quietFirst = 1
	quietAgain = 7
)

// collectWhenQuiet gives memory back after a burst, until ctx ends.
func collectWhenQuiet(ctx context.Context) {
	tick := time.NewTicker(quietTick)
	defer tick.Stop()
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(allocated)
	last, quiet := allocated[0].Value.Uint64(), quietAgain
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(allocated)
		now := allocated[0].Value.Uint64()
		if now-last >= quietBytes {
			quiet = 0
		} else if quiet++; quiet == quietFirst || quiet == quietAgain {
			runtime.GC()
		}
		last = now
	}
}
