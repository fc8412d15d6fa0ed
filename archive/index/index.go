package index

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
)

// Options of an Index.
type Options struct {
	Dir    string         // of the index alone; it is made
	Folder archive.Folder // with keys: what stays sealed has no words
	// Durable returns the seq of the last record that may be indexed. Nil means all that can be read.
	Durable func() uint64
	// Load tells what else the machine has to do. It is asked often. Nil means nothing.
	Load func() Load
	Log  *zap.Logger
}

// Index is the index of one archive. Run owns it; the other methods may be called from any goroutine, and
// before and after Run.
type Index struct {
	o       Options
	reached atomic.Uint64 // seq of the last record that is in it
	last    atomic.Int64  // when that was archived, µs
	level   atomic.Int64  // when the index last had all, µs
	faults  atomic.Uint64
	made    atomic.Uint64
	db      atomic.Pointer[database] // nil while it is not searched
	suspect atomic.Bool              // a search found that the file is not as it was written
	jobs    chan job

	mu    sync.Mutex
	moved chan struct{} // closed when reached changes
	hurry int           // searches that wait, and acts of Forget
}

type job struct {
	pending
	done chan error // holds one
}

// New returns an Index that Run opens.
func New(o Options) *Index {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	x := &Index{o: o, jobs: make(chan job), moved: make(chan struct{})}
	x.last.Store(time.Now().UnixMicro())
	return x
}

// ErrNotReady says that the index cannot be searched now: it is behind what was there at the start, being made again, or
// its disk fails.
var ErrNotReady = errors.New("index: not ready")

// Ready reports whether the index can be searched: it has all that was recorded before it was opened.
func (x *Index) Ready() bool { return x.db.Load() != nil }

// durable is the seq up to which the index should go.
func (x *Index) durable() (uint64, error) {
	if x.o.Durable != nil {
		return x.o.Durable(), nil
	}
	return x.o.Folder.LastSeq()
}

// Lag is how far the index is behind the record.
type Lag struct {
	Records uint64
	// Age of the oldest record that is not in it, about.
	Age time.Duration
}

// Lag returns how far the index is behind. Of an Index without Options.Durable it reads files.
func (x *Index) Lag() Lag {
	to, err := x.durable()
	reached := x.reached.Load()
	if err != nil || to <= reached {
		return Lag{}
	}
	since := time.UnixMicro(max(x.last.Load(), x.level.Load()))
	return Lag{Records: to - reached, Age: max(time.Since(since), 0)}
}

// Faults counts places of the archive that could not be read.
func (x *Index) Faults() uint64 { return x.faults.Load() }

// Made counts how often the index was made from nothing.
func (x *Index) Made() uint64 { return x.made.Load() }

// Wait returns when all that is durable now is in the index, or ctx ends, and how
// far it is behind then.
func (x *Index) Wait(ctx context.Context) Lag {
	to, err := x.durable()
	if err != nil {
		return Lag{}
	}
	defer x.hasten()()
	for {
		x.mu.Lock()
		moved := x.moved
		x.mu.Unlock()
		if x.reached.Load() >= to {
			return Lag{}
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return x.Lag()
		}
	}
}

// hasten has the follower not rest until the function it returns is called.
func (x *Index) hasten() func() {
	add := func(n int) {
		x.mu.Lock()
		x.hurry += n
		x.mu.Unlock()
	}
	add(1)
	return func() { add(-1) }
}

// waited reports whether somebody waits for what is not in the index yet, or for what is to be forgotten.
func (x *Index) waited() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.hurry > 0
}

// moveTo says how far the index goes.
func (x *Index) moveTo(seq uint64, archived time.Time) {
	x.reached.Store(seq)
	if !archived.IsZero() {
		x.last.Store(archived.UnixMicro())
	}
	x.mu.Lock()
	close(x.moved)
	x.moved = make(chan struct{})
	x.mu.Unlock()
}

// Pages of a search: the first is small, so that the first records come soon.
const (
	firstPage = 100
	mostPage  = 5000
)

// Search calls f with each record that q wants, in order, until f returns an error or ctx ends: those that
// archive.Folder.Search finds among the records that are in the index. ErrNotReady comes before f is called.
func (x *Index) Search(ctx context.Context, q archive.Query, f func(*archive.Record) error) error {
	db := x.db.Load()
	if db == nil {
		return ErrNotReady
	}
	p, err := db.plan(ctx, &q)
	if err != nil {
		return x.failed(ctx, err, true)
	}
	files := x.o.Folder.Fetcher()
	defer files.Close()
	first := true
	for seq, size := uint64(0), firstPage; ; size = min(size*4, mostPage) {
		hits, err := db.page(ctx, p, seq, size)
		if err != nil {
			return x.failed(ctx, err, first)
		}
		for _, h := range hits {
			seq = h.seq
			rec, err := files.Record(h.seq, h.segment, h.place)
			var fault *archive.Fault
			switch {
			case errors.As(err, &fault): // Verify names it
				continue
			case errors.Is(err, archive.ErrNotFound):
				return x.failed(ctx, errors.Join(errStale, err), first)
			case err != nil:
				return fmt.Errorf("read what the index found: %w", err)
			case !q.Matches(rec): // erased since it was indexed
				continue
			}
			if err := f(rec); err != nil {
				return err
			}
			first = false
		}
		if len(hits) < size {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// failed tells what an error of the database means to a search.
func (x *Index) failed(ctx context.Context, err error, first bool) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	x.o.Log.Warn("search of the index", zap.Error(err))
	if isCorrupt(err) {
		x.suspect.Store(true)
	}
	if first {
		return fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	return fmt.Errorf("search the index: %w", err)
}

// Forget takes the words out of the index that an author wrote and the archive has no more. It returns when
// they are out of its files. What is not in the index yet will come without them.
func (x *Index) Forget(ctx context.Context, author string) error {
	return x.do(ctx, pending{pendingErase, author})
}

// ForgetSegment is Forget for what a purge took out of a segment, given its file.
func (x *Index) ForgetSegment(ctx context.Context, file string) error {
	return x.do(ctx, pending{pendingPurge, file})
}

func (x *Index) do(ctx context.Context, p pending) error {
	defer x.hasten()()
	j := job{p, make(chan error, 1)}
	select {
	case x.jobs <- j:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrNotReady, ctx.Err())
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
