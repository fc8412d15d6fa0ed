package archive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// maxFaults bounds the faults that a Report lists; all are counted.
const maxFaults = 100

// Report is what Verify found.
type Report struct {
	OK       bool      `json:"ok"`
	Segments int       `json:"segments"`
	Records  uint64    `json:"records"`
	Messages uint64    `json:"messages"`
	Bytes    int64     `json:"bytes"` // of the records
	FirstSeq uint64    `json:"first_seq"`
	LastSeq  uint64    `json:"last_seq"`
	First    time.Time `json:"first,omitzero"` // archived
	Last     time.Time `json:"last,omitzero"`
	// FaultCount counts all faults, Faults lists the first of them in the
	// order of the archive.
	FaultCount int      `json:"fault_count"`
	Faults     []*Fault `json:"faults,omitempty"`
	// Checkpoints counts the checkpoints, Keys are the verifier keys that they
	// were checked with, Origin is what they call the log. Signed counts the
	// records under the last one.
	Checkpoints int      `json:"checkpoints"`
	Keys        []string `json:"keys,omitempty"`
	Origin      string   `json:"origin,omitempty"`
	Signed      int64    `json:"signed"`
	// Stamps are the time stamps over checkpoints.
	Stamps []Stamp `json:"stamps,omitempty"`
	// StampsTrusted: whoever looked at them had certificates that those of the authority must lead to.
	StampsTrusted bool `json:"stamps_trusted,omitempty"`
	// CheckpointTorn are the bytes of VerifyOptions.Checkpoint that are no whole checkpoint and so were
	// compared with nothing.
	CheckpointTorn int `json:"checkpoint_torn_bytes,omitempty"`
	// Root is the hash of the tree over all records.
	Root tlog.Hash `json:"root"`
	// Torn is where an unfinished write ends the last segment, of a server
	// that was stopped hard or is writing now. Nothing there was acknowledged,
	// as far as the files tell.
	Torn *Fault `json:"torn,omitempty"`
}

// Err returns the first fault as an error, or nil.
func (r *Report) Err() error {
	if len(r.Faults) == 0 {
		return nil
	}
	return r.Faults[0]
}

func (r *Report) fault(f *Fault) {
	r.FaultCount++
	if len(r.Faults) < maxFaults {
		r.Faults = append(r.Faults, f)
	}
}

// Verify reads the whole archive and checks that every frame is whole,
// that seq has no gap, archive time does not go back, each segment follows the
// one before and is as it was then, every cited record exists and is earlier,
// no ID stands twice, and no other file lies there. It writes nothing and
// needs no server. The error is of reading; what is wrong with the archive
// stands in the Report.
//
// It keeps all IDs in memory, about 40 bytes for each record.
func (a Folder) Verify() (*Report, error) { return a.VerifyWith(VerifyOptions{}) }

// VerifyOptions say what an archive is checked against. The zero value takes
// the keys that the archive itself names.
type VerifyOptions struct {
	// Keys are verifier keys that are known from elsewhere. With any, a
	// checkpoint must be signed by one of them or by a key that a signed record names.
	Keys []string
	// Checkpoint is an older checkpoint of the same archive, signed, or several as
	// SplitCheckpoints reads them. The record must still begin with what they state.
	Checkpoint []byte
	// Stamp checks the time stamp of a signed checkpoint (RFC 3161) and returns its time.
	// Without it a stamp counts for its checkpoint alone.
	Stamp func(signed, token []byte) (time.Time, error)
	// Progress is called now and then with the number of records read. It may be nil.
	Progress func(records uint64)
}

// VerifyWith is Verify against keys and an older checkpoint.
func (a Folder) VerifyWith(o VerifyOptions) (*Report, error) {
	numbers, others, err := listSegments(a.Dir)
	if err != nil {
		return nil, err
	}
	rep := &Report{Segments: len(numbers)}
	compressed, err := a.CompressedSegments()
	if err != nil {
		return nil, err
	}
	r, err := a.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	r.check = true
	tc, err := a.newTreeCheck(rep, o)
	if err != nil {
		return nil, err
	}
	defer tc.close()
	r.checkpoint = tc.checkpoint
	ids := make(map[ID]struct{})
	stated := make(map[uint64][]string) // compressed segment → its SHA-256, in the order of the record
	var rec Record
	for {
		f, pos, err := r.next()
		if err != nil {
			var fault *Fault
			if errors.Is(err, io.EOF) {
				break
			}
			if !errors.As(err, &fault) {
				return nil, err
			}
			rep.fault(fault)
			continue
		}
		if err := rec.decode(f[frameHead:], a.Keys); err != nil {
			rep.fault(&Fault{File: pos.File, Offset: pos.Offset, Seq: seqOf(f), Reason: err.Error()})
			continue
		}
		rep.count(f, pos)
		tc.record(f, &rec, pos)
		if o.Progress != nil && rep.Records%10_000 == 0 {
			o.Progress(rep.Records)
		}
		if _, twice := ids[rec.ID]; twice {
			rep.fault(&Fault{File: pos.File, Offset: pos.Offset, Seq: rec.Seq, Reason: fmt.Sprintf("ID %s stands twice", rec.ID)})
		}
		if _, ok := ids[rec.Cites]; !ok && !rec.Cites.IsZero() {
			rep.fault(&Fault{File: pos.File, Offset: pos.Offset, Seq: rec.Seq, Reason: fmt.Sprintf("cites %s, which is no earlier record", rec.Cites)})
		}
		ids[rec.ID] = struct{}{}
		if st, ok := rec.segmentStatement(); ok {
			n := numberOf(st.File, compressedExt)
			stated[n] = append(stated[n], st.SHA256)
		}
	}
	rep.Torn = r.torn
	if err := tc.end(); err != nil {
		return nil, err
	}
	if err := a.verifyCompressed(rep, compressed, stated); err != nil {
		return nil, err
	}
	for _, name := range others {
		if name == checkpointFile || name == checkpointFile+".new" {
			continue
		}
		if fi, err := os.Lstat(filepath.Join(a.Dir, name)); err == nil && !fi.IsDir() {
			rep.fault(&Fault{File: name, Reason: "not a file of the archive"})
		}
	}
	rep.OK = rep.FaultCount == 0
	return rep, nil
}

func (r *Report) count(f []byte, pos Pos) {
	r.Records++
	if Type(f[frameHead+atType]) == TypeMessage {
		r.Messages++
	}
	r.Bytes += int64(pos.Bytes)
	at := fromMicros(uint64(archivedOf(f)))
	if r.FirstSeq == 0 {
		r.FirstSeq, r.First = seqOf(f), at
	}
	r.LastSeq, r.Last = seqOf(f), at
}
