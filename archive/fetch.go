package archive

import (
	"errors"
	"fmt"
)

// Fetcher reads single records whose segment is known. It keeps the segment
// that it read last open, so records asked for in order cost little. It
// belongs to one goroutine.
type Fetcher struct {
	a      Folder
	number uint64 // of the open segment
	w      *window
	z      *compressed // when it is compressed
}

// fetchAhead is how much of a segment is read for one record.
const fetchAhead = 16 << 10

// Fetcher returns a Fetcher of the archive.
func (a Folder) Fetcher() *Fetcher { return &Fetcher{a: a} }

// Segment returns the number of the segment that the place is in; 0 if it is in none.
func (p Pos) Segment() uint64 {
	return max(numberOf(p.File, segmentExt), numberOf(p.File, compressedExt))
}

// Record returns the record of this seq in a segment. offset is where it stood when the
// journal wrote it, and is not asked for in a compressed segment. The error
// wraps ErrNotFound if another record stands there, or is a *Fault.
func (f *Fetcher) Record(seq, segment uint64, offset int64) (*Record, error) {
	if f.w == nil || f.number != segment {
		if err := f.open(segment); err != nil {
			return nil, err
		}
	}
	missing := fmt.Errorf("%w: seq %d in segment %d", ErrNotFound, seq, segment)
	if f.z != nil {
		p, ok, err := f.z.find(seq)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, missing
		}
		frame, err := f.z.record(&p)
		if err != nil {
			return nil, err
		}
		return f.decode(frame, p.pos)
	}
	if offset >= f.w.limit { // the journal has written on
		f.w.forget()
		if err := f.w.toEnd(); err != nil {
			return nil, err
		}
	}
	frame, bad, err := f.w.frame(offset)
	if err != nil {
		return nil, err
	}
	pos := Pos{File: f.w.name, Offset: offset}
	switch {
	case frame == nil && bad != "":
		return nil, &Fault{File: pos.File, Offset: offset, Seq: seq, Reason: bad}
	case frame == nil, len(frame) < frameHead+recordHead, frame[frameHead+atType] > typeMax, seqOf(frame) != seq:
		return nil, missing
	}
	return f.decode(frame, pos)
}

func (f *Fetcher) decode(frame []byte, pos Pos) (*Record, error) {
	rec := new(Record)
	if err := rec.decode(frame[frameHead:], f.a.Keys); err != nil {
		return nil, &Fault{File: pos.File, Offset: pos.Offset, Seq: seqOf(frame), Reason: err.Error()}
	}
	return rec, nil
}

func (f *Fetcher) open(segment uint64) error {
	_ = f.Close() // of a file that was read only
	w, err := openSegment(f.a.Dir, segment)
	if err != nil {
		return err
	}
	h, ok, bad, err := w.header()
	if err == nil && !ok {
		err = &Fault{File: w.name, Reason: bad}
	}
	w.ahead = fetchAhead
	var z *compressed
	if err == nil && h.compressed() {
		z, _, err = openIndexed(w, h, f.a.Keys)
	}
	if err != nil {
		return errors.Join(err, w.f.Close())
	}
	f.number, f.w, f.z = segment, w, z
	return nil
}

// Close closes the segment that is open.
func (f *Fetcher) Close() error {
	if f.w == nil {
		return nil
	}
	err := f.w.f.Close()
	f.w, f.z = nil, nil
	return err
}

// ReaderFrom returns a Reader at the segment that has the record with this
// seq; the first records that it returns may come before that.
func (a Folder) ReaderFrom(seq uint64) (*Reader, error) { return a.readerAt(seq) }
