package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
)

const (
	batchRecords = 4000
	batchTime    = 200 * time.Millisecond
	// poll is how often the follower looks for new records, and for searches that wait.
	poll = 20 * time.Millisecond
	// busyRecords is how many records a batch has while the load is Busy.
	busyRecords = 256
	// retry is how long it waits after an error of the disk, and owedEvery how often what is pending is tried again.
	retry     = 10 * time.Second
	owedEvery = 10 * time.Minute
)

// Run opens the index and keeps it up to date until ctx ends; then it closes it. It makes the index again when
// it is damaged, and waits when the disk fails.
func (x *Index) Run(ctx context.Context) {
	for {
		err := x.run(ctx)
		if ctx.Err() != nil {
			return
		}
		if isCorrupt(err) {
			x.o.Log.Warn("the index is made again", zap.Error(err))
			if err = Remove(x.o.Dir); err == nil {
				continue
			}
		}
		x.o.Log.Error("the index waits", zap.Error(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
	}
}

// run is one life of the database. It returns the error that ended it.
func (x *Index) run(ctx context.Context) (err error) {
	db, seq, err := openDatabase(ctx, x.o.Dir, x.o.Folder)
	if err != nil {
		return err
	}
	f := &follower{x: x, db: db, seq: seq, b: newBatch(), pace: pacer{x: x, ended: ctx.Done()}}
	if f.whole, err = x.durable(); err != nil {
		return errors.Join(fmt.Errorf("read the archive: %w", err), db.close())
	}
	defer func() {
		x.db.Store(nil)
		if f.r != nil {
			err = errors.Join(err, f.r.Close())
		}
		err = errors.Join(err, db.close())
	}()
	if seq == 0 {
		x.made.Add(1)
	}
	x.moveTo(seq, time.Time{})
	if err := f.owed(ctx); err != nil {
		return err
	}
	return f.follow(ctx)
}

// follower reads the archive into the database. It belongs to the goroutine of Run.
type follower struct {
	x     *Index
	db    *database
	r     *archive.Reader
	seq   uint64 // of the last record that was read
	whole uint64 // seq of the last record that there was at the start: the index is searched when it has that
	b     *batch
	since time.Time // of the first record in b
	pace  pacer

	entered bool // r has returned a record that was not in the database
}

// owed does what the record told of, and what may not have been done then.
func (f *follower) owed(ctx context.Context) error {
	list, err := f.db.owed(ctx)
	for _, p := range list {
		if err == nil {
			err = f.db.forget(ctx, f.x.o.Folder, p)
		}
	}
	return err
}

func (f *follower) follow(ctx context.Context) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	tried := time.Now()
	for {
		if f.x.suspect.Swap(false) {
			return errStale
		}
		f.pace.begin()
		caughtUp, err := f.read(ctx)
		if err != nil {
			return err
		}
		full := len(f.b.rows) >= f.most() || !f.since.IsZero() && time.Since(f.since) >= batchTime
		if full || len(f.b.rows) > 0 && f.x.waited() {
			if err := f.commit(ctx); err != nil {
				return err
			}
		}
		if len(f.b.rows) == 0 && (caughtUp || f.seq >= f.whole) {
			f.x.db.Store(f.db)
		}
		if caughtUp && len(f.b.rows) == 0 {
			f.x.level.Store(time.Now().UnixMicro())
		}
		if time.Since(tried) > owedEvery {
			tried = time.Now()
			if err := f.owed(ctx); err != nil {
				return err
			}
		}
		if !caughtUp {
			select {
			case <-ctx.Done():
				return f.commit(context.WithoutCancel(ctx))
			case j := <-f.x.jobs:
				if err := f.do(ctx, j); err != nil {
					return err
				}
			default:
			}
			continue
		}
		if ended, err := f.pause(ctx, tick); ended || err != nil {
			return err
		}
	}
}

// pause waits for the next tick, and does meanwhile what Forget asks for. It has ended when ctx has.
func (f *follower) pause(ctx context.Context, tick *time.Ticker) (ended bool, err error) {
	select {
	case <-ctx.Done():
		return true, f.commit(context.WithoutCancel(ctx))
	case <-tick.C:
		return false, nil
	case j := <-f.x.jobs:
		return false, f.do(ctx, j)
	}
}

// do does what Forget asks for, after all that was read is in the database.
func (f *follower) do(ctx context.Context, j job) error {
	err := f.commit(ctx)
	if err == nil {
		err = f.db.forget(ctx, f.x.o.Folder, j.pending)
	}
	j.done <- err
	return err
}

// read reads records into the batch until it is full or there are no more.
func (f *follower) read(ctx context.Context) (caughtUp bool, err error) {
	durable := ^uint64(0)
	if f.x.o.Durable != nil {
		durable = f.x.o.Durable()
	}
	if f.r == nil && f.seq < durable {
		if f.r, err = f.x.o.Folder.ReaderFrom(f.seq + 1); err != nil {
			return false, fmt.Errorf("read the archive: %w", err)
		}
	}
	for f.seq < durable {
		rec, at, err := f.r.Next()
		var fault *archive.Fault
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case errors.As(err, &fault):
			if f.x.faults.Add(1) == 1 {
				f.x.o.Log.Warn("the index leaves out what is damaged", zap.Error(fault))
			}
			continue
		case err != nil:
			return false, fmt.Errorf("read the archive: %w", err)
		}
		if rec.Seq <= f.seq {
			if !f.entered { // the segment begins before the record that is wanted
				continue
			}
			if void, err := f.void(ctx, rec); err != nil {
				return false, err
			} else if !void {
				continue
			}
		}
		f.entered = true
		if len(f.b.rows) == 0 {
			f.since = time.Now()
		}
		f.b.add(rec, at)
		f.seq = rec.Seq
		if len(f.b.rows)%pieceRecords == 0 {
			f.pace.end()
		}
		if len(f.b.rows) >= f.most() || len(f.b.rows)%64 == 0 && time.Since(f.since) >= batchTime {
			return false, nil
		}
	}
	return true, nil
}

// void handles a record that was read again. If it is another than before, those that were read from
// there on were not durable, and go.
func (f *follower) void(ctx context.Context, rec *archive.Record) (bool, error) {
	if err := f.commit(ctx); err != nil {
		return false, err
	}
	var id []byte
	err := f.db.write.QueryRowContext(ctx, "SELECT id FROM record WHERE seq = ?", int64(rec.Seq)).Scan(&id)
	if err == nil && string(id) == string(rec.ID[:]) || errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.db.rewind(ctx, rec.Seq)
}

// most is how many records a batch has.
func (f *follower) most() int {
	if f.pace.load == Busy {
		return busyRecords
	}
	return batchRecords
}

// commit writes the batch.
func (f *follower) commit(ctx context.Context) error {
	if len(f.b.rows) == 0 {
		return nil
	}
	if err := f.db.commit(ctx, f.b, &f.pace); err != nil {
		return err
	}
	f.x.moveTo(f.b.last.Seq, f.b.last.Archived)
	f.b, f.since = newBatch(), time.Time{}
	return nil
}
