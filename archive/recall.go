package archive

// Recall returns the receipt of a record that this journal made durable earlier,
// before a restart too, from the ID and number that were kept with it. A number
// that the journal has not reached gives an invalid receipt.
func (j *Journal) Recall(id ID, seq uint64) Receipt {
	if id.IsZero() || seq == 0 || seq > j.seq.Load() {
		return Receipt{}
	}
	return Receipt{id: id, seq: seq}
}
