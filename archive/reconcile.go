package archive

import (
	"context"
	"time"
)

// ActReconcile is the action of the daily account of the record: its object is
// the day, its content a Reconciliation.
const ActReconcile = "reconcile"

// Reconciliation accounts for the messages that were received on one day, in
// UTC: each ends in one of the ways, or is open.
type Reconciliation struct {
	Day         string `json:"day"` // 2026-11-25
	Received    uint64 `json:"received"`
	Delivered   uint64 `json:"delivered"`
	Stored      uint64 `json:"stored"` // waits for a device
	Refused     uint64 `json:"refused"`
	Expired     uint64 `json:"expired"`
	Failed      uint64 `json:"failed"`
	Interrupted uint64 `json:"interrupted"`
	Dropped     uint64 `json:"dropped"`
	// Open have no outcome: a gap.
	Open uint64 `json:"open"`
}

// Balanced reports whether every message is accounted for.
func (r *Reconciliation) Balanced() bool {
	return r.Open == 0 && r.Received == r.Delivered+r.Stored+r.Refused+r.Expired+r.Failed+r.Interrupted+r.Dropped
}

// order says which of several outcomes of a message counts: the last in the
// list that it has.
var order = []Disposition{0, Dropped, Interrupted, Stored, Failed, Expired, Refused, Delivered}

var rank = func() (r [256]uint8) {
	for i, d := range order {
		r[d] = uint8(i)
	}
	return r
}()

// Reconcile accounts for the messages of the day that begins at start, by what
// is in the record now. It keeps 17 bytes for each of them in memory.
func (a Folder) Reconcile(ctx context.Context, start time.Time) (*Reconciliation, error) {
	start = start.UTC()
	end := start.AddDate(0, 0, 1)
	r := &Reconciliation{Day: start.Format(time.DateOnly)}
	fates := make(map[ID]Disposition)
	reader, err := Folder{Dir: a.Dir}.readerFrom(micros(start.Add(-time.Hour)))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	n := 0
	err = reader.each(func(rec *Record, _ Pos) error {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		switch rec.Type {
		case TypeMessage:
			at := rec.Received
			if at.IsZero() {
				at = rec.Archived
			}
			if !at.Before(start) && at.Before(end) {
				fates[rec.ID] = 0
			}
		case TypeOutcome:
			if old, ok := fates[rec.Cites]; ok && rank[rec.Disposition] > rank[old] {
				fates[rec.Cites] = rec.Disposition
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, d := range fates {
		r.Received++
		switch d {
		case Delivered:
			r.Delivered++
		case Stored:
			r.Stored++
		case Refused:
			r.Refused++
		case Expired:
			r.Expired++
		case Failed:
			r.Failed++
		case Interrupted:
			r.Interrupted++
		case Dropped:
			r.Dropped++
		default:
			r.Open++
		}
	}
	return r, nil
}
