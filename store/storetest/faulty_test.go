package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"rollcall/store"
	"rollcall/store/embedded"
	"rollcall/store/storetest"
)

var ctx = context.Background()

func open(t *testing.T) store.Store {
	t.Helper()
	db, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestWithoutFaults proves that the wrapper itself changes nothing.
func TestWithoutFaults(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return storetest.Faulty(open(t), storetest.Faults{}) })
}

// TestFaults proves that the faults come, and that a caller who does as the
// contract says is right in the end all the same.
func TestFaults(t *testing.T) {
	s := storetest.Faulty(open(t), storetest.Faults{Conflict: 0.2, Unavailable: 0.1, Delay: 100 * time.Microsecond, Lost: 0.3, Doubled: 0.3})
	defer s.Close()
	if s.Local() {
		t.Error("a store with delays is local")
	}
	k := store.Key{Kind: storetest.HotSoft, Owner: "alice"}
	var hints <-chan store.Key
	for hints == nil {
		hints, _ = s.Watch(ctx, k.Kind)
	}
	const writers, each = 4, 100
	var mu sync.Mutex
	seen := make(map[string]int)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				set, err := s.Load(ctx, k)
				if err == nil {
					n := 0
					if item, ok := set.Get("n"); ok {
						n, _ = strconv.Atoi(string(item.Value))
					}
					_, err = s.Apply(ctx, k, set.Version, store.Put(store.Item{ID: "n", Value: []byte(fmt.Sprint(n + 1))}))
				}
				mu.Lock()
				switch {
				case err == nil:
					done++
				case errors.Is(err, store.ErrConflict):
					seen["conflict"]++
				case errors.Is(err, store.ErrUnavailable):
					seen["unavailable"]++
				default:
					t.Errorf("%v", err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	s.Set(storetest.Faults{})
	set, err := s.Load(ctx, k)
	if item, _ := set.Get("n"); err != nil || string(item.Value) != fmt.Sprint(writers*each) {
		t.Errorf("%s, %v; want %d", item.Value, err, writers*each)
	}
	if seen["conflict"] == 0 || seen["unavailable"] == 0 || len(hints) == 0 || len(hints) == writers*each {
		t.Errorf("faults %v, %d hints for %d changes", seen, len(hints), writers*each)
	}

	s.Set(storetest.Faults{LostAnswer: 1})
	if _, err := s.Apply(ctx, k, store.Any, store.Clear()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("apply: %v", err)
	}
	if set, err := s.Load(ctx, k); err != nil || set.Version != 0 {
		t.Errorf("the change whose answer was lost is not there: %v, %v", set, err)
	}
	s.Set(storetest.Faults{})
	s.Down(true)
	if err := s.Ping(ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("ping: %v", err)
	}
	s.Down(false)
	if err := s.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
}
