package index_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/archive/index"
)

// TestLoad has an index that others leave little of the machine: it goes on slowly, ends at once, and hurries for a
// search that waits.
func TestLoad(t *testing.T) {
	v := newRecord(t, 1<<20)
	v.random(100)
	v.wait()
	v.stop()
	var load, asked atomic.Int64
	load.Store(int64(index.Busy))
	v.load = func() index.Load { asked.Add(1); return index.Load(load.Load()) }
	v.random(10_000) // a third of a second of work, which takes half a minute now
	v.start()
	for start := time.Now(); asked.Load() < 4; time.Sleep(time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatal("the index does nothing")
		}
	}
	start := time.Now()
	v.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the index took %v to end", took)
	}
	if v.index.Lag().Records == 0 {
		t.Error("the index took all there was beside other work")
	}

	load.Store(int64(index.Quiet))
	v.start()
	v.wait()
	load.Store(int64(index.Busy))
	v.random(10_000)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if lag := v.index.Wait(ctx); lag.Records > 0 {
		t.Errorf("a search waited 10 s, and the index is %d records behind", lag.Records)
	}
}
