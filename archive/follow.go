package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// FollowOptions say what Folder.Follow gives.
type FollowOptions struct {
	// After is the seq of the record behind which it begins; 0 is the first of all.
	After uint64
	// Durable returns the seq of the last record that is on the disk: later ones
	// wait until they are. With nil a record may be given a moment before; were the
	// machine to lose its power then, another could be in its place.
	Durable func() uint64
	// Fault is told of damage, behind which Follow goes on. With nil damage ends it.
	Fault func(*Fault) error
	// Once ends with the last record that is there.
	Once bool
}

// followEvery is how often Follow looks for further records.
const followEvery = 100 * time.Millisecond

// Follow calls f with each record, in order and each once, and waits for further
// ones, until f returns an error or ctx ends (then it returns nil).
func (a Folder) Follow(ctx context.Context, o FollowOptions, f func(*Record) error) error {
	var r *Reader // nil until there is something to read: a reader opens files
	defer func() {
		if r != nil {
			_ = r.Close() // it was read
		}
	}()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	seq := o.After
	for ctx.Err() == nil {
		wanted := ^uint64(0)
		if o.Durable != nil {
			wanted = o.Durable()
		}
		if r == nil && seq < wanted {
			var err error
			if r, err = a.readerAt(seq + 1); err != nil {
				return fmt.Errorf("follow the archive: %w", err)
			}
		}
		atEnd := true
		for seq < wanted && ctx.Err() == nil {
			rec, _, err := r.Next()
			var fault *Fault
			if errors.As(err, &fault) && o.Fault != nil {
				err = o.Fault(fault)
				if err == nil {
					continue
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if rec.Seq <= seq { // its segment begins before what is wanted
				continue
			}
			if err := f(rec); err != nil {
				return err
			}
			seq, atEnd = rec.Seq, false
		}
		switch {
		case o.Once:
			return nil
		case !atEnd: // what came meanwhile
			continue
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
}

// ActStream is the action of the acts of those who follow the record as it grows.
const ActStream = "stream"

// Durable returns the seq of the last record that is on the disk, 0 for none.
func (j *Journal) Durable() uint64 { return j.seq.Load() }
