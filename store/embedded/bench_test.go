package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/store"
	"rollcall/store/embedded"
	"rollcall/store/storetest"
)

var ctx = context.Background()

func owner(n int) string { return fmt.Sprintf("sip:user%d@example.com", n) }

func binding(n int) store.Change {
	return store.Put(store.Item{ID: "<urn:uuid:00000000-0000-1000-8000-000A95A0E128>", Value: make([]byte, 300), Expires: time.Now().Add(time.Hour)})
}

func filled(b *testing.B, n int) *embedded.DB {
	db := open(b, b.TempDir(), embedded.Options{})
	b.Cleanup(func() { db.Close() })
	for i := range n {
		if _, err := db.Apply(ctx, store.Key{Kind: storetest.HotSoft, Owner: owner(i)}, 0, binding(i)); err != nil {
			b.Fatal(err)
		}
	}
	return db
}

func keysOf(kind *store.Kind, n int) []store.Key {
	keys := make([]store.Key, n)
	for i := range keys {
		keys[i] = store.Key{Kind: kind, Owner: owner(i)}
	}
	return keys
}

const users = 200_000

func BenchmarkLoad(b *testing.B) {
	db := filled(b, users)
	keys := keysOf(storetest.HotSoft, users)
	b.ReportAllocs()
	b.ResetTimer()
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		i := int(n.Add(7919))
		for pb.Next() {
			i += 7919
			if set, _ := db.Load(ctx, keys[i%users]); set.Version == 0 {
				b.Error("nothing there")
			}
		}
	})
}

// BenchmarkRefresh is what a REGISTER does: load, and put on top. The flush of
// the image runs beside it and is in the figure.
func BenchmarkRefresh(b *testing.B) {
	for _, n := range []int{1000, users} {
		b.Run(fmt.Sprint(n, "users"), func(b *testing.B) {
			db := filled(b, n)
			keys := keysOf(storetest.HotSoft, n)
			change := binding(0)
			b.ReportAllocs()
			b.ResetTimer()
			var at atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				i := int(at.Add(7919))
				for pb.Next() {
					i += 7919
					set, _ := db.Load(ctx, keys[i%n])
					if _, err := db.Apply(ctx, keys[i%n], set.Version, change); err != nil && !errors.Is(err, store.ErrConflict) {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkDurable is Apply of a durable kind by many at once.
func BenchmarkDurable(b *testing.B) {
	for _, kind := range []*store.Kind{storetest.HotDurable, storetest.ColdDurable} {
		for _, callers := range []int{1, 64, 1024} {
			b.Run(fmt.Sprint(kind, "/", callers), func(b *testing.B) {
				db := open(b, b.TempDir(), embedded.Options{})
				b.Cleanup(func() { db.Close() })
				keys := keysOf(kind, 10000)
				b.ReportAllocs()
				b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
				var at atomic.Int64
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := db.Apply(ctx, keys[at.Add(1)%10000], store.Any, binding(0)); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}

func BenchmarkColdLoad(b *testing.B) {
	db := open(b, b.TempDir(), embedded.Options{})
	b.Cleanup(func() { db.Close() })
	keys := keysOf(storetest.ColdDurable, 10000)
	var ops []store.Op
	for _, k := range keys {
		ops = append(ops, store.Op{Key: k, Changes: []store.Change{binding(0)}})
	}
	if err := db.ApplyAll(ctx, ops); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i += 7919
		if set, _ := db.Load(ctx, keys[i%len(keys)]); set.Version == 0 {
			b.Fatal("nothing there")
		}
	}
}

// BenchmarkImport writes 100,000 accounts in one batch, each in new order, and
// opens the store again.
func BenchmarkImport(b *testing.B) {
	const n = 100_000
	keys := keysOf(storetest.HotDurable, n)
	for b.Loop() {
		dir := b.TempDir()
		db := open(b, dir, embedded.Options{})
		ops := make([]store.Op, n)
		for i := range ops {
			ops[i] = store.Op{Key: keys[i*7919%n], Base: store.Any, Changes: []store.Change{store.Put(store.Item{Value: make([]byte, 200)})}}
		}
		start := time.Now()
		if err := db.ApplyAll(ctx, ops); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "import-s")
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		start = time.Now()
		db = open(b, dir, embedded.Options{})
		b.ReportMetric(time.Since(start).Seconds(), "open-s")
		db.Close()
	}
}

// BenchmarkHeap says what an owner costs beyond its value.
func BenchmarkHeap(b *testing.B) {
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		db := filled(b, users)
		time.Sleep(1500 * time.Millisecond) // one flush, so that nothing is dirty
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/users-300, "B/owner")
		db.Close()
	}
}
