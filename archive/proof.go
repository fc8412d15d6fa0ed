package archive

import (
	"bytes"
	"crypto/sha256"
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
	return a.ProverOf(signed)
}

// ProverOf returns a prover for an older checkpoint of the archive.
func (a Folder) ProverOf(signed []byte) (*Prover, error) {
	cp, err := ParseCheckpoint(signed)
	if err != nil {
		return nil, err
	}
	return &Prover{cp, signed, a.hashes(cp.Size)}, nil
}

// ErrUnsigned is returned for a record that no checkpoint is over yet.
var ErrUnsigned = errors.New("archive: the record is newer than the last checkpoint; one follows within a second")

// Hashes returns the hashes that lead from the leaf of the record with this
// seq to the root of the checkpoint (RFC 6962 §2.1.1).
func (p *Prover) Hashes(seq uint64) (tlog.RecordProof, error) {
	index := int64(seq) - 1
	if index < 0 || index >= p.Checkpoint.Size {
		return nil, ErrUnsigned
	}
	hashes, err := tlog.ProveRecord(p.Checkpoint.Size, index, p.hashes)
	if err != nil {
		return nil, fmt.Errorf("prove record %d: %w", seq, err)
	}
	return hashes, nil
}

// Proof returns the proof that the record with this seq is in the archive, in
// the form of C2SP tlog-proof: its index, hashes, and the checkpoint.
func (p *Prover) Proof(seq uint64) ([]byte, error) {
	hashes, err := p.Hashes(seq)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nindex %d\n", proofHead, seq-1)
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

// Commitments returns what the tree commits to for the record, its leaf, and
// what the leaf commits to, its content: nil when it has none or that is gone.
func (r *Record) Commitments() (leaf, content []byte, err error) {
	b, err := r.AppendBinary(nil)
	if err != nil {
		return nil, nil, err
	}
	p, err := splitPayload(b)
	if err != nil {
		return nil, nil, err
	}
	if p.form == formPlain {
		content = p.content
	}
	return appendLeaf(nil, b, &p), content, nil
}

// FromCommitments reads a record from its leaf and its content, which may be
// nil, and checks that the leaf commits to the content.
func FromCommitments(leaf, content []byte) (*Record, error) {
	if len(leaf) < recordHead {
		return nil, formatError("leaf shorter than its head")
	}
	b := append([]byte(nil), leaf...)
	switch {
	case leaf[atForm] == formNone:
		if content != nil {
			return nil, formatError("content of a record that has none")
		}
	case len(leaf) < recordHead+commitment:
		return nil, formatError("leaf without its commitment")
	case content == nil:
		b[atForm] = formErased
	default:
		if c := sha256.Sum256(content); string(c[:]) != string(leaf[len(leaf)-commitment:]) {
			return nil, formatError("content is not what the record commits to")
		}
		b = append(b[:len(b)-commitment], content...)
	}
	r := new(Record)
	return r, r.UnmarshalBinary(b)
}
