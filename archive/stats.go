package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Summary counts what is in an archive.
type Summary struct {
	Records  uint64    `json:"records"`
	Messages uint64    `json:"messages"` // received
	Bytes    int64     `json:"bytes"`    // of the records, without free room in the files
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"` // archived
	LastSeq  uint64    `json:"last_seq"`
	Segments int       `json:"segments"`
	// DiskBytes is what the files take on the disk.
	DiskBytes int64 `json:"disk_bytes"`
	// Outcomes counts outcome records by disposition.
	Outcomes map[string]uint64 `json:"outcomes"`
	// Signed counts the records under the newest checkpoint, SignedThrough is when
	// the last of them was archived, and Origin is what the checkpoint calls the log.
	Signed        int64     `json:"signed"`
	SignedThrough time.Time `json:"signed_through,omitzero"`
	Origin        string    `json:"origin,omitempty"`
	// Keys are the verifier keys that the record names, the newest last.
	Keys []string `json:"keys,omitempty"`
	// Reconciled are the last daily accounts that the record has, the newest last.
	Reconciled []Reconciliation `json:"reconciled,omitempty"`
	// Open counts messages without an outcome.
	Open uint64 `json:"without_outcome"`
	// Faults counts the places that could not be read; Verify names them.
	Faults int `json:"faults"`
}

// Stats reads the whole archive and counts. It needs no server.
// Memory: 32 bytes for each message that has no outcome yet.
func (a Folder) Stats() (*Summary, error) {
	numbers, _, err := listSegments(a.Dir)
	if err != nil {
		return nil, err
	}
	r, err := a.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s := &Summary{Segments: len(numbers), Outcomes: make(map[string]uint64)}
	for _, n := range numbers {
		for _, path := range []string{segmentPath(a.Dir, n), compressedPath(a.Dir, n)} {
			if fi, err := os.Stat(path); err == nil {
				s.DiskBytes += fi.Size()
			}
		}
	}
	if signed, err := a.Checkpoint(); err == nil {
		if cp, err := ParseCheckpoint(signed); err == nil {
			s.Signed, s.Origin = cp.Size, cp.Origin
		}
	}
	var dispositions [256]uint64
	open := make(map[ID]struct{})
	for {
		f, pos, err := r.next()
		var fault *Fault
		switch {
		case errors.Is(err, io.EOF):
			s.Open = uint64(len(open))
			for d, n := range dispositions {
				if n > 0 {
					s.Outcomes[Disposition(d).String()] = n
				}
			}
			return s, nil
		case errors.As(err, &fault):
			s.Faults++
			continue
		case err != nil:
			return nil, fmt.Errorf("count archive: %w", err)
		}
		s.Records++
		s.Bytes += int64(pos.Bytes)
		s.Last, s.LastSeq = fromMicros(uint64(archivedOf(f))), seqOf(f)
		if s.First.IsZero() {
			s.First = s.Last
		}
		if s.LastSeq == uint64(s.Signed) {
			s.SignedThrough = s.Last
		}
		switch Type(f[frameHead+atType]) {
		case TypeAct:
			var act Record
			if act.UnmarshalBinary(f[frameHead:]) != nil {
				s.Faults++
				continue
			}
			switch {
			case act.Action == ActKey && !slices.Contains(s.Keys, act.Object):
				s.Keys = append(s.Keys, act.Object)
			case act.Action == ActReconcile:
				var day Reconciliation
				if json.Unmarshal(act.Raw, &day) == nil {
					s.Reconciled = append(s.Reconciled, day)
					s.Reconciled = s.Reconciled[max(0, len(s.Reconciled)-7):]
				}
			}
		case TypeMessage:
			s.Messages++
			open[ID(f[frameHead+atID:frameHead+atID+16])] = struct{}{}
		case TypeOutcome:
			var o Record
			if err := o.UnmarshalBinary(f[frameHead:]); err != nil {
				s.Faults++
				continue
			}
			dispositions[o.Disposition]++
			delete(open, o.Cites)
		}
	}
}
