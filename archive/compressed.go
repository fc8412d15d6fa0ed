package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/klauspost/compress/zstd"
)

// Limits of a compressed segment. A reader takes a larger length for damage.
const (
	envelopesBytes = 64 << 10  // of records in one frame, about, before they are compressed
	contentsBytes  = 256 << 10 // of contents in one frame, about
	maxUnpacked    = maxPayload + envelopesBytes + contentsBytes
	// contentsCached bounds the contents that a reader keeps unpacked, in bytes.
	contentsCached = 32 << 20
)

var (
	packer, _   = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpacked), zstd.WithDecoderLowmem(true))
)

// compressed reads a compressed segment. It belongs to one goroutine.
type compressed struct {
	w      *window
	header header
	keys   Opener
	// Where the frames stand, in the order of their records.
	envelopes []place
	contents  []int64

	block int    // of envelopes, the one in rest; -1 before the first
	rest  []byte // what is to come of it
	index int    // records of the block before rest
	buf   []byte // of the block
	frame []byte // the record that was read last

	cache  map[int]map[int][]byte // frame of contents → record → content
	cached int
}

// place is where a frame of envelopes stands.
type place struct {
	offset int64
	seq    uint64 // of its first record
}

// openCompressed reads the index of the segment that w is a window on, and
// checks that all of it is as it was written.
func openCompressed(w *window, h header, keys Opener) (*compressed, error) {
	c, e, err := openIndexed(w, h, keys)
	if err != nil {
		return nil, err
	}
	sum, err := w.sum(e.offset)
	if err != nil {
		return nil, err
	}
	if sum != e.crc {
		return nil, &Fault{File: w.name, Offset: e.offset, Seq: h.firstSeq, Reason: "segment is not as it was when it was written"}
	}
	return c, nil
}

// openIndexed is openCompressed for who reads few records of the segment. Each
// frame has a CRC of its own.
func openIndexed(w *window, h header, keys Opener) (*compressed, *end, error) {
	c := &compressed{w: w, header: h, keys: keys, block: -1}
	at := w.limit - int64(endFrame)
	fail := func(format string, args ...any) (*compressed, *end, error) {
		return nil, nil, &Fault{File: w.name, Offset: max(at, 0), Seq: h.firstSeq, Reason: fmt.Sprintf(format, args...)}
	}
	if at < headerBlock {
		return fail("segment cut off")
	}
	f, bad, err := w.frame(at)
	if err != nil {
		return nil, nil, err
	}
	var e end
	if f == nil || f[frameHead+atType] != typeEnd || e.decode(f[frameHead:]) != nil || e.offset != at || e.id != h.id || e.records != h.records {
		return fail("end of the segment damaged (%s)", bad)
	}
	tail, err := w.peek(at-4, 4)
	if err != nil {
		return nil, nil, err
	}
	at -= int64(binary.LittleEndian.Uint32(tail))
	if at < headerBlock {
		return fail("index of the segment is not found")
	}
	f, bad, err = w.frame(at)
	if err != nil {
		return nil, nil, err
	}
	if f == nil || f[frameHead+atType] != typeIndex {
		return fail("index of the segment damaged (%s)", bad)
	}
	if err := c.decodeIndex(f[frameHead+structHead : len(f)-4]); err != nil {
		return fail("%v", err)
	}
	return c, &e, nil
}

// encodeIndex returns the fields of the index.
func encodeIndex(envelopes []place, contents []int64) []byte {
	b := binary.AppendUvarint(nil, uint64(len(envelopes)))
	var last place
	for _, p := range envelopes {
		b = binary.AppendUvarint(b, uint64(p.offset-last.offset))
		b = binary.AppendUvarint(b, p.seq-last.seq)
		last = p
	}
	b = binary.AppendUvarint(b, uint64(len(contents)))
	at := int64(0)
	for _, o := range contents {
		b = binary.AppendUvarint(b, uint64(o-at))
		at = o
	}
	return b
}

func (c *compressed) decodeIndex(b []byte) error {
	bad := formatError("index of the segment is malformed")
	next := func() (uint64, bool) {
		v, n := uvarint(b)
		if n == 0 || v > maxSeq {
			return 0, false
		}
		b = b[n:]
		return v, true
	}
	count, ok := next()
	if !ok || count > uint64(len(b)) {
		return bad
	}
	var p place
	for range count {
		o, ok1 := next()
		s, ok2 := next()
		if !ok1 || !ok2 {
			return bad
		}
		p = place{p.offset + int64(o), p.seq + s}
		if p.offset < headerBlock || p.offset > c.w.limit || p.seq > maxSeq {
			return bad
		}
		c.envelopes = append(c.envelopes, p)
	}
	if count, ok = next(); !ok || count > uint64(len(b)) {
		return bad
	}
	at := int64(0)
	for range count {
		o, ok := next()
		if at += int64(o); !ok || at < headerBlock || at > c.w.limit {
			return bad
		}
		c.contents = append(c.contents, at)
	}
	if len(b) != 0 {
		return bad
	}
	return nil
}

// open reads the frame of envelopes with this number.
func (c *compressed) open(block int) error {
	c.block, c.index, c.rest = block, 0, nil
	p := c.envelopes[block]
	f, bad, err := c.w.frame(p.offset)
	if err != nil {
		return err
	}
	if f == nil || f[frameHead+atType] != typeEnvelopes {
		return &Fault{File: c.w.name, Offset: p.offset, Seq: p.seq, Reason: "records damaged: " + bad}
	}
	if c.buf, err = unpacker.DecodeAll(f[frameHead+structHead:], c.buf[:0]); err != nil {
		return &Fault{File: c.w.name, Offset: p.offset, Seq: p.seq, Reason: "records damaged: " + err.Error()}
	}
	c.rest = c.buf
	return nil
}

// packed is a record of a compressed segment, taken apart.
type packed struct {
	payload []byte // as the leaf: with the commitment for a content
	where   int    // frame of contents from 1; 0: it has none, or it was erased
	pos     Pos
}

// next returns the next payload, structures among them, valid until the next
// call; ok is false at the end.
func (c *compressed) next() (p packed, ok bool, err error) {
	for len(c.rest) == 0 {
		if c.block+1 >= len(c.envelopes) {
			return p, false, nil
		}
		if err := c.open(c.block + 1); err != nil {
			return p, true, err
		}
	}
	where := c.envelopes[c.block]
	p.pos = Pos{File: c.w.name, Offset: where.offset, Index: c.index}
	n, used := uvarint(c.rest)
	if used == 0 || n < structHead || n > uint64(len(c.rest)-used) {
		c.rest = nil
		return p, true, &Fault{File: c.w.name, Offset: where.offset, Seq: where.seq, Reason: "records are malformed"}
	}
	p.payload = c.rest[used : used+int(n)]
	c.rest = c.rest[used+int(n):]
	at, used := uvarint(c.rest)
	if used == 0 || at > uint64(len(c.contents)) {
		c.rest = nil
		return p, true, &Fault{File: c.w.name, Offset: where.offset, Seq: where.seq, Reason: "records are malformed"}
	}
	c.rest, p.where = c.rest[used:], int(at)
	p.pos.Bytes = int(n)
	if Type(p.payload[atType]) <= typeMax {
		c.index++
	}
	return p, true, nil
}

// key returns the ID of the key of a frame of contents, and where it stands.
func (c *compressed) key(where int) (key [keyID]byte, id ID, data []byte, err error) {
	at := c.contents[where-1]
	f, bad, err := c.w.frame(at)
	if err != nil {
		return key, id, nil, err
	}
	const head = frameHead + structHead + keyID + len(id)
	if f == nil || f[frameHead+atType] != typeContents || len(f) <= head {
		return key, id, nil, &Fault{File: c.w.name, Offset: at, Reason: "contents damaged: " + bad}
	}
	copy(key[:], f[frameHead+structHead:])
	copy(id[:], f[frameHead+structHead+keyID:])
	return key, id, f[head:], nil
}

// inner returns the content of a record of this seq. Errors are those of
// Opener.Open, or a *Fault.
func (c *compressed) inner(p *packed) ([]byte, error) {
	index := int(binary.LittleEndian.Uint64(p.payload[atSeq:]) - c.header.firstSeq)
	if m, ok := c.cache[p.where]; ok {
		return c.found(p, m[index])
	}
	key, id, data, err := c.key(p.where)
	if err != nil {
		return nil, err
	}
	if key != [keyID]byte{} {
		if c.keys == nil {
			return nil, ErrNoKey
		}
		if data, err = c.keys.Open(nil, id, append(key[:], data...)); err != nil {
			return nil, err
		}
	}
	at := c.contents[p.where-1]
	b, err := unpacker.DecodeAll(data, nil)
	if err != nil {
		return nil, &Fault{File: c.w.name, Offset: at, Reason: "contents damaged: " + err.Error()}
	}
	m, n := make(map[int][]byte), len(b)
	for len(b) > 0 {
		i, used := uvarint(b)
		size, k := uvarint(b[used:])
		if used == 0 || k == 0 || i > c.header.records || size > uint64(len(b)-used-k) {
			return nil, &Fault{File: c.w.name, Offset: at, Reason: "contents are malformed"}
		}
		b = b[used+k:]
		m[int(i)], b = b[:size:size], b[size:]
	}
	if c.cached+n > contentsCached || c.cache == nil {
		c.cache, c.cached = make(map[int]map[int][]byte), 0
	}
	c.cache[p.where] = m
	c.cached += n
	return c.found(p, m[index])
}

// found checks a content against the commitment of its record.
func (c *compressed) found(p *packed, b []byte) ([]byte, error) {
	if sum := sha256.Sum256(b); string(sum[:]) != string(p.payload[len(p.payload)-commitment:]) {
		return nil, &Fault{File: c.w.name, Offset: c.contents[p.where-1], Seq: binary.LittleEndian.Uint64(p.payload[atSeq:]),
			Reason: "content is not what the record commits to"}
	}
	return b, nil
}

// record puts the frame of a record together, as the journal would have
// written it, with the content plain where it can be opened.
func (c *compressed) record(p *packed) ([]byte, error) {
	c.frame = append(append(c.frame[:0], make([]byte, frameHead)...), p.payload...)
	binary.LittleEndian.PutUint32(c.frame, uint32(len(p.payload)))
	if p.payload[atForm] == formNone {
		return c.frame, nil
	}
	if len(p.payload) < recordHead+commitment {
		return nil, &Fault{File: p.pos.File, Offset: p.pos.Offset, Reason: "records are malformed"}
	}
	form := &c.frame[frameHead+atForm]
	if p.where == 0 {
		*form = formErased
		return c.frame, nil
	}
	b, err := c.inner(p)
	switch {
	case err == nil:
		c.frame = append(c.frame[:len(c.frame)-commitment], b...)
	case errors.Is(err, ErrErased):
		*form = formErased
	case errors.Is(err, ErrNoKey): // sealed, elsewhere in the file
		*form = formSealed
		c.frame = append(c.frame, make([]byte, keyID+1)...)
	default:
		return nil, err
	}
	binary.LittleEndian.PutUint32(c.frame, uint32(len(c.frame)-frameHead))
	return c.frame, nil
}

// find returns the record with this seq.
func (c *compressed) find(seq uint64) (packed, bool, error) {
	block := sort.Search(len(c.envelopes), func(i int) bool { return c.envelopes[i].seq > seq }) - 1
	if block < 0 {
		return packed{}, false, nil
	}
	if c.block == block {
		c.index, c.rest = 0, c.buf
	} else if err := c.open(block); err != nil {
		return packed{}, false, err
	}
	for {
		p, ok, err := c.next()
		if err != nil || !ok || c.block != block {
			return p, false, err
		}
		if Type(p.payload[atType]) <= typeMax && len(p.payload) >= recordHead && binary.LittleEndian.Uint64(p.payload[atSeq:]) == seq {
			return p, true, nil
		}
	}
}
