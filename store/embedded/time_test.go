package embedded_test

import (
	"testing"
	"testing/synctest"
	"time"

	"rollcall/store"
	"rollcall/store/embedded"
	"rollcall/store/storetest"
)

// TestClock proves with a clock of its own that an item lives to the
// millisecond, that a flush comes within a second, and that a sweep keeps
// versions.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		db := open(t, dir, embedded.Options{})
		k := store.Key{Kind: storetest.HotSoft, Owner: "alice"}
		v, err := db.Apply(ctx, k, 0,
			store.Put(store.Item{ID: "short", Expires: time.Now().Add(time.Hour)}),
			store.Put(store.Item{ID: "long", Expires: time.Now().Add(2 * time.Hour)}))
		if err != nil {
			t.Fatal(err)
		}
		count := func() int {
			set, err := db.Load(ctx, k)
			if err != nil || len(set.Items) > 0 && set.Version != v {
				t.Fatalf("version %d, %v; want %d", set.Version, err, v)
			}
			return len(set.Items)
		}
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		copied := open(t, copyDir(t, dir), embedded.Options{})
		if set, err := copied.Load(ctx, k); err != nil || set.Version != v || len(set.Items) != 2 {
			t.Errorf("after a second the image has version %d with %d items, %v", set.Version, len(set.Items), err)
		}
		if err := copied.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - 1101*time.Millisecond)
		if n := count(); n != 2 {
			t.Errorf("%d items a millisecond before the hour", n)
		}
		time.Sleep(time.Millisecond)
		if n := count(); n != 1 {
			t.Errorf("%d items on the hour", n)
		}
		time.Sleep(2 * time.Minute) // sweeps
		if n := count(); n != 1 {
			t.Errorf("%d items after a sweep", n)
		}
		time.Sleep(time.Hour)
		if n := count(); n != 0 || embedded.Owners(db, k.Kind) != 0 {
			t.Errorf("%d items and %d owners in the end", n, embedded.Owners(db, k.Kind))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
