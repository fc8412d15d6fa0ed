package archive

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Open opens the archive in dir for writing and makes the folder if it is not
// there. A second journal on the same folder, of this or another process,
// gets ErrLocked.
//
// Open repairs what a crash left behind: a write that was not finished, at
// the end of the last segment, is cut off. Damage before the last finished
// write is left as it is for Verify to name; the journal then goes on in a
// new segment with the next seq.
func Open(dir string, o Options) (*Journal, error) {
	o.defaults()
	if len(o.Node) > maxNode {
		return nil, fmt.Errorf("%w: the node's name has %d bytes", ErrTooLarge, len(o.Node))
	}
	if err := makeFolder(dir); err != nil {
		return nil, fmt.Errorf("make archive folder: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open archive folder: %w", err)
	}
	// The lock is on the folder itself: the archive holds nothing but the record.
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = d.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
		}
		return nil, fmt.Errorf("lock archive folder: %w", err)
	}
	j := &Journal{
		dir: dir, dirf: d, o: o,
		wake: make(chan struct{}, 1), stopped: make(chan struct{}),
		number: 1, nextSeq: 1,
	}
	if err := j.recover(); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("recover archive: %w", err)
	}
	if err := j.openTree(); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("recover archive: %w", err)
	}
	go j.run()
	return j, nil
}

// makeFolder makes the folder of an archive, if it is not there, so that its name is on the disk
// before any record in it counts as durable.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// recover finds the end of the record and brings the last segment to it.
func (j *Journal) recover() error {
	numbers, _, err := listSegments(j.dir)
	if err != nil {
		return err
	}
	for i := len(numbers) - 1; i >= 0; i-- {
		name := segmentName(numbers[i])
		path := segmentPath(j.dir, numbers[i])
		t, err := readTail(path, name)
		if err != nil {
			return err
		}
		if t.empty {
			j.event(Event{What: "segment without a record removed", File: name, Bytes: t.size})
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove empty segment: %w", err)
			}
			continue
		}
		if t.damage != nil {
			j.event(Event{What: "archive is damaged", File: name, Offset: t.damage.Offset, Err: t.damage})
		}
		return j.continueAfter(path, name, t, i > 0 && numbers[i-1] == numbers[i]-1)
	}
	return j.syncFolder()
}

func (j *Journal) continueAfter(path, name string, t tail, hasPrev bool) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open last segment: %w", err)
	}
	defer f.Close()
	if !t.ended && t.damage == nil {
		if t.torn > 0 {
			j.event(Event{What: "torn tail cut", File: name, Offset: t.end, Bytes: t.torn})
		}
		if err := f.Truncate(t.end); err != nil {
			return fmt.Errorf("cut torn tail: %w", err)
		}
		e := end{id: t.header.id, records: t.records, offset: t.end, crc: t.crc}
		b := e.encode()
		if _, err := f.WriteAt(b, t.end); err == nil {
			t.crc = crc32.Update(t.crc, castagnoli, b)
			t.end += int64(len(b))
		} else if err := f.Truncate(t.end); err != nil { // a full disk: the next segment's header ends this one
			return fmt.Errorf("cut torn tail: %w", err)
		}
	}
	if !j.o.noSync {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("sync last segment: %w", err)
		}
	}
	if p := t.header.prev; hasPrev && t.damage == nil {
		// A segment that was given up after an error of the disk may still
		// have bytes that its successor declared void.
		prev := segmentPath(j.dir, t.header.number-1)
		if fi, err := os.Stat(prev); err == nil && fi.Size() > p.length {
			if err := os.Truncate(prev, p.length); err != nil {
				return fmt.Errorf("cut void bytes: %w", err)
			}
		}
	}
	j.number = t.header.number + 1
	j.nextSeq = t.lastSeq + 1
	j.lastArchived = t.lastArchived
	j.prev = link{id: t.header.id, length: t.end, crc: t.crc}
	j.seq.Store(t.lastSeq)
	return j.syncFolder()
}

// tail is what a segment says about its end.
type tail struct {
	header       header
	records      uint64
	lastSeq      uint64
	lastArchived int64
	end          int64  // behind the last whole frame
	crc          uint32 // of all before end
	size         int64
	torn         int64 // bytes from end to the last one that is not zero
	ended        bool
	empty        bool // no record in it was ever durable
	damage       *Fault
}

// readTail walks a whole segment.
func readTail(path, name string) (t tail, err error) {
	w, err := openWindow(path, name)
	if err != nil {
		return t, err
	}
	defer w.f.Close()
	t.size = w.limit
	h, ok, bad, err := w.header()
	if err != nil {
		return t, err
	}
	if !ok {
		// The header is made durable before the first record is written.
		zeros, at, err := w.zerosFrom(headerBlock)
		if err != nil {
			return t, err
		}
		if t.empty = zeros; !zeros {
			return t, &Fault{File: name, Reason: fmt.Sprintf("%s, but something is written at byte %d", bad, at)}
		}
		return t, nil
	}
	if segmentName(h.number) != name {
		return t, &Fault{File: name, Reason: fmt.Sprintf("its header says that it is segment %d", h.number)}
	}
	if bad != "" {
		t.damage = &Fault{File: name, Reason: bad}
	}
	t.header, t.end = h, headerBlock
	t.lastSeq, t.lastArchived = h.firstSeq-1, h.notBefore
	for !t.ended {
		f, bad, err := w.frame(t.end)
		if err != nil {
			return t, err
		}
		if f == nil {
			more, err := t.behind(w, bad)
			if err != nil {
				return t, err
			}
			if !more {
				break
			}
			continue
		}
		t.end += int64(len(f))
		if f[frameHead+atType] == typeEnd {
			t.ended = true
			break
		}
		if f[frameHead+atType] > typeMax || len(f) < frameHead+recordHead {
			continue // a checkpoint, or a structure of a later version
		}
		t.records++
		if s := seqOf(f); s != t.lastSeq+1 && t.damage == nil {
			t.damage = &Fault{File: name, Offset: t.end - int64(len(f)), Seq: t.lastSeq + 1, Reason: fmt.Sprintf("seq is %d", s)}
		}
		if s, a := seqOf(f), archivedOf(f); s < maxSeq && 0 <= a && a <= maxTime {
			t.lastSeq, t.lastArchived = max(t.lastSeq, s), max(t.lastArchived, a)
		}
	}
	t.empty = t.records == 0 && t.damage == nil && !t.ended
	t.crc, err = w.sum(t.end)
	return t, err
}

// behind decides what the bytes at t.end are, which are no whole frame:
// nothing, the torn end of the last write, or damage with records behind it,
// to which it then moves on.
func (t *tail) behind(w *window, bad string) (more bool, err error) {
	zeros, _, err := w.zerosFrom(t.end)
	if err != nil || zeros {
		return false, err
	}
	_, fenced, err := w.resync(t.end, t.lastSeq+1, true)
	if err != nil {
		return false, err
	}
	if !fenced {
		t.torn = w.limit - t.end
		return false, nil
	}
	if bad == "" {
		bad = "zeros within the record"
	}
	if t.damage == nil {
		t.damage = &Fault{File: w.name, Offset: t.end, Seq: t.lastSeq + 1, Reason: bad}
	}
	at, ok, err := w.resync(t.end, t.lastSeq+1, false)
	t.end = max(at, t.end)
	return ok, err
}

// header reads the header block and sets the seed of the window. ok says that
// h can be used; bad what is wrong with the block, or with one copy of it.
func (w *window) header() (h header, ok bool, bad string, err error) {
	b, err := w.peek(0, headerBlock)
	if err != nil {
		return h, false, "", err
	}
	if len(b) < headerBlock { // the block is whole before the first record is written
		return h, false, "segment header cut off", nil
	}
	for at := headerCopy; at >= 0; at -= headerCopy {
		var one header
		if reason := one.fromCopy(b[at:]); reason != "" {
			bad = reason
		} else {
			h, ok = one, true
		}
	}
	w.seed = seedOf(h.id)
	return h, ok, bad, nil
}

func (h *header) fromCopy(b []byte) (bad string) {
	if len(b) < headerCopy {
		return "segment header cut off"
	}
	m := string(b[:len(magic)])
	if m != magic && m != magicCompressed {
		return "not a segment of this version"
	}
	b = b[len(magic):headerCopy]
	n, _ := frameLen(b)
	if n < 0 || frameHead+n > len(b) || !frameValid(b[:frameHead+n], 0) {
		return "segment header damaged"
	}
	if !allZero(b[frameHead+n:]) {
		return "no zeros behind the segment header"
	}
	if err := h.decode(b[frameHead : frameHead+n]); err != nil {
		return err.Error()
	}
	if h.compressed() != (m == magicCompressed) {
		return "segment header of the other kind"
	}
	return ""
}

// sum returns the CRC32C of the first n bytes.
func (w *window) sum(n int64) (uint32, error) {
	var c uint32
	for off := int64(0); off < n; {
		b, err := w.peek(off, int(min(windowBytes, n-off)))
		if err != nil {
			return 0, err
		}
		if len(b) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		c = crc32.Update(c, castagnoli, b)
		off += int64(len(b))
	}
	return c, nil
}

func (o *Options) defaults() {
	if o.Run == nil {
		o.Run = func(calls func()) { go calls() }
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.MaxBatchBytes <= 0 {
		o.MaxBatchBytes = 4 << 20
	}
	if o.MaxPending <= 0 {
		o.MaxPending = 64 << 20
	}
}

func (j *Journal) event(e Event) {
	if j.o.Log != nil {
		j.o.Log(e)
	}
}

func nowMicros() int64 { return micros(time.Now()) }
