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
// journal. It reads the last segment.
func (j *Journal) Last() (time.Time, error) {
	r, err := readerFrom(j.dir, math.MaxInt64)
	if err != nil {
		return time.Time{}, err
	}
	defer r.Close()
	var last time.Time
	err = r.each(func(rec *Record, _ Pos) error {
		last = rec.Archived
		return nil
	})
	return last, err
}
