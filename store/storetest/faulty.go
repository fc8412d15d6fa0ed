package storetest

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/store"
)

// Faults say how often a Faulty store does what the contract permits. Each is a
// probability from 0 to 1.
type Faults struct {
	Seed uint64 // of the random numbers

	// Conflict makes Apply return ErrConflict although the version is the base, as
	// if another writer had come and gone. Nothing is changed. An Apply on Any is
	// spared.
	Conflict float64

	// Unavailable makes Load, Apply, Keys, Watch and Ping return ErrUnavailable.
	// Nothing is changed.
	Unavailable float64

	// LostAnswer makes Apply return ErrUnavailable after the change was made.
	LostAnswer float64

	// Delay, if not zero, is how long a Load or Apply takes at most. The store is
	// not Local then.
	Delay time.Duration

	// Lost and Doubled are for the hints of Watch; LateHint, if not zero, is how
	// long one takes at most.
	Lost, Doubled float64
	LateHint      time.Duration
}

// FaultyStore is a store that misbehaves.
type FaultyStore struct {
	store.Store
	faults atomic.Pointer[Faults]
	down   atomic.Bool

	mu     sync.Mutex
	random *rand.Rand
}

// Faulty wraps a store. It may be used by many goroutines; then the same seed
// does not give the same faults.
func Faulty(s store.Store, f Faults) *FaultyStore {
	fs := &FaultyStore{Store: s, random: rand.New(rand.NewPCG(f.Seed, 0))}
	fs.faults.Store(&f)
	return fs
}

// Set changes the faults from now on; the seed is not looked at.
func (s *FaultyStore) Set(f Faults) { s.faults.Store(&f) }

// Down makes everything fail with ErrUnavailable, or ends that.
func (s *FaultyStore) Down(down bool) { s.down.Store(down) }

func (s *FaultyStore) happens(p float64) bool {
	if p <= 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.Float64() < p
}

var errInjected = fmt.Errorf("%w: injected", store.ErrUnavailable)

// before is what may happen before each call.
func (s *FaultyStore) before(ctx context.Context) error {
	f := s.faults.Load()
	if err := s.wait(ctx, f.Delay); err != nil {
		return err
	}
	if s.down.Load() || s.happens(f.Unavailable) {
		return errInjected
	}
	return nil
}

func (s *FaultyStore) wait(ctx context.Context, most time.Duration) error {
	if most <= 0 {
		return nil
	}
	s.mu.Lock()
	d := time.Duration(s.random.Int64N(int64(most)))
	s.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Load implements store.Store.
func (s *FaultyStore) Load(ctx context.Context, k store.Key) (store.Set, error) {
	if err := s.before(ctx); err != nil {
		return store.Set{}, err
	}
	return s.Store.Load(ctx, k)
}

// Apply implements store.Store.
func (s *FaultyStore) Apply(ctx context.Context, k store.Key, base store.Version, changes ...store.Change) (store.Version, error) {
	if err := s.before(ctx); err != nil {
		return 0, err
	}
	f := s.faults.Load()
	if base != store.Any && s.happens(f.Conflict) {
		return 0, store.ErrConflict
	}
	v, err := s.Store.Apply(ctx, k, base, changes...)
	if err == nil && s.happens(f.LostAnswer) {
		return 0, errInjected
	}
	return v, err
}

// ApplyAll implements store.Batcher, op by op. An op that is unavailable ends it.
func (s *FaultyStore) ApplyAll(ctx context.Context, ops []store.Op) error {
	return store.ApplyAll(ctx, struct{ store.Store }{s}, ops)
}

// Keys implements store.Store.
func (s *FaultyStore) Keys(ctx context.Context, kind *store.Kind) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := s.before(ctx); err != nil {
			yield("", err)
			return
		}
		for owner, err := range s.Store.Keys(ctx, kind) {
			if !yield(owner, err) {
				return
			}
		}
	}
}

// Ping implements store.Store.
func (s *FaultyStore) Ping(ctx context.Context) error {
	if err := s.before(ctx); err != nil {
		return err
	}
	return s.Store.Ping(ctx)
}

// Local implements store.Store.
func (s *FaultyStore) Local() bool { return s.Store.Local() && s.faults.Load().Delay == 0 }

// Watch implements store.Store.
func (s *FaultyStore) Watch(ctx context.Context, kind *store.Kind) (<-chan store.Key, error) {
	if err := s.before(ctx); err != nil {
		return nil, err
	}
	in, err := s.Store.Watch(ctx, kind)
	if err != nil {
		return nil, err
	}
	out := make(chan store.Key, 1024)
	go func() {
		defer close(out)
		for k := range in {
			f := s.faults.Load()
			if s.down.Load() || s.happens(f.Lost) {
				continue
			}
			if s.wait(ctx, f.LateHint) != nil {
				continue // in is closed soon
			}
			for range 1 + s.count(f.Doubled) {
				select {
				case out <- k:
				default:
				}
			}
		}
	}()
	return out, nil
}

func (s *FaultyStore) count(p float64) int {
	if s.happens(p) {
		return 1
	}
	return 0
}
