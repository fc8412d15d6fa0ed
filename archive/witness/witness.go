package witness

import (
	"context"
	"fmt"
	"sync"
	"time"

	"rollcall/archive"
)

// Place takes checkpoints. Its methods are called one at a time.
type Place interface {
	// Take keeps a signed checkpoint. What comes back are signatures of its own, if it
	// makes any.
	Take(ctx context.Context, signed []byte) (cosigned []byte, err error)
	// String names it as it is configured.
	String() string
}

// Witness shows checkpoints to a place.
type Witness struct {
	place Place
	every time.Duration
	kept  func(signed, cosigned []byte) error

	mu     sync.Mutex
	newest []byte
	state  State
	fails  uint64
	wake   chan struct{}
}

const (
	retryFirst   = time.Second
	retryMost    = 5 * time.Minute
	takeWithin   = 30 * time.Second
	finishWithin = 2 * time.Second
)

// New returns a witness that is shown a checkpoint at most so often. Kept is given what
// the place signed; nil: it is thrown away.
func New(p Place, every time.Duration, last State, kept func(signed, cosigned []byte) error) *Witness {
	last.Name = p.String()
	return &Witness{place: p, every: every, kept: kept, state: last, wake: make(chan struct{}, 1)}
}

// Offer gives the witness a newer checkpoint. It does not wait.
func (w *Witness) Offer(signed []byte) {
	w.mu.Lock()
	w.newest = signed
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// State returns what the witness has, and how often it failed.
func (w *Witness) State() (State, uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, w.fails
}

// Finish shows the last checkpoint there is, if the place takes it soon. Run has ended.
func (w *Witness) Finish() {
	ctx, cancel := context.WithTimeout(context.Background(), finishWithin)
	defer cancel()
	_ = w.show(ctx) // it is in the state
}

// Run shows checkpoints until ctx ends.
func (w *Witness) Run(ctx context.Context) {
	pause := retryFirst
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		wait := w.every
		if err := w.show(ctx); err != nil {
			wait = pause
			pause = min(2*pause, retryMost)
			select {
			case w.wake <- struct{}{}:
			default:
			}
		} else {
			pause = retryFirst
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// show shows the newest checkpoint, if it has not been shown.
func (w *Witness) show(ctx context.Context) error {
	w.mu.Lock()
	signed, known := w.newest, w.state.Size
	w.mu.Unlock()
	cp, err := archive.ParseCheckpoint(signed)
	if err != nil || cp.Size == known {
		return nil // nothing new
	}
	ctx, cancel := context.WithTimeout(ctx, takeWithin)
	defer cancel()
	var cosigned []byte
	if cp.Size < known { // no crash does that: a checkpoint is over records that are on the disk
		err = fmt.Errorf("it has seen %d records and the archive has %d: the archive was cut, is an older copy, or another", known, cp.Size)
	} else {
		cosigned, err = w.place.Take(ctx, signed)
	}
	if err == nil && len(cosigned) > 0 && w.kept != nil {
		if err = w.kept(signed, cosigned); err != nil {
			err = fmt.Errorf("keep what %s signed: %w", w.place, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.fails++
		w.state.Err = err.Error()
		return err
	}
	w.state.Size, w.state.At, w.state.Err = cp.Size, time.Now().UTC(), ""
	return nil
}
