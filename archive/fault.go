package archive

import "fmt"

// Fault is a place in the archive that is not as it was written.
type Fault struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	// Seq is the record that should stand there; 0 when it is not about one.
	Seq    uint64 `json:"seq,omitempty"`
	Reason string `json:"reason"`
}

func (f *Fault) Error() string {
	if f.Seq != 0 {
		return fmt.Sprintf("archive: %s at byte %d, record %d: %s", f.File, f.Offset, f.Seq, f.Reason)
	}
	return fmt.Sprintf("archive: %s at byte %d: %s", f.File, f.Offset, f.Reason)
}

// Pos is where a record lies.
type Pos struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Bytes  int    `json:"bytes"` // of its frame
	// Index counts the records of the frame, of a compressed segment, that
	// stand before it.
	Index int `json:"index,omitempty"`
}
