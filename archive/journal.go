package archive

import (
	"context"
	"errors"
	"time"
)

// Options of a journal. The zero value of each field means its default.
type Options struct {
	// Node is written to segments and to records that name none.
	Node string
	// SegmentBytes is the size at which a segment is finished and the next begun; default 64 MiB.
	SegmentBytes int64
	// MaxBatchBytes bounds one write; default 4 MiB.
	MaxBatchBytes int
	// MaxPending bounds the bytes that wait for the disk; beyond it Append
	// and Note refuse with ErrBusy. Default 64 MiB.
	MaxPending int
	// Log takes events an operator should see. It may be nil, and must not block.
	Log func(Event)
	// Hook is called before each operation on the disk, for tests: an error
	// it returns is taken as the disk's, and while it blocks the disk is slow.
	Hook func(op Op, bytes int) error
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

// Journal is the writer of an archive folder.
type Journal struct{}

// Open opens the archive in dir for writing.
func Open(dir string, o Options) (*Journal, error) { return nil, ErrUnavailable }

// Append writes r and returns when it is durable.
func (j *Journal) Append(ctx context.Context, r *Record) (Receipt, error) {
	return Receipt{}, ErrUnavailable
}

// Note writes r in order and does not wait for the disk.
func (j *Journal) Note(r *Record) error { return ErrUnavailable }

// Recent calls f with the records archived at since or later, in order.
func (j *Journal) Recent(since time.Time, f func(*Record) error) error { return ErrUnavailable }

// Err returns nil while the journal works.
func (j *Journal) Err() error { return ErrUnavailable }

// Close writes what waits and gives the folder free.
func (j *Journal) Close() error { return nil }
