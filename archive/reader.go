package archive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Reader reads the records of an archive in order. It needs no lock and works
// beside a journal that writes: at the end Next returns io.EOF, and later
// calls return what has come since. Beside a journal it may see a record
// before it is durable.
//
// A Reader belongs to one goroutine.
type Reader struct {
	dir      string
	keys     Opener // may be nil
	number   uint64 // of the segment that is or was open; 0 at first
	w        *window
	z        *compressed // reads what w is a window on, when that is compressed
	header   header
	known    bool // header is readable
	off      int64
	records  uint64 // read in this segment
	limited  bool   // a successor told where this segment ends
	seq      uint64 // expected next; 0 when not known
	min      uint64 // no later record has a lower one
	archived int64
	faults   []*Fault
	torn     *Fault // how the last segment ends, if not cleanly

	lastEnd end
	last    link // the segment that was read before this one
	check   bool // compare the CRCs of whole segments, as Verify does
	// checkpoint is given the signed note of each checkpoint; the records before
	// it were returned already. It may be nil.
	checkpoint func(signed []byte, pos Pos)
}

// headerTries is how often the header of the last segment is read before it
// is taken for damaged.
const headerTries = 3

// Folder is an archive on the disk, as readers see it. Its methods need no
// server and no lock, and may be called from any goroutine.
type Folder struct {
	Dir string
	// Keys opens sealed content. Without it records come as Sealed.
	Keys Opener
}

// Reader returns a Reader at the first record.
func (a Folder) Reader() (*Reader, error) {
	if _, err := os.Stat(a.Dir); err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	return &Reader{dir: a.Dir, keys: a.Keys, seq: 1}, nil
}

// Close frees the open file.
func (r *Reader) Close() error {
	if r.w == nil {
		return nil
	}
	err := r.w.f.Close()
	r.w, r.z = nil, nil
	return err
}

// Next returns the next record and its place, or io.EOF. When the archive is
// not as it was written there it returns a *Fault; the call after it goes on
// with the next record that can be read.
func (r *Reader) Next() (*Record, Pos, error) {
	f, pos, err := r.next()
	if err != nil {
		return nil, pos, err
	}
	rec := new(Record)
	if err := rec.decode(f[frameHead:], r.keys); err != nil {
		return nil, pos, &Fault{File: pos.File, Offset: pos.Offset, Seq: seqOf(f), Reason: err.Error()}
	}
	return rec, pos, nil
}

// next returns the next frame of a record, valid until the next call.
func (r *Reader) next() ([]byte, Pos, error) {
	for {
		if len(r.faults) > 0 {
			f := r.faults[0]
			r.faults = r.faults[1:]
			return nil, Pos{File: f.File, Offset: f.Offset}, f
		}
		if r.w == nil {
			if err := r.open(); err != nil {
				return nil, Pos{}, err
			}
			continue
		}
		if r.z != nil {
			f, pos, err := r.nextCompressed()
			if f == nil && err == nil {
				continue
			}
			return f, pos, err
		}
		f, bad, err := r.w.frame(r.off)
		if err != nil {
			return nil, Pos{}, err
		}
		if f == nil {
			if err := r.gap(bad); err != nil {
				return nil, Pos{}, err
			}
			continue
		}
		t := f[frameHead+atType]
		if t == typeEnd {
			r.end(f)
			continue
		}
		if t > typeMax || t == 0 || len(f) < frameHead+recordHead {
			if t <= typeMax {
				r.fault(r.off, r.seq, "not a record")
			}
			if t == typeCheckpoint && r.checkpoint != nil {
				r.checkpoint(f[frameHead+structHead:], Pos{File: r.w.name, Offset: r.off, Bytes: len(f)})
			}
			r.off += int64(len(f))
			continue
		}
		if !r.inOrder(f) {
			continue
		}
		pos := Pos{File: r.w.name, Offset: r.off, Bytes: len(f)}
		r.off += int64(len(f))
		r.records++
		r.seq = seqOf(f) + 1
		r.min = max(r.min, r.seq)
		r.archived = archivedOf(f)
		return f, pos, nil
	}
}

func (r *Reader) fault(off int64, seq uint64, format string, args ...any) {
	name := segmentName(r.number)
	if r.w != nil {
		name = r.w.name
	}
	r.faults = append(r.faults, &Fault{File: name, Offset: off, Seq: seq, Reason: fmt.Sprintf(format, args...)})
}

// inOrder checks the frame against the one before. What is wrong is reported
// once, and the record after it.
func (r *Reader) inOrder(f []byte) bool {
	n := len(r.faults)
	if s := seqOf(f); r.seq != 0 && s != r.seq {
		r.fault(r.off, r.seq, "seq is %d", s)
		r.seq = s
	}
	if a := archivedOf(f); a < r.archived {
		r.fault(r.off, r.seq, "archived before the record before it")
		r.archived = a
	}
	return len(r.faults) == n
}

// after returns the number of the first segment behind number and whether it
// is the last of all; 0 when there is none.
func (r *Reader) after(number uint64) (next uint64, last bool, err error) {
	// Asking for the file by name spares listing a large folder.
	if isSegment(r.dir, number+2) && isSegment(r.dir, number+1) {
		return number + 1, false, nil
	}
	numbers, _, err := listSegments(r.dir)
	if err != nil {
		return 0, false, err
	}
	for i, n := range numbers {
		if n > number {
			return n, i == len(numbers)-1, nil
		}
	}
	return 0, false, nil
}

// open goes on to the next segment, or returns io.EOF when there is none.
func (r *Reader) open() error {
	n, last, err := r.after(r.number)
	if err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	w, err := openSegment(r.dir, n)
	if errors.Is(err, os.ErrNotExist) { // removed since it was listed
		return io.EOF
	}
	if err != nil {
		return err
	}
	h, ok, bad, err := w.header()
	for try := 0; err == nil && bad != "" && last && !w.closed() && try < headerTries; try++ {
		time.Sleep(time.Millisecond) // perhaps a journal writes it at this moment
		w.forget()
		h, ok, bad, err = w.header()
	}
	if err != nil {
		_ = w.f.Close()
		return err
	}
	if !ok && last {
		zeros, _, err := w.zerosFrom(headerBlock)
		if err != nil || zeros { // just being made, or torn while it was: it has no record
			_ = w.f.Close()
			if err != nil {
				return err
			}
			r.torn = &Fault{File: w.name, Reason: bad}
			return io.EOF
		}
	}
	before, prev := r.number, r.last
	r.number, r.w, r.off, r.header, r.known = n, w, headerBlock, h, ok
	r.records, r.limited, r.torn = 0, false, nil
	if n != before+1 && r.seq != 0 {
		r.fault(0, 0, "segment %s is missing before it", segmentName(before+1))
	}
	if bad != "" {
		r.fault(0, r.seq, "%s", bad)
	}
	if !ok {
		// Without the ID nothing in it can be told from what only looks like it.
		r.off, r.seq = w.limit, 0
		r.leave()
		return nil
	}
	switch {
	case h.number != n:
		r.fault(0, 0, "its header says that it is segment %d", h.number)
	case n == before+1 && prev.id != [16]byte{} && prev.id != h.prev.id:
		r.fault(0, 0, "does not follow segment %s", segmentName(before))
	case r.check && n == before+1 && prev.id != [16]byte{} && prev != h.prev:
		r.fault(0, 0, "segment %s is not as it was when this one began", segmentName(before))
	}
	if r.seq != 0 && h.firstSeq != r.seq {
		r.fault(0, r.seq, "segment begins with record %d", h.firstSeq)
	}
	if h.notBefore < r.archived {
		r.fault(0, 0, "segment begins before the end of the one before it")
	}
	r.seq, r.min, r.archived = h.firstSeq, h.firstSeq, h.notBefore
	if h.compressed() {
		return r.openCompressed()
	}
	_, err = r.limit()
	return err
}

// limit asks the next segment where this one ends, and reports whether there
// is a next one.
func (r *Reader) limit() (bool, error) {
	n, last, err := r.after(r.number)
	if err != nil || n == 0 {
		return false, err
	}
	w, err := openSegment(r.dir, n)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer w.f.Close()
	h, ok, _, err := w.header()
	if err != nil || !ok && last {
		return false, err
	}
	r.w.forget()
	if err := r.w.toEnd(); err != nil {
		return false, err
	}
	if ok && r.known && n == r.number+1 && h.prev.id == r.header.id {
		r.w.limit = min(r.w.limit, h.prev.length)
		if r.off > h.prev.length {
			r.fault(h.prev.length, 0, "records behind this place were not durable and are void")
			r.seq, r.min = h.firstSeq, h.firstSeq
		}
		if !r.limited && r.w.limit < h.prev.length {
			r.fault(r.w.limit, 0, "segment is cut: %d bytes of %d", r.w.limit, h.prev.length)
		}
	}
	r.limited = true
	return true, nil
}

// end handles the last frame of a segment.
func (r *Reader) end(f []byte) {
	at := r.off
	r.off += int64(len(f))
	switch err := r.lastEnd.decode(f[frameHead:]); {
	case err != nil:
		r.fault(at, 0, "%v", err)
	case r.known && r.lastEnd.id != r.header.id:
		r.fault(at, 0, "end of another segment")
	case r.lastEnd.offset != at:
		r.fault(at, 0, "end of segment says that it stands at byte %d", r.lastEnd.offset)
	case r.known && r.lastEnd.records != r.records:
		r.fault(at, 0, "segment has %d records, its end says %d", r.records, r.lastEnd.records)
	case r.check:
		if sum, err := r.w.sum(at); err != nil || sum != r.lastEnd.crc {
			r.fault(at, 0, "segment is not as it was when it was finished")
		}
	}
	r.leave()
}

// leave closes the segment after its last record.
func (r *Reader) leave() {
	r.last = link{}
	switch {
	case !r.known:
	case r.z != nil:
		r.last = link{id: r.header.id, length: r.header.length, crc: r.header.crc}
	default:
		r.last = link{id: r.header.id, length: r.off}
		if r.check {
			r.checkSegment()
		}
	}
	_ = r.w.f.Close()
	r.w, r.z = nil, nil
}

// checkSegment computes the CRC of the segment, and looks behind its end,
// where a journal that was stopped may have left free room, but only zeros.
func (r *Reader) checkSegment() {
	var err error
	if r.last.crc, err = r.w.sum(r.off); err == nil {
		err = r.w.toEnd()
	}
	r.w.forget()
	zeros, at := true, int64(0)
	if err == nil {
		zeros, at, err = r.w.zerosFrom(r.off)
	}
	if err != nil {
		r.fault(r.off, 0, "%v", err)
	} else if !zeros {
		r.fault(at, 0, "bytes behind the end of the segment, which is at %d", r.off)
	}
}

// gap is called where no whole frame stands. It decides whether the segment
// is at its end, the next is to be read, or something is damaged. io.EOF says
// that there is no more for now.
func (r *Reader) gap(bad string) error {
	if !r.limited {
		ok, err := r.limit()
		if err != nil {
			return err
		}
		if ok {
			return nil // read again within the limit
		}
		// A journal may have written on since the window was filled.
		r.w.forget()
		if err := r.w.toEnd(); err != nil {
			return err
		}
		f, again, err := r.w.frame(r.off)
		if err != nil || f != nil {
			return err
		}
		bad = again
	}
	if r.limited && r.off >= r.w.limit {
		r.leave()
		return nil
	}
	zeros, first, err := r.w.zerosFrom(r.off)
	if err != nil {
		return err
	}
	if !r.limited {
		if zeros {
			r.torn = nil
			return io.EOF
		}
		_, fenced, err := r.w.resync(r.off, r.min, true)
		if err != nil {
			return err
		}
		if !fenced && !r.w.closed() {
			if bad == "" {
				bad = "not a frame"
			}
			r.torn = &Fault{File: r.w.name, Offset: r.off, Seq: r.seq, Reason: bad}
			return io.EOF
		}
		// With a fence behind it the frame is whole by now, if it was not damaged.
		r.w.forget()
		if f, _, err := r.w.frame(r.off); err != nil || f != nil {
			return err
		}
	}
	if bad == "" {
		bad = fmt.Sprintf("zeros within the record, up to byte %d", first)
	}
	r.fault(r.off, r.seq, "%s", bad)
	at, ok, err := r.w.resync(r.off, r.min, false)
	switch {
	case err != nil:
		return err
	case ok:
		r.off = at
		r.seq = 0 // how many records are lost in between shows by the next
	default:
		r.off = r.w.limit
		if r.limited || r.w.closed() {
			r.leave()
		}
	}
	return nil
}

// Scan calls f with every record of the archive, in order, until f
// returns an error. Damage does not stop it: records that can be read are
// read, and the first *Fault is returned at the end. f may keep the record.
func (a Folder) Scan(f func(*Record, Pos) error) error {
	r, err := a.Reader()
	if err != nil {
		return err
	}
	defer r.Close()
	return r.each(f)
}

// ScanSince is Scan of the records that were archived at since or later, and of some
// before.
func (a Folder) ScanSince(since time.Time, f func(*Record, Pos) error) error {
	r, err := a.readerFrom(micros(since))
	if err != nil {
		return err
	}
	defer r.Close()
	return r.each(f)
}

// LastSeq returns the seq of the newest record, 0 in an empty archive.
func (a Folder) LastSeq() (uint64, error) {
	r, err := Folder{Dir: a.Dir}.readerWhere(func(*header) bool { return true })
	if err != nil {
		return 0, err
	}
	defer r.Close()
	last := uint64(0)
	for {
		f, _, err := r.next()
		var fault *Fault
		switch {
		case errors.Is(err, io.EOF):
			if h := r.header; last == 0 && h.firstSeq > 0 {
				last = h.firstSeq - 1 // the segment has no record yet
			}
			return last, nil
		case errors.As(err, &fault): // Verify names it
		case err != nil:
			return 0, err
		default:
			last = seqOf(f)
		}
	}
}

// ScanFrom is Scan from the record with this seq on.
func (a Folder) ScanFrom(seq uint64, f func(*Record) error) error {
	r, err := a.readerAt(seq)
	if err != nil {
		return err
	}
	defer r.Close()
	return r.each(func(rec *Record, _ Pos) error {
		if rec.Seq < seq {
			return nil
		}
		return f(rec)
	})
}

// ScanSegment is Scan for one segment.
func (a Folder) ScanSegment(number uint64, f func(*Record) error) error {
	r := &Reader{dir: a.Dir, keys: a.Keys, number: number - 1}
	defer r.Close()
	err := r.each(func(rec *Record, pos Pos) error {
		if n := max(numberOf(pos.File, segmentExt), numberOf(pos.File, compressedExt)); n != number {
			return errNextSegment
		}
		return f(rec)
	})
	if errors.Is(err, errNextSegment) {
		return nil
	}
	return err
}

var errNextSegment = errors.New("the next segment begins")

func (r *Reader) each(f func(*Record, Pos) error) error {
	var first *Fault
	for {
		rec, pos, err := r.Next()
		var fault *Fault
		switch {
		case err == nil:
			if err := f(rec, pos); err != nil {
				return err
			}
		case errors.Is(err, io.EOF):
			if first != nil {
				return first
			}
			return nil
		case errors.As(err, &fault):
			if first == nil {
				first = fault
			}
		default:
			return err
		}
	}
}

// Recent calls f with the records archived at since or later, in order, until
// f returns an error. It sees what was appended before the call.
func (j *Journal) Recent(since time.Time, f func(*Record) error) error {
	r, err := Folder{j.dir, j.opener()}.readerFrom(micros(since))
	if err != nil {
		return err
	}
	defer r.Close()
	return r.each(func(rec *Record, _ Pos) error {
		if rec.Archived.Before(since) {
			return nil
		}
		return f(rec)
	})
}

// readerAt returns a Reader at the segment that has the record with this seq.
func (a Folder) readerAt(seq uint64) (*Reader, error) {
	return a.readerWhere(func(h *header) bool { return h.firstSeq <= seq })
}

// readerFrom returns a Reader at the first segment that can hold a record
// archived at since (µs) or later.
func (a Folder) readerFrom(since int64) (*Reader, error) {
	return a.readerWhere(func(h *header) bool { return h.notBefore < since })
}

// readerWhere returns a Reader at the last segment whose header is early
// enough, or at the first.
func (a Folder) readerWhere(early func(*header) bool) (*Reader, error) {
	numbers, _, err := listSegments(a.Dir)
	if err != nil {
		return nil, err
	}
	r := &Reader{dir: a.Dir, keys: a.Keys}
	for i := len(numbers) - 1; i >= 0; i-- {
		w, err := openSegment(a.Dir, numbers[i])
		if err != nil {
			return nil, err
		}
		h, ok, _, err := w.header()
		_ = w.f.Close()
		if err != nil {
			return nil, err
		}
		r.number = numbers[i] - 1
		if ok && early(&h) {
			break
		}
	}
	return r, nil
}

// ErrNotFound is returned for an ID that no record of the archive has.
var ErrNotFound = errors.New("archive: no such record")

// Find returns the record with the given ID. Damage elsewhere does not keep
// it from being found.
func (a Folder) Find(id ID) (*Record, Pos, error) {
	r, err := a.Reader()
	if err != nil {
		return nil, Pos{}, err
	}
	defer r.Close()
	var first error
	for {
		f, pos, err := r.next()
		var fault *Fault
		switch {
		case err == nil:
			if ID(f[frameHead+atID:frameHead+atID+16]) != id {
				continue
			}
			rec := new(Record)
			if err := rec.decode(f[frameHead:], a.Keys); err != nil {
				return nil, pos, &Fault{File: pos.File, Offset: pos.Offset, Seq: seqOf(f), Reason: err.Error()}
			}
			return rec, pos, nil
		case errors.Is(err, io.EOF):
			return nil, Pos{}, errors.Join(fmt.Errorf("%w: %s", ErrNotFound, id), first)
		case errors.As(err, &fault):
			if first == nil {
				first = fault
			}
		default:
			return nil, Pos{}, err
		}
	}
}
