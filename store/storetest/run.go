package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"rollcall/store"
)

// The kinds that the suite writes to, one of each sort.
var (
	HotSoft     = store.NewKind("test-hot-soft", store.Soft, store.Hot).WithHints()
	HotDurable  = store.NewKind("test-hot-durable", store.Durable, store.Hot).WithHints()
	ColdSoft    = store.NewKind("test-cold-soft", store.Soft, store.Cold).WithHints()
	ColdDurable = store.NewKind("test-cold-durable", store.Durable, store.Cold).WithHints()
)

// Kinds are all four.
func Kinds() []*store.Kind { return []*store.Kind{HotSoft, HotDurable, ColdSoft, ColdDurable} }

// Reopen is a way in which a store ends and comes back.
type Reopen struct {
	Name string

	// Soft says that soft state that was applied before must be there too.
	Soft bool

	// Do ends the store, or the server behind it, and opens it again on what it
	// left behind. The suite closes what it returns.
	Do func(t *testing.T, s store.Store) store.Store
}

// Run runs the suite. Open returns an empty store, each time; the suite closes
// it.
func Run(t *testing.T, open func(t *testing.T) store.Store, reopen ...Reopen) {
	tests := []struct {
		name string
		test func(*testing.T, store.Store, *store.Kind)
	}{
		{"unknown owner", unknownOwner},
		{"order of items", orderOfItems},
		{"conflict changes nothing", conflict},
		{"any", anyBase},
		{"changes that change nothing", noChange},
		{"versions never repeat", versions},
		{"expiry", expiry},
		{"expiry of all", expiryOfAll},
		{"keys", keys},
		{"watch", watch},
		{"bytes", binary},
		{"big values", bigValues},
		{"limits", limits},
		{"many items", manyItems},
		{"a set stays as it was", immutable},
		{"concurrent counters", counters},
		{"concurrent pairs", pairs},
		{"random changes", model},
		{"batch", batch},
		{"context", contexts},
	}
	for _, kind := range Kinds() {
		t.Run(kind.Name(), func(t *testing.T) {
			s := open(t)
			defer closeStore(t, s)
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) { test.test(t, s, kind) })
			}
		})
	}
	t.Run("kinds are apart", func(t *testing.T) {
		s := open(t)
		defer closeStore(t, s)
		apart(t, s)
	})
	t.Run("table", func(t *testing.T) {
		s := open(t)
		defer closeStore(t, s)
		table(t, s)
	})
	t.Run("closed", func(t *testing.T) { closed(t, open(t)) })
	for _, r := range reopen {
		t.Run("reopen after "+r.Name, func(t *testing.T) { restart(t, open(t), r) })
	}
}

func closeStore(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

var ctx = context.Background()

func item(id, value string) store.Item { return store.Item{ID: id, Value: []byte(value)} }

func key(t *testing.T, kind *store.Kind) store.Key {
	return store.Key{Kind: kind, Owner: "sip:" + t.Name() + "@example.com"}
}

func mustApply(t *testing.T, s store.Store, k store.Key, base store.Version, changes ...store.Change) store.Version {
	t.Helper()
	v, err := s.Apply(ctx, k, base, changes...)
	if err != nil {
		t.Fatalf("apply to %s: %v", k, err)
	}
	return v
}

func mustLoad(t *testing.T, s store.Store, k store.Key) store.Set {
	t.Helper()
	set, err := s.Load(ctx, k)
	if err != nil {
		t.Fatalf("load %s: %v", k, err)
	}
	return set
}

func want(t *testing.T, s store.Store, k store.Key, v store.Version, items ...store.Item) {
	t.Helper()
	set := mustLoad(t, s, k)
	if set.Version != v {
		t.Errorf("%s has version %d, want %d", k, set.Version, v)
	}
	wantItems(t, set.Items, items)
}

func wantItems(t *testing.T, got, want []store.Item) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d items %.200q, want %d", len(got), ids(got), len(want))
	}
	for i := range got {
		if got[i].ID != want[i].ID || string(got[i].Value) != string(want[i].Value) {
			t.Errorf("item %d is %.80q = %.80q, want %.80q = %.80q", i, got[i].ID, got[i].Value, want[i].ID, want[i].Value)
		}
		if !got[i].Expires.Equal(want[i].Expires) {
			t.Errorf("item %d expires %v, want %v", i, got[i].Expires, want[i].Expires)
		}
	}
}

func ids(items []store.Item) []string {
	var list []string
	for _, i := range items {
		list = append(list, i.ID)
	}
	return list
}

func wantConflict(t *testing.T, s store.Store, k store.Key, base store.Version, changes ...store.Change) {
	t.Helper()
	if v, err := s.Apply(ctx, k, base, changes...); !errors.Is(err, store.ErrConflict) {
		t.Errorf("apply to %s on base %d gives %d, %v; want a conflict", k, base, v, err)
	}
}

// eventually waits for a condition that time alone brings about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

func unknownOwner(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	want(t, s, k, 0)
	if v := mustApply(t, s, k, 0); v != 0 {
		t.Errorf("no changes give version %d, want 0", v)
	}
	if v := mustApply(t, s, k, store.Any, store.Delete("a"), store.Clear()); v != 0 {
		t.Errorf("deletes give version %d, want 0", v)
	}
	wantConflict(t, s, k, 7, store.Put(item("a", "1")))
	want(t, s, k, 0)
}

func orderOfItems(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	v := mustApply(t, s, k, 0, store.Put(item("c", "1")), store.Put(item("a", "2")))
	if v == 0 || v == store.Any {
		t.Fatalf("version %d", v)
	}
	v = mustApply(t, s, k, v, store.Put(item("b", "3")))
	want(t, s, k, v, item("c", "1"), item("a", "2"), item("b", "3"))
	v = mustApply(t, s, k, v, store.Put(item("a", "4")))
	want(t, s, k, v, item("c", "1"), item("a", "4"), item("b", "3"))
	v = mustApply(t, s, k, v, store.Delete("c"))
	v = mustApply(t, s, k, v, store.Put(item("c", "5")))
	want(t, s, k, v, item("a", "4"), item("b", "3"), item("c", "5"))
	v = mustApply(t, s, k, v, store.Delete("a"), store.Put(item("a", "6")), store.Put(item("a", "7")))
	want(t, s, k, v, item("b", "3"), item("c", "5"), item("a", "7"))
	v = mustApply(t, s, k, v, store.Clear(), store.Put(item("z", "8")), store.Put(item("b", "9")), store.Delete("z"))
	want(t, s, k, v, item("b", "9"))
	if i, ok := mustLoad(t, s, k).Get("b"); !ok || string(i.Value) != "9" {
		t.Errorf("get gives %q, %v", i.Value, ok)
	}
	if _, ok := mustLoad(t, s, k).Get("a"); ok {
		t.Error("get gives an item that was deleted")
	}
}

func conflict(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	first := mustApply(t, s, k, 0, store.Put(item("a", "1")))
	wantConflict(t, s, k, 0, store.Put(item("a", "2")), store.Put(item("b", "2")))
	second := mustApply(t, s, k, first, store.Put(item("a", "3")))
	wantConflict(t, s, k, first, store.Delete("a"))
	wantConflict(t, s, k, first, store.Clear())
	wantConflict(t, s, k, first)
	wantConflict(t, s, k, second+1, store.Put(item("a", "4")))
	want(t, s, k, second, item("a", "3"))
}

func anyBase(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	mustApply(t, s, k, store.Any, store.Put(item("a", "1")))
	v := mustApply(t, s, k, store.Any, store.Put(item("b", "2")))
	want(t, s, k, v, item("a", "1"), item("b", "2"))
	if v := mustApply(t, s, k, store.Any, store.Clear()); v != 0 {
		t.Errorf("version %d after clear, want 0", v)
	}
	want(t, s, k, 0)
}

func noChange(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	v := mustApply(t, s, k, 0, store.Put(item("a", "1")))
	for _, changes := range [][]store.Change{nil, {store.Delete("b")}, {store.Delete("b"), store.Delete("")}} {
		if got := mustApply(t, s, k, v, changes...); got != v {
			t.Errorf("%v moves the version to %d from %d", changes, got, v)
		}
	}
	if got := mustApply(t, s, k, v, store.Put(item("a", "1"))); got == v {
		t.Error("a put of the same value leaves the version")
	}
}

func versions(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	var last store.Version
	for range 50 {
		v := mustApply(t, s, k, 0, store.Put(item("a", "1")))
		if v <= last {
			t.Fatalf("version %d after %d", v, last)
		}
		if last != 0 {
			wantConflict(t, s, k, last, store.Put(item("a", "stale")))
		}
		last = mustApply(t, s, k, v, store.Put(item("b", "1")))
		if last <= v {
			t.Fatalf("version %d after %d", last, v)
		}
		if v := mustApply(t, s, k, last, store.Delete("a"), store.Delete("b")); v != 0 {
			t.Fatalf("version %d with nothing left", v)
		}
		wantConflict(t, s, k, last, store.Put(item("a", "stale")))
	}
}

func expiry(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	soon := time.Now().Add(400 * time.Millisecond)
	late := time.Date(2150, 1, 2, 3, 4, 5, 678912345, time.FixedZone("", 3600))
	v := mustApply(t, s, k, 0,
		store.Put(store.Item{ID: "a", Value: []byte("1"), Expires: soon}),
		store.Put(store.Item{ID: "b", Value: []byte("2"), Expires: late}),
		store.Put(item("c", "3")))
	set := mustLoad(t, s, k)
	if time.Now().Before(soon.Add(-time.Millisecond)) {
		if a, ok := set.Get("a"); !ok || a.Expires != time.UnixMilli(soon.UnixMilli()).UTC() {
			t.Errorf("a expires %v, %v; want %v in UTC, cut to the millisecond", a.Expires, ok, soon)
		}
	}
	if b, ok := set.Get("b"); !ok || b.Expires != time.UnixMilli(late.UnixMilli()).UTC() {
		t.Errorf("b expires %v, %v; want %v in UTC, cut to the millisecond", b.Expires, ok, late)
	}
	left := []store.Item{{ID: "b", Value: []byte("2"), Expires: late.Truncate(time.Millisecond)}, item("c", "3")}
	eventually(t, "expiry", func() bool { return len(mustLoad(t, s, k).Items) < 3 })
	if time.Now().Before(soon.Truncate(time.Millisecond)) {
		t.Error("an item expired early")
	}
	want(t, s, k, v, left...)
	if got := mustApply(t, s, k, v, store.Delete("a")); got != v {
		t.Errorf("delete of an expired item moves the version to %d from %d", got, v)
	}
	v = mustApply(t, s, k, v, store.Put(item("a", "4")))
	want(t, s, k, v, append(left, item("a", "4"))...)
	v = mustApply(t, s, k, v, store.Put(store.Item{ID: "c", Value: []byte("5"), Expires: time.Now().Add(-time.Second)}))
	want(t, s, k, v, left[0], item("a", "4"))
	if got := mustApply(t, s, k, v, store.Put(store.Item{ID: "new", Expires: time.Now().Add(-time.Hour)})); got != v {
		t.Errorf("put of an expired item that was not there moves the version to %d from %d", got, v)
	}
}

func expiryOfAll(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	put := func(id string) store.Change {
		return store.Put(store.Item{ID: id, Value: []byte(id), Expires: time.Now().Add(150 * time.Millisecond)})
	}
	old := mustApply(t, s, k, 0, put("a"), put("b"))
	eventually(t, "expiry", func() bool { return len(mustLoad(t, s, k).Items) == 0 })
	want(t, s, k, 0)
	for owner := range owners(t, s, kind) {
		if owner == k.Owner {
			t.Error("keys gives an owner whose items are expired")
		}
	}
	wantConflict(t, s, k, old, put("a"))
	v := mustApply(t, s, k, 0, store.Put(item("b", "1")), store.Put(item("a", "2")))
	if v <= old {
		t.Errorf("version %d after %d", v, old)
	}
	want(t, s, k, v, item("b", "1"), item("a", "2"))

	// A refresh keeps what would have expired, shortened items go with the rest.
	k.Owner += "2"
	v = mustApply(t, s, k, 0, put("a"))
	v = mustApply(t, s, k, v, store.Put(store.Item{ID: "a", Value: []byte("x"), Expires: time.Now().Add(time.Hour)}), put("b"))
	eventually(t, "expiry", func() bool { return len(mustLoad(t, s, k).Items) == 1 })
	mustApply(t, s, k, v, put("a"))
	eventually(t, "expiry", func() bool { return mustLoad(t, s, k).Version == 0 })
	mustApply(t, s, k, 0, put("a"))
}

func owners(t *testing.T, s store.Store, kind *store.Kind) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	for owner, err := range s.Keys(ctx, kind) {
		if err != nil {
			t.Fatalf("keys of %s: %v", kind, err)
		}
		all[owner] = true
	}
	return all
}

func keys(t *testing.T, s store.Store, kind *store.Kind) {
	const n = 1500
	k := key(t, kind)
	var ops []store.Op
	for i := range n {
		ops = append(ops, store.Op{Key: store.Key{Kind: kind, Owner: fmt.Sprintf("%s-%d", k.Owner, i)}, Changes: []store.Change{store.Put(item("a", "1"))}})
	}
	if err := store.ApplyAll(ctx, s, ops); err != nil {
		t.Fatal(err)
	}
	all := owners(t, s, kind)
	for i := range ops {
		if !all[ops[i].Key.Owner] {
			t.Fatalf("keys misses %q", ops[i].Key.Owner)
		}
	}
	for i := range ops {
		ops[i].Base, ops[i].Changes = store.Any, []store.Change{store.Clear()}
	}
	if err := store.ApplyAll(ctx, s, ops[1:]); err != nil {
		t.Fatal(err)
	}
	all = owners(t, s, kind)
	if !all[ops[0].Key.Owner] || all[ops[1].Key.Owner] || all[ops[n-1].Key.Owner] {
		t.Error("keys does not follow the deletes")
	}
	for _, err := range s.Keys(ctx, kind) { // whoever stops early is not called again
		if err != nil {
			t.Error(err)
		}
		break
	}
}

func watch(t *testing.T, s store.Store, kind *store.Kind) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hints, err := s.Watch(ctx, kind)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Watch(context.Background(), kind)
	if err != nil {
		t.Fatal(err)
	}
	k := key(t, kind)
	other := store.Key{Kind: HotSoft, Owner: k.Owner}
	if kind == HotSoft {
		other.Kind = ColdSoft
	}
	mustApply(t, s, other, store.Any, store.Put(item("a", "1")))
	v := mustApply(t, s, k, 0, store.Put(item("a", "1")))
	await(t, hints, k)
	await(t, second, k)
	mustApply(t, s, k, v, store.Clear())
	await(t, hints, k)
	cancel()
	for range hints {
		t.Log("a hint after the end")
	}
	mustApply(t, s, k, 0, store.Put(item("a", "1")))
	await(t, second, k)
}

func await(t *testing.T, hints <-chan store.Key, k store.Key) {
	t.Helper()
	select {
	case got, ok := <-hints:
		if !ok || got != k {
			t.Fatalf("hint for %v, %v; want %v", got, ok, k)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no hint for %s", k)
	}
}

func binary(t *testing.T, s store.Store, kind *store.Kind) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	names := []string{string(every), "\x00", "{a}", "}{", "a:b*?[c]", "\r\n", "ü\xff\xfe", string(make([]byte, store.MaxOwner)), "a", "a\x00"}
	for _, owner := range names {
		k := store.Key{Kind: kind, Owner: "x" + owner}
		if owner == names[7] {
			k.Owner = owner
		}
		var changes []store.Change
		var items []store.Item
		for _, id := range append(names, "") {
			items = append(items, store.Item{ID: id, Value: []byte(owner + id)})
			changes = append(changes, store.Put(items[len(items)-1]))
		}
		v := mustApply(t, s, k, 0, changes...)
		want(t, s, k, v, items...)
		v = mustApply(t, s, k, v, store.Delete(""))
		want(t, s, k, v, items[:len(items)-1]...)
		if !owners(t, s, kind)[k.Owner] {
			t.Errorf("keys misses %q", k.Owner)
		}
		mustApply(t, s, k, v, store.Clear())
		want(t, s, k, 0)
	}
	k := key(t, kind)
	v := mustApply(t, s, k, 0, store.Put(store.Item{ID: "nil"}), store.Put(store.Item{ID: "empty", Value: []byte{}}), store.Put(store.Item{ID: "all", Value: every}))
	want(t, s, k, v, item("nil", ""), item("empty", ""), item("all", string(every)))
}

func bigValues(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{4095, 4096, 65536, 1 << 20, store.MaxValue} {
		value := make([]byte, size)
		_, _ = random.Read(value)
		v := mustApply(t, s, k, store.Any, store.Put(store.Item{ID: "a", Value: value}), store.Put(item("b", "small")))
		want(t, s, k, v, store.Item{ID: "a", Value: value}, item("b", "small"))
	}
	mustApply(t, s, k, store.Any, store.Clear())
}

func limits(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	good := store.Put(item("a", "1"))
	for name, apply := range map[string]func() (store.Version, error){
		"empty owner": func() (store.Version, error) { return s.Apply(ctx, store.Key{Kind: kind}, 0, good) },
		"no kind":     func() (store.Version, error) { return s.Apply(ctx, store.Key{Owner: "a"}, 0, good) },
		"long owner": func() (store.Version, error) {
			return s.Apply(ctx, store.Key{Kind: kind, Owner: string(make([]byte, store.MaxOwner+1))}, 0, good)
		},
		"long id": func() (store.Version, error) {
			return s.Apply(ctx, k, 0, good, store.Put(item(string(make([]byte, store.MaxID+1)), "")))
		},
		"long value": func() (store.Version, error) {
			return s.Apply(ctx, k, 0, good, store.Put(store.Item{Value: make([]byte, store.MaxValue+1)}))
		},
		"no such change": func() (store.Version, error) { return s.Apply(ctx, k, 0, good, store.Change{}) },
	} {
		if _, err := apply(); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	if _, err := s.Load(ctx, store.Key{Kind: kind}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("load of an empty owner: %v, want invalid", err)
	}
	want(t, s, k, 0)
}

func manyItems(t *testing.T, s store.Store, kind *store.Kind) {
	const n = 1000
	k := key(t, kind)
	var v store.Version
	var items []store.Item
	for i := 0; i < n; i += 100 {
		var changes []store.Change
		for j := range 100 {
			items = append(items, item(fmt.Sprint(i+j), "message"))
			changes = append(changes, store.Put(items[len(items)-1]))
		}
		v = mustApply(t, s, k, v, changes...)
	}
	v = mustApply(t, s, k, v, store.Delete("0"), store.Delete("500"), store.Delete("999"))
	want(t, s, k, v, slices.Concat(items[1:500], items[501:999])...)
	mustApply(t, s, k, v, store.Clear())
}

func immutable(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	first := []store.Item{item("a", "1"), item("b", "2"), item("c", "3")}
	v := mustApply(t, s, k, 0, store.Put(first[0]), store.Put(first[1]), store.Put(first[2]))
	set := mustLoad(t, s, k)
	mustApply(t, s, k, v, store.Put(item("b", "4")), store.Delete("a"), store.Put(item("d", "5")))
	if set.Version != v {
		t.Errorf("version of a loaded set moved to %d", set.Version)
	}
	wantItems(t, set.Items, first)
}

func counters(t *testing.T, s store.Store, kind *store.Kind) {
	const writers, each = 8, 25
	k := key(t, kind)
	seen := make(chan store.Version, writers*each)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				for {
					set, err := s.Load(ctx, k)
					if err != nil {
						t.Errorf("load: %v", err)
						return
					}
					n := 0
					if i, ok := set.Get("n"); ok {
						fmt.Sscan(string(i.Value), &n) //nolint:errcheck // a number is all that is ever put
					}
					v, err := s.Apply(ctx, k, set.Version, store.Put(item("n", fmt.Sprint(n+1))))
					if err == nil {
						seen <- v
						break
					}
					if !errors.Is(err, store.ErrConflict) {
						t.Errorf("apply: %v", err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	close(seen)
	all := make(map[store.Version]bool)
	var last store.Version
	for v := range seen {
		if all[v] {
			t.Errorf("version %d was given twice", v)
		}
		all[v] = true
		last = max(last, v)
	}
	want(t, s, k, last, item("n", fmt.Sprint(writers*each)))
}

func pairs(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				set, err := s.Load(ctx, k)
				if err != nil {
					t.Errorf("load: %v", err)
					return
				}
				a, _ := set.Get("a")
				b, _ := set.Get("b")
				if string(a.Value) != string(b.Value) {
					t.Errorf("a half applied change is seen: %s and %s", a.Value, b.Value)
					return
				}
			}
		})
	}
	for i := range 100 {
		mustApply(t, s, k, store.Any, store.Put(item("a", fmt.Sprint(i))), store.Put(item("b", fmt.Sprint(i))))
	}
	close(stop)
	wg.Wait()
}
