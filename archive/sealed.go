package archive

// AppendSealed appends the payload of the record, with its content sealed, for a journal
// that keeps records elsewhere until they come into a segment. It sets what Append sets,
// but for Seq and Archived.
func (r *Record) AppendSealed(b []byte, node string, keys Sealer) ([]byte, error) {
	if _, err := r.check(); err != nil {
		return b, err
	}
	r.prepare(node)
	return r.encode(b, keys)
}

// UnmarshalSealed reads what AppendSealed wrote. Content to which there is no key stays
// sealed.
func (r *Record) UnmarshalSealed(b []byte, keys Opener) error { return r.decode(b, keys) }

// DurableElsewhere is the receipt of a record that another journal than this package's
// made durable. Only archive/stream may ask for one, which a test of the sources holds.
func DurableElsewhere(id ID) Receipt {
	if id.IsZero() {
		return Receipt{}
	}
	return Receipt{id: id, seq: elsewhere}
}

// elsewhere stands for the seq of a record that has none yet.
const elsewhere = maxSeq
