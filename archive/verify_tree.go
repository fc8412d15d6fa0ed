package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// ActKey is the action of the act that names a key for checkpoints: its object
// is the verifier key, as golang.org/x/mod/sumdb/note writes it.
const ActKey = "key"

// treeCheck recomputes the tree while Verify reads, and checks everything that
// states it: checkpoints, tiles, and the hashes of segments.
type treeCheck struct {
	a      Folder
	rep    *Report
	t      tree
	broken bool // a record is missing or damaged, so that no root after it can be computed
	buf    []byte

	pinned  bool
	trusted []note.Verifier
	named   []namedKey // keys that are trusted once a checkpoint is over the records that name them
	origin  string

	stamp       func(signed, token []byte) (time.Time, error)
	stampedOnes []stamped

	// at are the sizes at which the tree is to be compared.
	at map[int64][]statedTree

	// The segment whose hash is being computed.
	file string
	f    *os.File
	sum  hash.Hash
	pos  int64
}

type namedKey struct {
	seq int64
	key note.Verifier
	v   string
}

// statedTree is a tree that a checkpoint elsewhere states.
type statedTree struct {
	root  tlog.Hash
	file  string
	wrong string // what it means when the tree is another
}

func (a Folder) newTreeCheck(rep *Report, o VerifyOptions) (*treeCheck, error) {
	c := &treeCheck{a: a, rep: rep, stamp: o.Stamp, pinned: len(o.Keys) > 0, at: map[int64][]statedTree{}}
	for _, k := range o.Keys {
		v, err := note.NewVerifier(k)
		if err != nil {
			return nil, fmt.Errorf("verifier key %q: %w", k, err)
		}
		c.trust(v, k)
	}
	c.t.full = c.tile
	older, torn := SplitCheckpoints(o.Checkpoint)
	if len(o.Checkpoint) > 0 && len(older) == 0 {
		return nil, formatError("no signed checkpoint stands where an older one was given")
	}
	rep.CheckpointTorn = len(torn)
	for _, older := range older {
		cp, err := ParseCheckpoint(older)
		if err != nil {
			return nil, err
		}
		if c.pinned {
			if _, err := OpenCheckpoint(older, c.trusted...); err != nil {
				return nil, fmt.Errorf("the older checkpoint is not signed by a given key: %w", err)
			}
		}
		c.at[cp.Size] = append(c.at[cp.Size], statedTree{cp.Root, "", "the record was rewritten: its first %d records are not those of the older checkpoint"})
	}
	if err := c.stamps(); err != nil {
		return nil, fmt.Errorf("read time stamps: %w", err)
	}
	signed, err := a.Checkpoint()
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	cp, err := ParseCheckpoint(signed)
	if err != nil {
		rep.fault(&Fault{File: checkpointFile, Reason: err.Error()})
		return c, nil //nolint:nilerr // the report says so, and the records are looked at
	}
	c.at[cp.Size] = append(c.at[cp.Size], statedTree{cp.Root, checkpointFile, "the first %d records are not those that it states"})
	return c, nil
}

func (c *treeCheck) trust(v note.Verifier, text string) {
	if slices.Contains(c.rep.Keys, text) {
		return
	}
	c.trusted = append(c.trusted, v)
	c.rep.Keys = append(c.rep.Keys, text)
}

func (c *treeCheck) close() {
	if c.f != nil {
		_ = c.f.Close()
	}
}

// record adds a record to the tree.
func (c *treeCheck) record(f []byte, rec *Record, pos Pos) {
	if c.broken {
		return
	}
	h, buf, err := leafHash(c.buf, f[frameHead:])
	if err != nil || c.t.size+1 != int64(rec.Seq) {
		c.broken = true // Verify has named the fault
		return
	}
	c.buf = buf
	c.t.add(h)
	c.compare()
	if rec.Type != TypeAct || rec.Action != ActKey {
		return
	}
	v, err := note.NewVerifier(rec.Object)
	if err != nil {
		c.rep.fault(&Fault{File: pos.File, Offset: pos.Offset, Seq: rec.Seq, Reason: "names a malformed key: " + err.Error()})
		return
	}
	if len(c.trusted) == 0 && !c.pinned {
		c.trust(v, rec.Object) // the first key of an archive vouches for itself
		return
	}
	if slices.Contains(c.rep.Keys, rec.Object) {
		return
	}
	c.named = append(c.named, namedKey{int64(rec.Seq), v, rec.Object})
}

// compare compares the tree with those that are stated for its size.
func (c *treeCheck) compare() {
	for _, s := range c.at[c.t.size] {
		if c.t.root() != s.root {
			c.rep.fault(&Fault{File: s.file, Seq: uint64(c.t.size), Reason: fmt.Sprintf(s.wrong, c.t.size)})
		}
	}
	delete(c.at, c.t.size)
}

// checkpoint checks a checkpoint that stands in a segment.
func (c *treeCheck) checkpoint(signed []byte, pos Pos) {
	c.rep.Checkpoints++
	fault := func(format string, args ...any) {
		c.rep.fault(&Fault{File: pos.File, Offset: pos.Offset, Reason: "checkpoint: " + fmt.Sprintf(format, args...)})
	}
	cp, err := OpenCheckpoint(signed, c.trusted...)
	if err != nil {
		var unknown *note.UnverifiedNoteError
		if errors.As(err, &unknown) {
			fault("signed by no key that is known")
		} else {
			fault("%v", err)
		}
		return
	}
	if c.origin == "" {
		c.origin, c.rep.Origin = cp.Origin, cp.Origin
	}
	switch {
	case cp.Origin != c.origin:
		fault("it is of %q, those before it of %q", cp.Origin, c.origin)
	case c.broken: // nothing can be said about the tree
	case cp.Size != c.t.size:
		fault("it states %d records, %d stand before it", cp.Size, c.t.size)
	case cp.Root != c.t.root():
		fault("the %d records before it are not those that it states", cp.Size)
	default:
		c.rep.Signed = cp.Size
		rest := c.named[:0]
		for _, k := range c.named {
			if k.seq <= cp.Size {
				c.trust(k.key, k.v)
			} else {
				rest = append(rest, k)
			}
		}
		c.named = rest
	}
	if err := c.segment(cp, pos); err != nil {
		fault("%v", err)
	}
}

// segment checks the bytes of a segment that a checkpoint states. Those of a
// segment that was compressed since are gone; the statement of its successor stands for them.
func (c *treeCheck) segment(cp *Checkpoint, pos Pos) error {
	if cp.Segment == "" || pos.File != cp.Segment {
		if n := numberOf(pos.File, compressedExt); n != 0 && segmentName(n) == cp.Segment {
			return nil
		}
		return errors.New("it names no segment, or another than it stands in")
	}
	if cp.Length > pos.Offset {
		return errors.New("it states more of the segment than stands before it")
	}
	if c.file != cp.Segment {
		c.close()
		f, err := os.Open(filepath.Join(c.a.Dir, cp.Segment))
		if err != nil {
			return err
		}
		c.f, c.file, c.sum, c.pos = f, cp.Segment, sha256.New(), 0
	}
	if cp.Length < c.pos {
		return errors.New("it states less of the segment than the one before it")
	}
	n, err := io.CopyN(c.sum, c.f, cp.Length-c.pos)
	c.pos += n
	if err != nil {
		return err
	}
	if [sha256.Size]byte(c.sum.Sum(nil)) != cp.Sum {
		return fmt.Errorf("the first %d bytes of the segment are not those that it states", cp.Length)
	}
	return nil
}

// tile compares a tile with its file, if it is there.
func (c *treeCheck) tile(level int, n int64, hashes []tlog.Hash) {
	if c.broken {
		return
	}
	there, err := readTile(c.a.Dir, level, n)
	if errors.Is(err, fs.ErrNotExist) {
		return // a server makes it again
	}
	if err != nil || !slices.Equal(there, hashes) {
		name, _ := tileName(level, n)
		c.rep.fault(&Fault{File: name, Reason: fmt.Sprintf("tile is not that of the records %d to %d", n<<(tileHeight*(level+1))+1, (n+1)<<(tileHeight*(level+1)))})
	}
}

// end checks what can be checked when all records were read.
func (c *treeCheck) end() error {
	if c.t.size == 0 {
		c.compare()
	}
	if !c.broken {
		c.rep.Root = c.t.root()
		for size, trees := range c.at {
			for _, s := range trees {
				c.rep.fault(&Fault{File: s.file, Reason: fmt.Sprintf("a checkpoint states %d records, %d are there", size, c.t.size)})
			}
		}
	}
	c.checkStamps()
	if signed, err := c.a.Checkpoint(); err == nil && len(c.trusted) > 0 {
		if _, err := OpenCheckpoint(signed, c.trusted...); err != nil {
			c.rep.fault(&Fault{File: checkpointFile, Reason: "signed by no key that is known, or not as it was signed"})
		}
	}
	return tileFiles(c.a.Dir, func(name string, level int, number, size int64) {
		last := number*tilesInFile + (size+tileBytes-1)/tileBytes // tiles up to its end
		if level < 0 || size > tilesInFile*tileBytes || !c.broken && last<<(tileHeight*(level+1)) > c.t.size {
			c.rep.fault(&Fault{File: name, Reason: "has tiles that are not of this archive"})
		}
	})
}
