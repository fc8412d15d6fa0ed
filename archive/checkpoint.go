package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// checkpointEvery is the longest time for which a record is durable and
	// under no checkpoint, and the least time between two.
	checkpointEvery = time.Second
	// checkpointFile holds the newest checkpoint.
	checkpointFile = "checkpoint"
	// maxCheckpoint bounds the bytes of a checkpoint.
	maxCheckpoint = 64 << 10
)

// Checkpoint states the tree over the first Size records, as C2SP
// tlog-checkpoint does, and what the segment was that they end in.
type Checkpoint struct {
	Origin string    `json:"origin"`
	Size   int64     `json:"size"`
	Root   tlog.Hash `json:"root"`
	// Segment, Length and Sum are the extension line: SHA-256 of the first
	// Length bytes of the segment. Segment is empty when there is no such line.
	Segment string            `json:"segment,omitempty"`
	Length  int64             `json:"length,omitempty"`
	Sum     [sha256.Size]byte `json:"-"`
}

// Tree returns what tlog's functions want.
func (c *Checkpoint) Tree() tlog.Tree { return tlog.Tree{N: c.Size, Hash: c.Root} }

// text is what is signed.
func (c *Checkpoint) text() string {
	s := fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
	if c.Segment != "" {
		s += fmt.Sprintf("segment %s %d %s\n", c.Segment, c.Length, base64.StdEncoding.EncodeToString(c.Sum[:]))
	}
	return s
}

// ParseCheckpoint reads a signed checkpoint. It checks no signature.
func ParseCheckpoint(signed []byte) (*Checkpoint, error) {
	text, _, ok := bytes.Cut(signed, []byte("\n\n"))
	if !ok || len(signed) > maxCheckpoint {
		return nil, formatError("not a signed checkpoint")
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 3 || lines[0] == "" {
		return nil, formatError("not a checkpoint: it needs an origin, a size and a root")
	}
	c := &Checkpoint{Origin: lines[0]}
	var err error
	if c.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.Size < 0 || strconv.FormatInt(c.Size, 10) != lines[1] {
		return nil, formatError("checkpoint with a malformed size")
	}
	if c.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return nil, formatError("checkpoint with a malformed root")
	}
	for _, line := range lines[3:] {
		f := strings.Split(line, " ")
		if f[0] != "segment" {
			continue // an extension of somebody else
		}
		sum, err := base64.StdEncoding.DecodeString(f[len(f)-1])
		if len(f) != 4 || err != nil || len(sum) != sha256.Size || c.Segment != "" {
			return nil, formatError("checkpoint with a malformed segment line")
		}
		if c.Length, err = strconv.ParseInt(f[2], 10, 64); err != nil || c.Length <= 0 {
			return nil, formatError("checkpoint with a malformed segment line")
		}
		c.Segment = f[1]
		copy(c.Sum[:], sum)
	}
	return c, nil
}

// OpenCheckpoint reads a checkpoint that one of the keys signed.
func OpenCheckpoint(signed []byte, keys ...note.Verifier) (*Checkpoint, error) {
	if _, err := note.Open(signed, note.VerifierList(keys...)); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return ParseCheckpoint(signed)
}

// Checkpoint returns the newest checkpoint of the archive, signed, or
// fs.ErrNotExist. It checks nothing.
func (a Folder) Checkpoint() ([]byte, error) {
	return os.ReadFile(filepath.Join(a.Dir, checkpointFile))
}

// checkpoint signs the tree over all records that are durable. What was
// written and is not durable yet is made so first.
func (j *Journal) checkpoint() error {
	if len(j.unsynced) > 0 {
		if err := j.sync(); err != nil {
			return err
		}
	}
	j.checkpointed = time.Now()
	if j.tree.size == j.signed {
		return nil
	}
	if j.seg == nil {
		if err := j.create(); err != nil {
			return err
		}
	}
	s := j.seg
	c := Checkpoint{Origin: j.o.Origin, Size: j.tree.size, Root: j.tree.root(), Segment: s.name, Length: s.durable, Sum: s.durableSum}
	signed, err := note.Sign(&note.Note{Text: c.text()}, j.o.Signers()...)
	if err != nil {
		return fmt.Errorf("sign checkpoint: %w", err)
	}
	f := make([]byte, frameHead, frameHead+structHead+len(signed))
	f = append(f, recordVersion, typeCheckpoint, 0, 0, 0, 0, 0, 0)
	f = append(f, signed...)
	binary.LittleEndian.PutUint32(f[frameHead+atEnvelope:], uint32(len(signed)))
	word := uint32(len(f) - frameHead)
	if s.off == s.durable {
		word |= flagFence
	}
	binary.LittleEndian.PutUint32(f, word)
	sealFrame(f, s.seed)
	if err := j.put(f); err != nil {
		return err
	}
	j.signed = c.Size
	j.publish(signed)
	return nil
}

// publish makes a checkpoint the newest, for those who watch. The record has
// it too, so an error here stops nothing.
func (j *Journal) publish(signed []byte) {
	path := filepath.Join(j.dir, checkpointFile)
	err := os.WriteFile(path+".new", signed, 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		j.event(Event{What: "checkpoint was not published", File: checkpointFile, Err: err})
	}
	j.newest.Store(&signed)
	if j.o.Checkpoint != nil {
		j.o.Checkpoint(signed)
	}
}

// NewestCheckpoint returns the last checkpoint that was signed since the start
// or before it, or nil.
func (j *Journal) NewestCheckpoint() []byte {
	if p := j.newest.Load(); p != nil {
		return *p
	}
	return nil
}

// openTree makes the tree ready for the records that are durable, and checks
// it against the newest checkpoint.
func (j *Journal) openTree() error {
	a := Folder{Dir: j.dir}
	size := int64(j.nextSeq - 1)
	signed, err := a.Checkpoint()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read checkpoint: %w", err)
	}
	c, err := ParseCheckpoint(signed)
	if err != nil { // none, or half written
		c = &Checkpoint{Root: emptyRoot}
	} else {
		j.newest.Store(&signed)
	}
	var complete bool
	j.tree, complete, err = a.loadTree(size)
	if err == nil && !complete {
		err = fs.ErrNotExist
	}
	if err == nil && c.Size <= size {
		var root tlog.Hash
		if root, err = tlog.TreeHash(c.Size, a.hashes(size)); err == nil && root != c.Root {
			err = formatError("the tree is not that of the checkpoint")
		}
	}
	if err != nil { // tiles that were lost with the power, as a rule
		if j.tree, err = a.rebuildTree(size); err != nil {
			return fmt.Errorf("make the tree again: %w", err)
		}
		root, err := tlog.TreeHash(min(c.Size, size), a.hashes(size))
		if err != nil || c.Size <= size && root != c.Root {
			j.event(Event{What: "the record is not that of its last checkpoint", File: checkpointFile, Err: err})
		}
	}
	if c.Size > size {
		j.event(Event{What: "the record is shorter than its last checkpoint says", File: checkpointFile})
	} else {
		j.signed = c.Size
	}
	j.tiles.dir = j.dir
	j.tree.full = func(level int, n int64, hashes []tlog.Hash) {
		if err := j.tiles.write(level, n, hashes); err != nil {
			j.event(Event{What: "tile was not written", File: tileFile(level, n/tilesInFile), Err: err})
		}
	}
	return nil
}
