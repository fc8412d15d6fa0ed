package archive

import (
	"encoding/binary"
	"errors"
	"os"
)

// isSegment reports whether segment number is there.
func isSegment(dir string, number uint64) bool {
	_, err := os.Stat(segmentPath(dir, number))
	if errors.Is(err, os.ErrNotExist) {
		_, err = os.Stat(compressedPath(dir, number))
	}
	return err == nil
}

// openCompressed makes the reader go through a compressed segment.
func (r *Reader) openCompressed() error {
	z, err := openCompressed(r.w, r.header, r.keys)
	r.limited = true
	var fault *Fault
	switch {
	case err == nil:
		r.z = z
	case errors.As(err, &fault):
		r.faults = append(r.faults, fault)
		h := r.header
		r.leave()
		// What the segment was is known, only not what was in it.
		r.seq, r.last = h.firstSeq+h.records, link{id: h.id, length: h.length, crc: h.crc}
		return nil
	}
	return err
}

// nextCompressed returns the next record of a compressed segment, or nothing
// after its last.
func (r *Reader) nextCompressed() ([]byte, Pos, error) {
	for {
		rest, index := r.z.rest, r.z.index
		p, ok, err := r.z.next()
		var fault *Fault
		switch {
		case errors.As(err, &fault):
			r.faults = append(r.faults, fault)
			r.seq = 0 // how many records are lost shows by the next
			return nil, Pos{}, nil
		case err != nil:
			return nil, Pos{}, err
		case !ok:
			if r.known && r.records != r.header.records {
				r.fault(0, 0, "segment has %d records, its header says %d", r.records, r.header.records)
			}
			r.leave()
			return nil, Pos{}, nil
		}
		if t := p.payload[atType]; t > typeMax {
			if t == typeCheckpoint && r.checkpoint != nil {
				r.checkpoint(p.payload[structHead:], p.pos)
			}
			continue
		}
		if len(p.payload) < recordHead {
			r.fault(p.pos.Offset, r.seq, "not a record")
			return nil, Pos{}, nil
		}
		f, err := r.z.record(&p)
		if errors.As(err, &fault) {
			r.faults = append(r.faults, fault)
			r.seq = 0
			return nil, Pos{}, nil
		}
		if err != nil {
			return nil, Pos{}, err
		}
		r.off = p.pos.Offset
		if !r.inOrder(f) { // named once, and the record read again
			r.z.rest, r.z.index = rest, index
			if len(rest) == 0 {
				r.z.block--
			}
			return nil, Pos{}, nil
		}
		r.records++
		r.seq = seqOf(f) + 1
		r.min = max(r.min, r.seq)
		r.archived = archivedOf(f)
		return f, p.pos, nil
	}
}

// readCompressed returns the record at a place in the segment of w.
func (a Folder) readCompressed(w *window, at Pos) (*Record, error) {
	h, ok, bad, err := w.header()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &Fault{File: at.File, Reason: bad}
	}
	c, err := openCompressed(w, h, a.Keys)
	if err != nil {
		return nil, err
	}
	for i, p := range c.envelopes {
		if p.offset != at.Offset {
			continue
		}
		if err := c.open(i); err != nil {
			return nil, err
		}
		for c.block == i {
			p, ok, err := c.next()
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			if Type(p.payload[atType]) > typeMax || p.pos.Index != at.Index {
				continue
			}
			f, err := c.record(&p)
			if err != nil {
				return nil, err
			}
			rec := new(Record)
			if err := rec.decode(f[frameHead:], a.Keys); err != nil {
				return nil, &Fault{File: at.File, Offset: at.Offset, Seq: binary.LittleEndian.Uint64(p.payload[atSeq:]), Reason: err.Error()}
			}
			return rec, nil
		}
	}
	return nil, &Fault{File: at.File, Offset: at.Offset, Reason: "no record"}
}
