package archive

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// proofHead is the first line of a proof, as C2SP tlog-proof states it.
const proofHead = "c2sp.org/tlog-proof@v1"

// Prover makes proofs against one checkpoint. It belongs to one goroutine.
type Prover struct {
	Checkpoint *Checkpoint
	Signed     []byte // the checkpoint as it was signed
	hashes     *hashes
}

// Prover returns a prover for the newest checkpoint. The error is
// fs.ErrNotExist when the archive has none yet.
func (a Folder) Prover() (*Prover, error) {
	signed, err := a.Checkpoint()
	if err != nil {
		return nil, err
	}
	cp, err := ParseCheckpoint(signed)
	if err != nil {
		return nil, err
	}
	return &Prover{cp, signed, a.hashes(cp.Size)}, nil
}

// ErrUnsigned is returned for a record that no checkpoint is over yet.
var ErrUnsigned = errors.New("archive: the record is newer than the last checkpoint; one follows within a second")

// Proof returns the proof that the record with this seq is in the archive, in
// the form of C2SP tlog-proof: its index, hashes, and the checkpoint.
func (p *Prover) Proof(seq uint64) ([]byte, error) {
	index := int64(seq) - 1
	if index < 0 || index >= p.Checkpoint.Size {
		return nil, ErrUnsigned
	}
	hashes, err := tlog.ProveRecord(p.Checkpoint.Size, index, p.hashes)
	if err != nil {
		return nil, fmt.Errorf("prove record %d: %w", seq, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nindex %d\n", proofHead, index)
	for _, h := range hashes {
		fmt.Fprintln(&b, h)
	}
	b.WriteByte('\n')
	b.Write(p.Signed)
	return b.Bytes(), nil
}

// LeafHash returns the hash of the leaf of the record with this seq.
func (p *Prover) LeafHash(seq uint64) (tlog.Hash, error) { return p.hashes.hash(0, int64(seq)-1) }

// Consistency returns the hashes that prove that the archive's tree still
// begins with the one of an older checkpoint (RFC 6962 §2.1.2).
func (p *Prover) Consistency(older int64) ([]tlog.Hash, error) {
	if older <= 0 || older > p.Checkpoint.Size {
		return nil, fmt.Errorf("the archive has %d records under its checkpoint, the older one has %d", p.Checkpoint.Size, older)
	}
	return tlog.ProveTree(p.Checkpoint.Size, older, p.hashes)
}

// VerifyProof checks a proof for a leaf against the keys, and returns the
// record's seq and the checkpoint. With no keys the signature is not checked.
func VerifyProof(leaf, proof []byte, keys ...note.Verifier) (uint64, *Checkpoint, error) {
	head, signed, ok := bytes.Cut(proof, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) < 2 || lines[0] != proofHead {
		return 0, nil, formatError("not a proof")
	}
	if strings.HasPrefix(lines[1], "extra ") && len(lines) > 2 {
		lines = lines[1:]
	}
	digits, ok := strings.CutPrefix(lines[1], "index ")
	index, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || index < 0 {
		return 0, nil, formatError("proof without an index")
	}
	var hashes tlog.RecordProof
	for _, line := range lines[2:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return 0, nil, formatError("proof with a malformed hash")
		}
		hashes = append(hashes, h)
	}
	var cp *Checkpoint
	if len(keys) > 0 {
		cp, err = OpenCheckpoint(signed, keys...)
	} else {
		cp, err = ParseCheckpoint(signed)
	}
	if err != nil {
		return 0, nil, err
	}
	if err := tlog.CheckRecord(hashes, cp.Size, cp.Root, index, tlog.RecordHash(leaf)); err != nil {
		return 0, nil, fmt.Errorf("the record is not in the archive of the checkpoint: %w", err)
	}
	return uint64(index) + 1, cp, nil
}

// Leaf returns what the tree commits to for the record: its envelope and the
// commitment to its content. The content must be there, or the record have none.
func (r *Record) Leaf() ([]byte, error) {
	b, err := r.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	p, err := splitPayload(b)
	if err != nil {
		return nil, err
	}
	return appendLeaf(nil, b, &p), nil
}
