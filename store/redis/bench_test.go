package redis_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/store"
	"rollcall/store/redis"
	"rollcall/store/redis/redistest"
	"rollcall/store/storetest"
)

// BenchmarkRefresh is what a REGISTER does: load, and put on top. Redis runs on
// the same machine, without its disk.
func BenchmarkRefresh(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			url, _ := redistest.Start(b, "--appendonly", "no")
			db := open(b, url, redis.Options{})
			defer db.Close()
			keys := make([]store.Key, 20000)
			for i := range keys {
				keys[i] = store.Key{Kind: storetest.HotSoft, Owner: fmt.Sprintf("sip:user%d@example.com", i)}
			}
			change := binding()
			var at atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					k := keys[at.Add(1)%int64(len(keys))]
					set, err := db.Load(ctx, k)
					if err == nil {
						_, err = db.Apply(ctx, k, set.Version, change)
					}
					if err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
		})
	}
}

// BenchmarkImport writes 100,000 accounts in one batch.
func BenchmarkImport(b *testing.B) {
	url, _ := redistest.Start(b)
	db := open(b, url, redis.Options{})
	defer db.Close()
	ops := make([]store.Op, 100_000)
	for i := range ops {
		ops[i] = store.Op{Key: store.Key{Kind: storetest.HotDurable, Owner: fmt.Sprintf("sip:user%d@example.com", i)},
			Base: store.Any, Changes: []store.Change{store.Put(store.Item{Value: make([]byte, 200)})}}
	}
	for b.Loop() {
		start := time.Now()
		if err := db.ApplyAll(ctx, ops); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "import-s")
	}
}
