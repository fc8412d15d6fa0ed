package archive

import (
	"context"
	"time"
)

// Search calls f with each record of the archive that q wants, in
// order, as it is found, until f returns an error or ctx ends. A message
// asked for by its disposition is found when its outcome is read.
// It reads the whole archive. Damage does not stop it; the first *Fault is
// returned at the end.
func (a Folder) Search(ctx context.Context, q Query, f func(*Record, Pos) error) error {
	r, err := a.Reader()
	if !q.After.IsZero() && err == nil {
		// A record is archived after it was received, if clocks are sane:
		// an hour is the allowance for one that was set back.
		r, err = a.readerFrom(micros(q.After.Add(-time.Hour)))
	}
	if err != nil {
		return err
	}
	defer r.Close()
	m := q.matcher()
	// Messages that wait for an outcome or a comment that is wanted.
	var waiting map[ID]*awaited
	if len(m.Dispositions) > 0 || m.comment {
		waiting = make(map[ID]*awaited)
	}
	n := 0
	return r.each(func(rec *Record, pos Pos) error {
		if n++; n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if w := waiting[rec.Cites]; w != nil && w.met(m, rec) {
			delete(waiting, rec.Cites)
			msg, err := a.ReadAt(w.at)
			if err != nil { // compressed meanwhile, and so elsewhere
				if msg, w.at, err = a.Find(rec.Cites); err != nil {
					return err
				}
			}
			if err := f(msg, w.at); err != nil {
				return err
			}
		}
		if !m.matches(rec) {
			return nil
		}
		if waiting != nil && rec.Type == TypeMessage {
			waiting[rec.ID] = &awaited{at: pos, outcome: len(m.Dispositions) > 0, comment: m.comment}
			return nil
		}
		return f(rec, pos)
	})
}

// awaited is what a search still needs to know of a message.
type awaited struct {
	at               Pos
	outcome, comment bool
}

// met takes a record that cites the message, and reports whether that was all.
func (w *awaited) met(m *matcher, r *Record) bool {
	if r.Type == TypeOutcome && m.wants(r.Disposition) {
		w.outcome = false
	}
	if r.Comments() {
		w.comment = false
	}
	return !w.outcome && !w.comment
}

// Comments reports whether the record is what a supervisor wrote about the one that it cites.
func (r *Record) Comments() bool { return r.Type == TypeAct && r.Action == ActReview && r.Reason != "" }

// ReadAt returns the record at a place that a reader of the same archive gave.
func (a Folder) ReadAt(at Pos) (*Record, error) {
	n := max(numberOf(at.File, segmentExt), numberOf(at.File, compressedExt))
	if n == 0 {
		return nil, &Fault{File: at.File, Offset: at.Offset, Reason: "not a segment"}
	}
	w, err := openSegment(a.Dir, n)
	if err != nil {
		return nil, err
	}
	defer w.f.Close()
	if w.name != at.File {
		return nil, &Fault{File: at.File, Offset: at.Offset, Reason: "segment was compressed meanwhile"}
	}
	if w.name == CompressedName(n) {
		return a.readCompressed(w, at)
	}
	_, ok, bad, err := w.header()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &Fault{File: at.File, Reason: bad}
	}
	f, bad, err := w.frame(at.Offset)
	if err != nil {
		return nil, err
	}
	rec := new(Record)
	if f == nil || len(f) < frameHead+recordHead {
		if bad == "" {
			bad = "no record"
		}
		return nil, &Fault{File: at.File, Offset: at.Offset, Reason: bad}
	}
	if err := rec.decode(f[frameHead:], a.Keys); err != nil {
		return nil, &Fault{File: at.File, Offset: at.Offset, Reason: err.Error()}
	}
	return rec, nil
}
