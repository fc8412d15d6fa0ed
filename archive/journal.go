package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Options of a journal. The zero value of each field means its default.
type Options struct {
	// Node is written to segments and to records that name none.
	Node string
	// SegmentBytes is the size at which a segment is finished and the next begun; default 64 MiB.
	SegmentBytes int64
	// MaxBatchBytes bounds one write; default 4 MiB. A single record may be larger.
	MaxBatchBytes int
	// MaxPending bounds the bytes that wait for the disk; beyond it Append
	// and Note refuse with ErrBusy. Default 64 MiB.
	MaxPending int
	// Log takes events an operator should see. It may be nil, and must not block.
	Log func(Event)
	// Began is called when a segment was begun, and so all before it are
	// finished. It may be nil, and must not block.
	Began func()
	// Synced is told how long the disk took for each sync, of keys and records together. It may be nil, and must not block.
	Synced func(took time.Duration)
	// Run is given what makes the calls of AppendFunc for some records that became
	// durable together. It does not wait for them, and has them made once, soon, on
	// another goroutine. Nil means one of their own.
	Run func(calls func())
	// Keys seals the content of records that name their author. Nil leaves it plain.
	Keys Sealer
	// Origin names the log in its checkpoints, and Signers returns the keys that
	// sign them. With nil no checkpoints are made.
	Origin  string
	Signers func() []note.Signer
	// Checkpoint is called with each new checkpoint. It may be nil, and must not block.
	Checkpoint func(signed []byte)
	// Hook is called before each operation on the disk, for tests: an error
	// it returns is taken as the disk's, and while it blocks the disk is slow.
	Hook func(op Op, bytes int) error

	// noSync leaves out fdatasync, to measure what remains.
	noSync bool
}

// Op names an operation on the disk.
type Op string

// The operations that Options.Hook sees.
const (
	OpCreate Op = "create" // a new segment file
	OpWrite  Op = "write"
	OpSync   Op = "sync"
)

// Event is something an operator should see.
type Event struct {
	What   string // "torn tail cut", "journal failed", "journal works again", …
	File   string
	Offset int64
	Bytes  int64
	Err    error
}

// Errors a caller may branch on. What a journal returns wraps one of them.
var (
	ErrUnavailable = errors.New("archive: journal is not working")
	ErrBusy        = errors.New("archive: too much waits for the disk")
	ErrTooLarge    = errors.New("archive: record too large")
	ErrInvalid     = errors.New("archive: invalid record")
	ErrLocked      = errors.New("archive: folder is in use by another journal")
	ErrClosed      = errors.New("archive: journal is closed")
)

// probeEvery is how often a journal that failed tries the disk again, when asked.
const probeEvery = time.Second

// Journal is the one writer of an archive folder. Its methods may be called
// from any goroutine.
//
// Callers encode and seal their records, and add them to a shared batch under mu; one goroutine,
// the committer, takes the batch, writes it with one write(2) and one
// fdatasync(2), and wakes all who wait for it. While it does so the next
// batch gathers. No lock is held across I/O.
type Journal struct {
	dir  string
	dirf *os.File // holds the lock
	o    Options

	callers sync.WaitGroup // calls of AppendFunc that were given to Options.Run
	wake    chan struct{}  // tells the committer that there is work; holds one
	stopped chan struct{}  // closed when the committer has ended

	mu       sync.Mutex
	queue    []*batch // full batches, oldest first
	cur      *batch   // the batch that gathers; nil when empty
	spare    [][]byte // buffers to use again
	expected int      // calls of a batch, as the last one had
	pending  int      // bytes in batches that are not durable, and in backlog
	backlog  []byte   // frames of notes that a failed write left over
	failed   error    // why the journal does not work; nil while it does
	probing  bool     // a batch is under way to find out whether it works again
	probedAt time.Time
	closing  bool
	closeErr error

	// The rest belongs to the committer (and to Open before it starts).
	seg          *segment
	number       uint64 // of the next segment to be made
	nextSeq      uint64
	lastArchived int64
	lastCommit   time.Time // when it began
	loaded       int       // commits for which load still counts
	leftover     uint64    // number of a file that was given up and could not be removed
	prev         link      // the segment before seg, or the last one when seg is nil
	unsynced     []*batch  // written, not yet durable: notes only
	tree         *tree     // over the records that are durable
	tiles        tileWriter
	signed       int64     // records under the last checkpoint
	checkpointed time.Time // when that was tried
	leaf         []byte    // buffer

	seq      atomic.Uint64 // last durable
	records  atomic.Uint64
	bytes    atomic.Uint64
	syncs    atomic.Uint64
	writes   atomic.Uint64
	failures atomic.Uint64
	newest   atomic.Pointer[[]byte] // checkpoint
}

// batch is what goes to the disk with one write. Until it is taken it belongs
// to Journal.mu, then to the committer. What a waiter reads is written before
// done is closed.
type batch struct {
	buf     []byte
	records int
	leaves  []tlog.Hash // of the records; from when it was written on
	notes   []int       // offsets of the frames that nobody waits for
	waiters int
	probe   bool
	done    chan struct{}
	calls   []call // of AppendFunc

	err      error
	firstSeq uint64
	archived int64
}

// Append writes r and returns when it is on stable storage. It sets Seq,
// Archived and Salt of r, and ID and Node if they are empty, and keeps no
// reference to r.
//
// On an error r is not acknowledged and the journal tries to take it back. If
// ctx ends first, or the process dies, the record may or may not be in the
// archive. Errors: ErrUnavailable (the disk refused, or did a moment ago),
// ErrBusy, ErrTooLarge, ErrInvalid, ErrClosed, or the context's.
func (j *Journal) Append(ctx context.Context, r *Record) (Receipt, error) {
	if err := ctx.Err(); err != nil {
		return Receipt{}, fmt.Errorf("append to archive: %w", err)
	}
	b, index, err := j.add(r, false, nil)
	if err != nil {
		return Receipt{}, err
	}
	if d := ctx.Done(); d == nil {
		<-b.done
	} else {
		select {
		case <-b.done:
		case <-d:
			return Receipt{}, fmt.Errorf("append to archive: %w", ctx.Err())
		}
	}
	if b.err != nil {
		return Receipt{}, b.err
	}
	r.Seq = b.firstSeq + uint64(index)
	r.Archived = fromMicros(uint64(b.archived))
	return Receipt{id: r.ID, seq: r.Seq}, nil
}

// AppendFunc is Append for a caller that does not wait: done is called once, with
// what Append would return, on a goroutine of the journal's that calls for many
// records in turn, so it should not wait for long. An error that is returned
// means that done is not called.
func (j *Journal) AppendFunc(r *Record, done func(Receipt, error)) error {
	_, _, err := j.add(r, false, done)
	return err
}

// call is who wants to hear of a record in a batch.
type call struct {
	id    ID
	index int
	done  func(Receipt, error)
}

// callsTogether is how many calls are given to Options.Run at a time.
const callsTogether = 64

// acknowledge wakes all who wait for the batch, and calls the others.
func (j *Journal) acknowledge(b *batch) {
	close(b.done)
	for calls := b.calls; len(calls) > 0; {
		some := calls[:min(callsTogether, len(calls))]
		calls = calls[len(some):]
		j.callers.Add(1)
		j.o.Run(func() {
			defer j.callers.Done()
			for _, c := range some {
				if b.err != nil {
					c.done(Receipt{}, b.err)
				} else {
					c.done(Receipt{id: c.id, seq: b.firstSeq + uint64(c.index)}, nil)
				}
			}
		})
	}
}

// Note writes r in order, at once, and does not wait for it: it is with the
// operating system within moments and on stable storage with the next commit,
// a few milliseconds later at most. It sets ID, Node and Salt of r as Append
// does, and keeps no reference to r.
//
// While the disk does not work notes are kept in memory, up to
// Options.MaxPending, and written when it works again.
func (j *Journal) Note(r *Record) error {
	_, _, err := j.add(r, true, nil)
	return err
}

// add puts r into the gathering batch; done may be nil.
func (j *Journal) add(r *Record, note bool, done func(Receipt, error)) (*batch, int, error) {
	if _, err := r.check(); err != nil {
		return nil, 0, err
	}
	r.prepare(j.o.Node)
	buf := scratchFrames.Get().(*[]byte)
	defer scratchFrames.Put(buf)
	frame, err := appendFrame((*buf)[:0], r, j.o.Keys)
	if err != nil {
		return nil, 0, err
	}
	*buf = frame
	size := len(frame)

	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return nil, 0, ErrClosed
	}
	full := j.pending > 0 && j.pending+size > j.o.MaxPending
	if j.failed != nil && !j.mayProbe() {
		err := j.failed
		if note && !full {
			j.backlog = append(j.backlog, frame...)
			j.pending += size
			err = nil
		}
		j.mu.Unlock()
		return nil, 0, err
	}
	if full && j.failed == nil {
		j.mu.Unlock()
		return nil, 0, ErrBusy
	}
	b := j.gather(size)
	at := len(b.buf)
	b.buf = append(b.buf, frame...)
	j.pending += size
	index := b.records
	b.records++
	if done != nil {
		b.calls = append(b.calls, call{r.ID, index, done})
	}
	tell := index == 0
	if note {
		b.notes = append(b.notes, at)
	} else {
		b.waiters++
		tell = tell || b.waiters == 1
	}
	j.mu.Unlock()
	if tell {
		j.signal()
	}
	return b, index, nil
}

// prepare sets what a record has before it is written.
func (r *Record) prepare(node string) {
	if r.ID.IsZero() {
		now := r.Received
		if now.IsZero() {
			now = time.Now()
		}
		r.ID = NewID(now)
	}
	if r.Node == "" {
		r.Node = node
	}
	r.Seq, r.Archived = 0, time.Time{}
	newSalt(&r.Salt)
}

// gather returns the batch to add size bytes to. j.mu is held.
func (j *Journal) gather(size int) *batch {
	if b := j.cur; b != nil && len(b.buf)+size > j.o.MaxBatchBytes && b.records > 0 {
		j.queue = append(j.queue, b)
		j.cur = nil
	}
	if j.cur != nil {
		return j.cur
	}
	b := &batch{done: make(chan struct{}), calls: make([]call, 0, j.expected)}
	if n := len(j.spare); n > 0 {
		b.buf, j.spare = j.spare[n-1], j.spare[:n-1]
	}
	b.probe = j.failed != nil // mayProbe allowed it
	if len(j.backlog) > 0 {
		for at := 0; at < len(j.backlog); {
			b.notes = append(b.notes, at)
			b.records++
			at += frameSize(j.backlog[at:])
		}
		b.buf = append(b.buf, j.backlog...)
		j.backlog = nil
	}
	j.cur = b
	return b
}

// mayProbe reports whether the next batch may try the disk again, and marks
// it as tried. j.mu is held.
func (j *Journal) mayProbe() bool {
	if j.probing || time.Since(j.probedAt) < probeEvery {
		return false
	}
	j.probing, j.probedAt = true, time.Now()
	return true
}

// opener opens what this journal sealed; nil when it seals nothing.
func (j *Journal) opener() Opener {
	if j.o.Keys == nil {
		return nil
	}
	return j.o.Keys
}

func (j *Journal) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Err returns nil while the journal works, else why it does not. Asking it
// also makes a journal that failed try again, at most once a second.
func (j *Journal) Err() error {
	j.mu.Lock()
	err := j.failed
	if j.closing {
		err = ErrClosed
	}
	probe := err != nil && !j.closing && j.mayProbe()
	if probe {
		j.gather(0)
	}
	j.mu.Unlock()
	if probe {
		j.signal()
	}
	return err
}

// JournalStats counts what a journal has done since it was opened.
type JournalStats struct {
	Seq     uint64 `json:"seq"`     // of the last durable record
	Records uint64 `json:"records"` // made durable
	Bytes   uint64 `json:"bytes"`   // of those records
	Writes  uint64 `json:"writes"`
	Syncs   uint64 `json:"syncs"`
	// Failures counts how often the journal ceased to work.
	Failures uint64 `json:"failures"`
	Pending  int    `json:"pending_bytes"` // waiting for the disk
	Backlog  int    `json:"backlog_bytes"` // of them notes kept while the disk does not work
}

// Stats returns the counters.
func (j *Journal) Stats() JournalStats {
	j.mu.Lock()
	pending, backlog := j.pending, len(j.backlog)
	j.mu.Unlock()
	return JournalStats{
		Seq: j.seq.Load(), Records: j.records.Load(), Bytes: j.bytes.Load(),
		Writes: j.writes.Load(), Syncs: j.syncs.Load(),
		Failures: j.failures.Load(), Pending: pending, Backlog: backlog,
	}
}

// Close makes durable what waits, finishes the segment and gives the folder
// free. Further calls return ErrClosed.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return ErrClosed
	}
	j.closing = true
	if j.failed != nil && len(j.backlog) > 0 && !j.probing {
		j.probing = true
		j.gather(0) // one last try to keep the notes
	}
	j.mu.Unlock()
	j.signal()
	<-j.stopped
	j.callers.Wait()
	if err := j.dirf.Close(); err != nil && j.closeErr == nil {
		j.closeErr = err
	}
	return j.closeErr
}
