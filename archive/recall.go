package archive

import (
	"math"
	"time"
)

// Recall returns the receipt of a record that this journal made durable earlier,
// before a restart too, from the ID and number that were kept with it. A number
// that the journal has not reached gives an invalid receipt.
func (j *Journal) Recall(id ID, seq uint64) Receipt {
	if id.IsZero() || seq == 0 || seq > j.seq.Load() {
		return Receipt{}
	}
	return Receipt{id: id, seq: seq}
}

// Last tells when the newest record was archived: the zero time in an empty
// journal. It reads the last segment, or all when that one has no records yet.
func (j *Journal) Last() (time.Time, error) {
	last, err := j.lastFrom(math.MaxInt64)
	if err == nil && last.IsZero() {
		last, err = j.lastFrom(0)
	}
	return last, err
}

// lastFrom reads from the first segment that can hold a record archived at since
// (µs) or later.
func (j *Journal) lastFrom(since int64) (last time.Time, err error) {
	r, err := Folder{Dir: j.dir}.readerFrom(since)
	if err != nil {
		return last, err
	}
	defer r.Close()
	err = r.each(func(rec *Record, _ Pos) error {
		last = rec.Archived
		return nil
	})
	return last, err
}
