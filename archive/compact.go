package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Compacted is a compressed segment that was written beside the one it takes
// the place of. It takes effect when its statement is in the record and
// [Compacted.Install] was called.
type Compacted struct {
	dir    string
	number uint64
	// Statement is to be recorded, durably, before Install.
	Statement SegmentStatement
}

// SegmentStatement says what a compressed segment is. It is the content of the
// act ActSegment, by which a verifier knows the file.
type SegmentStatement struct {
	File     string `json:"file"`
	SHA256   string `json:"sha256"` // of the file, in hex
	Bytes    int64  `json:"bytes"`
	Records  uint64 `json:"records"`
	FirstSeq uint64 `json:"first_seq"`
	// Erased counts the contents that are gone from it for good.
	Erased uint64 `json:"erased,omitempty"`
	// From is what was there before: the segment of the journal or another
	// compressed one, and its SHA-256.
	From       string `json:"from"`
	FromSHA256 string `json:"from_sha256"`
}

// ActSegment is the action of the act that states a compressed segment.
const ActSegment = "segment"

// Finished returns the numbers of the segments that the journal finished and
// that are not compressed yet, oldest first.
func (a Folder) Finished() ([]uint64, error) {
	numbers, _, err := listSegments(a.Dir)
	if err != nil {
		return nil, err
	}
	var out []uint64
	for i, n := range numbers {
		if i == len(numbers)-1 {
			break // the journal writes it, or may go on behind it
		}
		if _, err := os.Stat(segmentPath(a.Dir, n)); err == nil {
			out = append(out, n)
		}
	}
	return out, nil
}

// CompressedSegments returns the numbers of the compressed segments, oldest first.
func (a Folder) CompressedSegments() ([]uint64, error) {
	numbers, _, err := listSegments(a.Dir)
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, n := range numbers {
		if _, err := os.Stat(segmentPath(a.Dir, n)); errors.Is(err, os.ErrNotExist) {
			out = append(out, n)
		}
	}
	return out, nil
}

// Compact writes segment number, which is finished, in compressed form beside
// itself. With drop the contents of the records for which it returns true are
// left out; it sees each record with a content as it is without it. The
// contents are opened and sealed again, all that one key seals together.
// A segment that is damaged, or whose keys are not all there, is left alone.
func (a Folder) Compact(number uint64, keys Resealer, drop func(*Record) bool) (*Compacted, error) {
	src, err := a.source(number, keys)
	if err != nil {
		return nil, err
	}
	defer src.close()
	path := filepath.Join(a.Dir, fmt.Sprintf("%010d%s", number, newExt))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("compress segment: %w", err)
	}
	w := &compressedWriter{f: f, sum: sha256.New(), keys: keys, header: src.header(), src: src, bundles: map[[keyID]byte]int{}}
	st, err := w.write(drop)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(path)
		return nil, fmt.Errorf("compress segment %d: %w", number, err)
	}
	st.File, st.From, st.FromSHA256 = CompressedName(number), src.name(), hex.EncodeToString(src.digest())
	return &Compacted{dir: a.Dir, number: number, Statement: st}, nil
}

// Install puts the new file in the place of the old one. Its statement must be
// durable in the record: a crash in between is mended by [Folder.FinishCompaction].
func (c *Compacted) Install() error {
	return install(c.dir, c.number)
}

func install(dir string, number uint64) error {
	path := compressedPath(dir, number)
	if err := os.Rename(path+strings.TrimPrefix(newExt, compressedExt), path); err != nil {
		return fmt.Errorf("install compressed segment: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return err
	}
	if err := os.Remove(segmentPath(dir, number)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove compressed segment's source: %w", err)
	}
	return d.Sync()
}

// FinishCompaction mends what a stop left half done: new files whose statement
// is in the record are installed, others removed. Nothing else may compact
// meanwhile.
func (a Folder) FinishCompaction() error {
	entries, err := os.ReadDir(a.Dir)
	if err != nil {
		return fmt.Errorf("list archive: %w", err)
	}
	left := map[uint64]string{}
	oldest := time.Now()
	for _, e := range entries {
		n := numberOf(e.Name(), newExt)
		both := numberOf(e.Name(), compressedExt)
		switch info, err := e.Info(); {
		case n != 0 && err == nil:
			sum, err := fileSum(filepath.Join(a.Dir, e.Name()))
			if err != nil {
				return err
			}
			left[n] = hex.EncodeToString(sum)
			if info.ModTime().Before(oldest) {
				oldest = info.ModTime()
			}
		case both != 0: // installed, and the source not removed yet
			if err := os.Remove(segmentPath(a.Dir, both)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	if len(left) == 0 {
		return nil
	}
	stated := map[uint64]bool{}
	r, err := a.readerFrom(micros(oldest.Add(-time.Hour)))
	if err != nil {
		return err
	}
	defer r.Close()
	err = r.each(func(rec *Record, _ Pos) error {
		if st, ok := rec.segmentStatement(); ok {
			if n := numberOf(st.File, compressedExt); left[n] != "" {
				stated[n] = st.SHA256 == left[n]
			}
		}
		return nil
	})
	var fault *Fault
	if err != nil && !errors.As(err, &fault) { // Verify names damage
		return err
	}
	for n := range left {
		if stated[n] {
			err = install(a.Dir, n)
		} else {
			err = os.Remove(filepath.Join(a.Dir, fmt.Sprintf("%010d%s", n, newExt)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func fileSum(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

// compressedWriter writes one compressed segment.
type compressedWriter struct {
	f      *os.File
	off    int64
	crc    uint32
	sum    hash.Hash
	seed   uint32
	keys   Resealer
	header header
	src    segmentSource

	block     []byte // envelopes that gather
	blockSeq  uint64 // of its first record
	envelopes []place
	bundles   map[[keyID]byte]int // the open one of each key
	contents  []bundle
	packed    []byte
}

// bundle is a frame of contents that is to be written.
type bundle struct {
	key   [keyID]byte
	items []item
	size  int
}

// item is a content: the number of its record in the segment, and where the source has it.
type item struct {
	index int
	at    contentPlace
}

func (w *compressedWriter) write(drop func(*Record) bool) (st SegmentStatement, err error) {
	h := &w.header
	w.seed = seedOf(h.id)
	if err := w.put(h.encode()); err != nil {
		return st, err
	}
	var rec Record
	records := uint64(0)
	for {
		e, ok, err := w.src.next()
		if err != nil {
			return st, err
		}
		if !ok {
			break
		}
		where := 0
		if Type(e.payload[atType]) <= typeMax {
			if len(w.block) == 0 {
				w.blockSeq = h.firstSeq + records
			}
			if e.content {
				kept := e.at.size > 0
				if kept && drop != nil {
					if err := rec.decodeEnvelope(e.payload); err != nil {
						return st, err
					}
					kept = !drop(&rec)
				}
				if kept {
					where = w.add(e.key, item{int(records), e.at})
				} else {
					st.Erased++
				}
			}
			records++
		} else if len(w.block) == 0 {
			w.blockSeq = h.firstSeq + records
		}
		w.block = binary.AppendUvarint(w.block, uint64(len(e.payload)))
		w.block = append(w.block, e.payload...)
		w.block = binary.AppendUvarint(w.block, uint64(where))
		if len(w.block) >= envelopesBytes {
			if err := w.flush(); err != nil {
				return st, err
			}
		}
	}
	if err := w.flush(); err != nil {
		return st, err
	}
	if records != h.records {
		return st, fmt.Errorf("%w: %d records, not %d", ErrFormat, records, h.records)
	}
	var places []int64
	for i := range w.contents {
		places = append(places, w.off)
		if err := w.bundle(&w.contents[i]); err != nil {
			return st, err
		}
		w.contents[i].items = nil
	}
	index := encodeIndex(w.envelopes, places)
	index = binary.LittleEndian.AppendUint32(index, uint32(frameHead+structHead+len(index)+4))
	if err := w.frame(typeIndex, nil, index); err != nil {
		return st, err
	}
	e := end{id: h.id, records: h.records, offset: w.off, crc: w.crc}
	if err := w.put(e.encode()); err != nil {
		return st, err
	}
	st.SHA256, st.Bytes, st.Records, st.FirstSeq = hex.EncodeToString(w.sum.Sum(nil)), w.off, h.records, h.firstSeq
	return st, nil
}

// add chooses the frame of contents for an item, and returns its number from 1.
func (w *compressedWriter) add(key [keyID]byte, it item) int {
	n, ok := w.bundles[key]
	if !ok || w.contents[n].size+it.at.size > contentsBytes {
		n = len(w.contents)
		w.contents = append(w.contents, bundle{key: key})
		w.bundles[key] = n
	}
	b := &w.contents[n]
	b.items = append(b.items, it)
	b.size += it.at.size
	return n + 1
}

// flush writes the envelopes that gathered.
func (w *compressedWriter) flush() error {
	if len(w.block) == 0 {
		return nil
	}
	w.envelopes = append(w.envelopes, place{w.off, w.blockSeq})
	w.packed = packer.EncodeAll(w.block, w.packed[:0])
	w.block = w.block[:0]
	return w.frame(typeEnvelopes, nil, w.packed)
}

// bundle writes a frame of contents.
func (w *compressedWriter) bundle(b *bundle) error {
	var plain []byte
	for _, it := range b.items {
		inner, err := w.src.content(it.at)
		if err != nil {
			return err
		}
		plain = binary.AppendUvarint(plain, uint64(it.index))
		plain = binary.AppendUvarint(plain, uint64(len(inner)))
		plain = append(plain, inner...)
	}
	w.packed = packer.EncodeAll(plain, w.packed[:0])
	id := NewID(time.Now())
	head := append(b.key[:], id[:]...)
	if b.key == [keyID]byte{} {
		return w.frame(typeContents, head, w.packed)
	}
	sealed, err := w.keys.Reseal(nil, b.key, id, w.packed)
	if err != nil {
		return err
	}
	return w.frame(typeContents, head, sealed[keyID:])
}

func (w *compressedWriter) frame(t byte, head, data []byte) error {
	b := make([]byte, frameHead, frameHead+structHead+len(head)+len(data))
	b = append(b, recordVersion, t, 0, 0, 0, 0, 0, 0)
	b = append(append(b, head...), data...)
	binary.LittleEndian.PutUint32(b[frameHead+atEnvelope:], uint32(len(head)+len(data)))
	binary.LittleEndian.PutUint32(b, uint32(len(b)-frameHead)|flagFence)
	sealFrame(b, w.seed)
	return w.put(b)
}

func (w *compressedWriter) put(b []byte) error {
	if _, err := w.f.Write(b); err != nil {
		return err
	}
	_, _ = w.sum.Write(b) // a hash never returns an error
	w.crc = crc32.Update(w.crc, castagnoli, b)
	w.off += int64(len(b))
	return nil
}

// segmentStatement reads the statement of a record of ActSegment.
func (r *Record) segmentStatement() (st SegmentStatement, ok bool) {
	if r.Type != TypeAct || r.Action != ActSegment {
		return st, false
	}
	return st, unmarshalStrict(bytes.NewReader(r.Raw), &st) == nil
}
