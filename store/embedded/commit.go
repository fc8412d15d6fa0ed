package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"rollcall/store"
)

// committer is the one writer of all changes that go to a file before they are
// seen: of durable kinds, and of cold ones. It takes whatever waits into one
// transaction, so that many callers share its sync, and it alone decides on
// versions, so that no lock is held across the write.
type committer struct {
	db       *DB
	image    *image
	seq      store.Version // of the goroutine
	requests chan *request

	// gate is held for reading while a request is handed over and for writing
	// when the last one was.
	gate   sync.RWMutex
	closed bool
	done   chan struct{}

	failing atomic.Bool // the last commit failed
	wrote   atomic.Bool // something was committed since the last flush asked
}

type request struct {
	ks      *kindState
	owner   string
	base    store.Version
	changes []store.Change

	index   int // in a batch
	version store.Version
	err     error
	reply   chan<- *request // has room for every request that names it
}

// Bounds of one transaction: its pages are in memory until it is written.
const (
	commitRequests = 4096
	commitBytes    = 16 << 20
)

func newCommitter(db *DB, im *image) *committer {
	c := &committer{db: db, image: im, seq: db.epoch, requests: make(chan *request, commitRequests), done: make(chan struct{})}
	go c.run()
	return c
}

func (c *committer) close() {
	c.gate.Lock()
	c.closed = true
	close(c.requests)
	c.gate.Unlock()
	<-c.done
}

func (c *committer) submit(ctx context.Context, r *request) error {
	c.gate.RLock()
	defer c.gate.RUnlock()
	if c.closed {
		return store.ErrClosed
	}
	select {
	case c.requests <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *committer) apply(ctx context.Context, ks *kindState, owner string, base store.Version, changes []store.Change) (store.Version, error) {
	reply := make(chan *request, 1)
	// The caller may return before the commit, and then use its slice again.
	r := &request{ks: ks, owner: owner, base: base, changes: slices.Clone(changes), reply: reply}
	if err := c.submit(ctx, r); err != nil {
		return 0, err
	}
	select {
	case <-reply:
		return r.version, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (c *committer) run() {
	defer close(c.done)
	batch := make([]*request, 0, commitRequests)
	for r := range c.requests {
		batch = append(batch[:0], r)
		size := r.size()
	gather:
		for len(batch) < commitRequests && size < commitBytes {
			select {
			case r, ok := <-c.requests:
				if !ok {
					break gather
				}
				batch = append(batch, r)
				size += r.size()
			default:
				break gather
			}
		}
		c.commit(batch)
		clear(batch)
	}
}

func (r *request) size() int {
	n := len(r.owner)
	for i := range r.changes {
		n += len(r.changes[i].Item.ID) + len(r.changes[i].Item.Value)
	}
	return n
}

// reconcile makes the memory what the file is, for the owners of a commit that
// failed: if the very last sync is what failed, the file may have the changes,
// and a restart must not bring up what was never seen before.
func (c *committer) reconcile(batch []*request) {
	err := guard(func() error {
		return c.image.bolt.View(func(tx *bbolt.Tx) error {
			for _, r := range batch {
				if r.ks.cold {
					continue
				}
				s := state{next: never}
				if b := tx.Bucket(r.ks.hotBucket); b != nil {
					if raw := b.Get([]byte(r.owner)); raw != nil {
						var err error
						if s, err = decodeState(raw, true); err != nil {
							return err
						}
					}
				}
				r.ks.replace(r.owner, s)
			}
			return nil
		})
	})
	if err != nil {
		c.db.logger.Error("memory and image may differ until the next start", zap.String("file", c.image.path), zap.Error(err))
	}
}

// step is what a request did within the transaction.
type step struct {
	after   state
	written bool // the image changed
	changed bool // a watcher must hear
}

// commit does the requests in one transaction and answers them.
func (c *committer) commit(batch []*request) {
	steps := make([]step, len(batch))
	pending := make(map[store.Key]state) // hot owners, as the transaction leaves them
	err := guard(func() error {
		tx, err := c.image.bolt.Begin(true)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // after Commit it says so, and nothing else is to be done
		written := false
		for i, r := range batch {
			if steps[i], err = c.do(tx, r, pending); err != nil {
				return err
			}
			written = written || steps[i].written
		}
		if !written {
			return nil
		}
		return tx.Commit()
	})
	c.failing.Store(err != nil)
	if err != nil {
		c.reconcile(batch)
		err = fmt.Errorf("%w: write %s: %w", store.ErrUnavailable, c.image.path, err)
		for _, r := range batch {
			r.version, r.err = 0, err
			r.reply <- r
		}
		return
	}
	for i, r := range batch {
		if steps[i].written {
			c.wrote.Store(true)
		}
		if steps[i].written && !r.ks.cold {
			r.ks.replace(r.owner, steps[i].after)
		}
		if steps[i].changed {
			r.ks.hint(r.owner)
		}
		r.reply <- r
	}
}

// do decides one request and writes what it changes into the transaction. The
// error is the transaction's; a conflict is the request's own.
func (c *committer) do(tx *bbolt.Tx, r *request, pending map[store.Key]state) (step, error) {
	key := store.Key{Kind: r.ks.kind, Owner: r.owner}
	before, ok := pending[key]
	if !ok {
		if r.ks.cold {
			var err error
			if before, err = r.ks.readMeta(tx, r.owner); err != nil {
				return step{}, err
			}
		} else {
			before = r.ks.current(r.owner)
		}
	}
	now := nowMilli()
	if !matches(&before, now, r.base) {
		r.err = store.ErrConflict
		return step{}, nil
	}
	after, changed, dropped := before.apply(now, r.changes, nil)
	r.version = after.version
	if !changed && !dropped {
		return step{}, nil
	}
	if changed && len(after.items) > 0 {
		c.seq++
		after.version = c.seq
		r.version = c.seq
	}
	var err error
	if r.ks.cold {
		err = r.ks.writeCold(tx, r.owner, &before, &after, r.changes)
	} else {
		pending[key] = after
		err = r.ks.writeHot(tx, r.owner, &after)
	}
	return step{after: after, written: true, changed: changed}, err
}

func (ks *kindState) writeHot(tx *bbolt.Tx, owner string, s *state) error {
	b, err := tx.CreateBucketIfNotExists(ks.hotBucket)
	if err != nil {
		return err
	}
	if len(s.items) == 0 {
		return b.Delete([]byte(owner))
	}
	return b.Put([]byte(owner), encodeState(s, true))
}

// ping tries to write if the last commit failed.
func (c *committer) ping() error {
	if !c.failing.Load() {
		return nil
	}
	err := c.image.bolt.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(headBucket).Put(keyPing, numberBytes(uint64(nowMilli())))
	})
	if err != nil {
		return fmt.Errorf("%w: write %s: %w", store.ErrUnavailable, c.image.path, err)
	}
	c.failing.Store(false)
	return nil
}

// ApplyAll implements store.Batcher. The ops share transactions of up to 4096.
func (db *DB) ApplyAll(ctx context.Context, ops []store.Op) error {
	var refused []error
	refuse := func(i int, err error) {
		if len(refused) < store.MaxOpErrors {
			refused = append(refused, &store.OpError{Index: i, Key: ops[i].Key, Err: err})
		}
	}
	var failed error
	reply := make(chan *request, commitRequests)
	waiting := 0
	take := func() {
		r := <-reply
		waiting--
		switch {
		case errors.Is(r.err, store.ErrConflict):
			refuse(r.index, r.err)
		case r.err != nil && failed == nil:
			failed = r.err
		}
	}
	for i, op := range ops {
		ks, err := db.enter(ctx, op.Key, op.Changes)
		if errors.Is(err, store.ErrInvalid) {
			refuse(i, err)
			continue
		}
		if err == nil && ks.memory {
			_, err = ks.applyMemory(op.Key.Owner, op.Base, op.Changes)
			if errors.Is(err, store.ErrConflict) {
				refuse(i, err)
				continue
			}
		} else if err == nil {
			if waiting == cap(reply) {
				take()
			}
			r := &request{ks: ks, owner: op.Key.Owner, base: op.Base, changes: op.Changes, index: i, reply: reply}
			if err = ks.committer().submit(ctx, r); err == nil {
				waiting++
			}
		}
		if err != nil && failed == nil {
			failed = err
		}
		if failed != nil {
			break
		}
	}
	for waiting > 0 {
		take()
	}
	if failed != nil {
		return fmt.Errorf("apply %d ops: %w", len(ops), failed)
	}
	return errors.Join(refused...)
}
