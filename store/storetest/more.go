package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rollcall/store"
)

// model compares random changes with the plainest thing that could be right.
func model(t *testing.T, s store.Store, kind *store.Kind) {
	random := rand.New(rand.NewPCG(1, 2))
	type owner struct {
		version store.Version
		items   []store.Item
	}
	all := make([]owner, 4)
	for step := range 400 {
		n := random.IntN(len(all))
		o := &all[n]
		k := key(t, kind)
		k.Owner += fmt.Sprint(n)
		var changes []store.Change
		items := slices.Clone(o.items)
		changed := false
		for range random.IntN(4) {
			id := fmt.Sprint(random.IntN(5))
			at := slices.IndexFunc(items, func(i store.Item) bool { return i.ID == id })
			switch r := random.IntN(10); {
			case r < 6:
				i := item(id, fmt.Sprint(step))
				changes = append(changes, store.Put(i))
				changed = true
				if at >= 0 {
					items[at] = i
				} else {
					items = append(items, i)
				}
			case r < 9:
				changes = append(changes, store.Delete(id))
				if at >= 0 {
					items = slices.Delete(items, at, at+1)
					changed = true
				}
			default:
				changes = append(changes, store.Clear())
				changed = changed || len(items) > 0
				items = nil
			}
		}
		base := o.version
		switch random.IntN(4) {
		case 0:
			base = store.Any
		case 1:
			wantConflict(t, s, k, base+1+store.Version(random.IntN(1000)), changes...)
		}
		v := mustApply(t, s, k, base, changes...)
		switch {
		case !changed:
			if v != o.version {
				t.Fatalf("step %d: version %d moved to %d by nothing", step, o.version, v)
			}
		case len(items) == 0:
			if v != 0 {
				t.Fatalf("step %d: version %d with nothing left", step, v)
			}
		case v <= o.version:
			t.Fatalf("step %d: version %d after %d", step, v, o.version)
		}
		o.version, o.items = v, items
		want(t, s, k, v, items...)
		if t.Failed() {
			t.Fatalf("step %d, changes %v", step, changes)
		}
	}
}

func batch(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	owner := func(n int) store.Key { return store.Key{Kind: kind, Owner: fmt.Sprint(k.Owner, n)} }
	taken := mustApply(t, s, owner(3), 0, store.Put(item("a", "taken")))
	put := []store.Change{store.Put(item("a", "1"))}
	ops := []store.Op{
		{Key: owner(1), Changes: put},
		{Key: owner(2), Base: store.Any, Changes: put},
		{Key: owner(3), Changes: put},
		{Key: store.Key{Kind: kind}, Changes: put},
		{Key: owner(4), Changes: put},
		{Key: owner(4), Base: store.Any, Changes: []store.Change{store.Put(item("b", "2"))}},
		{Key: owner(4), Base: store.Any, Changes: []store.Change{store.Delete("a")}},
	}
	err := store.ApplyAll(ctx, s, ops)
	refused := make(map[int]error)
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, err := range joined.Unwrap() {
			var op *store.OpError
			if errors.As(err, &op) {
				refused[op.Index] = op.Err
			}
		}
	}
	if len(refused) != 2 || !errors.Is(refused[2], store.ErrConflict) || !errors.Is(refused[3], store.ErrInvalid) {
		t.Fatalf("batch: %v, want a conflict of op 2 and op 3 invalid", err)
	}
	want(t, s, owner(3), taken, item("a", "taken"))
	for _, n := range []int{1, 2} {
		want(t, s, owner(n), mustLoad(t, s, owner(n)).Version, item("a", "1"))
	}
	want(t, s, owner(4), mustLoad(t, s, owner(4)).Version, item("b", "2"))
	if err := store.ApplyAll(ctx, s, nil); err != nil {
		t.Errorf("empty batch: %v", err)
	}
}

func contexts(t *testing.T, s store.Store, kind *store.Kind) {
	k := key(t, kind)
	v := mustApply(t, s, k, 0, store.Put(item("a", "1")))
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Load(done, k); !errors.Is(err, context.Canceled) {
		t.Errorf("load: %v", err)
	}
	if _, err := s.Apply(done, k, v, store.Clear()); !errors.Is(err, context.Canceled) {
		t.Errorf("apply: %v", err)
	}
	if _, err := s.Watch(done, kind); !errors.Is(err, context.Canceled) {
		t.Errorf("watch: %v", err)
	}
	if err := s.Ping(done); !errors.Is(err, context.Canceled) {
		t.Errorf("ping: %v", err)
	}
	if err := store.ApplyAll(done, s, []store.Op{{Key: k, Base: v, Changes: []store.Change{store.Clear()}}}); !errors.Is(err, context.Canceled) {
		t.Errorf("batch: %v", err)
	}
	n := 0
	for _, err := range s.Keys(done, kind) {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("keys: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("keys gave %d pairs, want an error alone", n)
	}
	want(t, s, k, v, item("a", "1"))
	if err := s.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func apart(t *testing.T, s store.Store) {
	for _, kind := range Kinds() {
		mustApply(t, s, store.Key{Kind: kind, Owner: "alice"}, 0, store.Put(item("a", kind.Name())))
	}
	for _, kind := range Kinds() {
		k := store.Key{Kind: kind, Owner: "alice"}
		want(t, s, k, mustLoad(t, s, k).Version, item("a", kind.Name()))
		if all := slices.Collect(maps.Keys(owners(t, s, kind))); !slices.Equal(all, []string{"alice"}) {
			t.Errorf("keys of %s: %q", kind, all)
		}
		mustApply(t, s, k, store.Any, store.Clear())
	}
}

func closed(t *testing.T, s store.Store) {
	k := store.Key{Kind: HotDurable, Owner: "alice"}
	hints, err := s.Watch(ctx, HotDurable)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	closeStore(t, s)
	for range hints {
		t.Error("a hint out of nothing")
	}
	for _, kind := range Kinds() {
		k.Kind = kind
		if _, err := s.Load(ctx, k); !errors.Is(err, store.ErrClosed) {
			t.Errorf("load of %s: %v", kind, err)
		}
		if _, err := s.Apply(ctx, k, store.Any, store.Put(item("a", "1"))); !errors.Is(err, store.ErrClosed) {
			t.Errorf("apply to %s: %v", kind, err)
		}
		if _, err := s.Watch(ctx, kind); !errors.Is(err, store.ErrClosed) {
			t.Errorf("watch of %s: %v", kind, err)
		}
		for _, err := range s.Keys(ctx, kind) {
			if !errors.Is(err, store.ErrClosed) {
				t.Errorf("keys of %s: %v", kind, err)
			}
		}
		if err := store.ApplyAll(ctx, s, []store.Op{{Key: k}}); !errors.Is(err, store.ErrClosed) {
			t.Errorf("batch: %v", err)
		}
	}
	if err := s.Ping(ctx); !errors.Is(err, store.ErrClosed) {
		t.Errorf("ping: %v", err)
	}
}

func restart(t *testing.T, s store.Store, r Reopen) {
	late := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
	set := make(map[store.Key]store.Set)
	gone := make(map[store.Key]store.Version)
	for _, kind := range Kinds() {
		for n := range 100 {
			k := store.Key{Kind: kind, Owner: fmt.Sprint("sip:user", n, "@example.com\x00\xff")}
			v := mustApply(t, s, k, 0, store.Put(item("b", fmt.Sprint(n))), store.Put(item("x", "x")),
				store.Put(store.Item{ID: "a", Value: make([]byte, n*100), Expires: late}))
			v = mustApply(t, s, k, v, store.Delete("x"), store.Put(item("", "z")))
			if n%10 == 0 {
				gone[k] = v
				mustApply(t, s, k, v, store.Clear())
			}
			set[k] = mustLoad(t, s, k)
		}
	}
	s = r.Do(t, s)
	defer closeStore(t, s)
	for k, before := range set {
		if k.Kind.Life() == store.Soft && !r.Soft {
			continue
		}
		want(t, s, k, before.Version, before.Items...)
	}
	for k, old := range gone {
		if k.Kind.Life() == store.Soft && !r.Soft {
			continue
		}
		wantConflict(t, s, k, old, store.Put(item("a", "stale")))
		if v := mustApply(t, s, k, 0, store.Put(item("a", "1"))); v <= old {
			t.Errorf("version %d after a restart, was %d before", v, old)
		}
	}
	for k, before := range set {
		if v := mustApply(t, s, k, store.Any, store.Put(item("new", "1"))); v <= before.Version {
			t.Errorf("version %d after a restart, was %d before", v, before.Version)
		}
	}
}

type row struct {
	id string
	n  int
}

func table(t *testing.T, s store.Store) {
	errOdd := errors.New("odd")
	rows := store.NewTable(s, HotDurable,
		func(r row) (store.Item, error) {
			if r.n < 0 {
				return store.Item{}, errOdd
			}
			return item(r.id, fmt.Sprint(r.n)), nil
		},
		func(i store.Item) (row, error) {
			r := row{id: i.ID}
			_, err := fmt.Sscan(string(i.Value), &r.n)
			return r, err
		})
	if list, v, err := rows.Load(ctx, "alice"); len(list) != 0 || v != 0 || err != nil {
		t.Fatalf("load: %v, %d, %v", list, v, err)
	}
	put := func(id string, n int) store.Change {
		c, err := rows.Put(row{id, n})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if _, err := rows.Put(row{n: -1}); !errors.Is(err, errOdd) {
		t.Errorf("put: %v", err)
	}
	v, err := rows.Apply(ctx, "alice", 0, put("a", 1), put("b", 2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rows.Apply(ctx, "alice", 0, put("a", 1)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("apply on a stale base: %v", err)
	}
	list, got, err := rows.Load(ctx, "alice")
	if err != nil || got != v || !slices.Equal(list, []row{{"a", 1}, {"b", 2}}) {
		t.Errorf("load: %v, %d, %v", list, got, err)
	}
	tries := 0
	_, err = rows.Update(ctx, "alice", func(now []row) ([]store.Change, error) {
		if tries++; tries == 1 {
			mustApply(t, s, store.Key{Kind: HotDurable, Owner: "alice"}, store.Any, put("a", 10))
		}
		return []store.Change{put("a", now[0].n+1)}, nil
	})
	if err != nil || tries != 2 {
		t.Errorf("update: %v after %d tries", err, tries)
	}
	if r, _, ok, err := rows.Get(ctx, "alice", "a"); err != nil || !ok || r.n != 11 {
		t.Errorf("get: %v, %v, %v", r, ok, err)
	}
	if _, err := rows.Update(ctx, "alice", func([]row) ([]store.Change, error) { return nil, errOdd }); !errors.Is(err, errOdd) {
		t.Errorf("update: %v", err)
	}
	mustApply(t, s, store.Key{Kind: HotDurable, Owner: "alice"}, store.Any, store.Put(item("c", "not a number")))
	if _, _, err := rows.Load(ctx, "alice"); err == nil {
		t.Error("load of what cannot be decoded gives no error")
	}
	for owner, err := range rows.Keys(ctx) {
		if owner != "alice" || err != nil {
			t.Errorf("keys: %q, %v", owner, err)
		}
	}
}
