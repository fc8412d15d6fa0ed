package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// magic opens each segment file; its last two bytes are the version of the
// file format, little-endian.
const magic = "RCARCH\x01\x00"

// magicCompressed opens a compressed segment, in the same way.
const magicCompressed = "RCARCZ\x01\x00"

// endMagic are the last bytes of a segment that was finished.
const endMagic = "rcarcEND"

// The header block: two copies of the header.
const (
	headerCopy  = 512
	headerBlock = 2 * headerCopy
	maxNode     = 255 // bytes of the node's name, so that a copy has room
)

const endFrame = frameHead + structHead + 16 + 8 + 8 + 4 + len(endMagic)

// The tags of a segment header's fields.
const (
	headNode       = 1
	headID         = 2
	headNumber     = 3
	headFirstSeq   = 4
	headCreated    = 5
	headNotBefore  = 6
	headPrevID     = 7
	headPrevLength = 8
	headPrevCRC    = 9

	// Of compressed segments alone.
	headRecords = 10
	headLength  = 11
	headCRC     = 12
	headDigest  = 13
)

// header is the first frame of a segment.
type header struct {
	node      string
	id        [16]byte // random, never shown to a sender
	number    uint64
	firstSeq  uint64
	created   int64 // µs
	notBefore int64 // archive time of the last record before, µs
	prev      link

	// Of a compressed segment: what the segment was that it was made from.
	records uint64
	length  int64
	crc     uint32
	digest  [sha256.Size]byte
}

// compressed reports whether the header is one of a compressed segment.
func (h *header) compressed() bool { return h.length != 0 }

// link identifies a finished segment: what is in it up to length can no
// longer change without its successor telling.
type link struct {
	id     [16]byte
	length int64
	crc    uint32 // CRC32C of the first length bytes
}

// encode returns the header block: twice the magic, the header's frame and
// zeros, so that one damaged place does not take the segment's records along.
func (h *header) encode() []byte {
	m := magic
	if h.compressed() {
		m = magicCompressed
	}
	b := append(make([]byte, 0, headerBlock), m...)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, recordVersion, typeHeader, 0, 0, 0, 0, 0, 0)
	b = appendText(b, headNode, h.node)
	b = append(append(b, headID, 16), h.id[:]...)
	b = appendNumber(b, headNumber, h.number)
	b = appendNumber(b, headFirstSeq, h.firstSeq)
	b = binary.LittleEndian.AppendUint64(append(b, headCreated, 8), uint64(h.created))
	if h.notBefore != 0 {
		b = binary.LittleEndian.AppendUint64(append(b, headNotBefore, 8), uint64(h.notBefore))
	}
	if h.prev.id != [16]byte{} {
		b = append(append(b, headPrevID, 16), h.prev.id[:]...)
		b = appendNumber(b, headPrevLength, uint64(h.prev.length))
		b = binary.LittleEndian.AppendUint32(append(b, headPrevCRC, 4), h.prev.crc)
	}
	if h.compressed() {
		b = appendNumber(b, headRecords, h.records)
		b = appendNumber(b, headLength, uint64(h.length))
		b = binary.LittleEndian.AppendUint32(append(b, headCRC, 4), h.crc)
		b = append(append(b, headDigest, sha256.Size), h.digest[:]...)
	}
	f := b[len(magic):]
	binary.LittleEndian.PutUint32(f[frameHead+atEnvelope:], uint32(len(f)-frameHead-structHead))
	binary.LittleEndian.PutUint32(f, uint32(len(f)-frameHead)|flagFence)
	sealFrame(f, 0)
	b = append(b, make([]byte, headerCopy-len(b))...)
	return append(b, b...)
}

// decode reads the payload of a header frame.
func (h *header) decode(b []byte) error {
	*h = header{}
	if len(b) < structHead || b[atVersion] != recordVersion || b[atType] != typeHeader || b[atFlags] != 0 || b[atForm] != 0 {
		return formatError("not a segment header of this version")
	}
	env := b[structHead:]
	if uint64(binary.LittleEndian.Uint32(b[atEnvelope:])) != uint64(len(env)) {
		return formatError("segment header of a wrong length")
	}
	var last uint64
	for i := 0; i < len(env); {
		tag, v, next, err := field(env, i, last)
		if err != nil {
			return err
		}
		i, last = next, tag
		switch tag {
		case headNode:
			h.node = string(v)
		case headID, headPrevID:
			to := &h.id
			if tag == headPrevID {
				to = &h.prev.id
			}
			if err := fixed16(v, to); err != nil {
				return err
			}
		case headCreated, headNotBefore:
			n, err := fixed64(v)
			if err != nil {
				return err
			}
			if n > maxTime {
				return formatError("time out of range")
			}
			if tag == headCreated {
				h.created = int64(n)
			} else {
				h.notBefore = int64(n)
			}
		case headNumber, headFirstSeq, headPrevLength, headRecords, headLength:
			n, used := uvarint(v)
			if used != len(v) || n == 0 || n > maxSeq {
				return formatError("number malformed or out of range")
			}
			switch tag {
			case headNumber:
				h.number = n
			case headFirstSeq:
				h.firstSeq = n
			case headPrevLength:
				h.prev.length = int64(n)
			case headRecords:
				h.records = n
			case headLength:
				h.length = int64(n)
			}
		case headPrevCRC, headCRC:
			if len(v) != 4 {
				return formatError("field has not 4 bytes")
			}
			to := &h.crc
			if tag == headPrevCRC {
				to = &h.prev.crc
			}
			*to = binary.LittleEndian.Uint32(v)
		case headDigest:
			if len(v) != sha256.Size {
				return formatError("field has not 32 bytes")
			}
			copy(h.digest[:], v)
		}
	}
	if h.id == [16]byte{} || h.number == 0 || h.firstSeq == 0 || (h.number == 1) != (h.prev.id == [16]byte{}) {
		return formatError("segment header lacks a field")
	}
	return nil
}

// end is the last frame of a segment that was finished.
type end struct {
	id      [16]byte
	records uint64
	offset  int64  // of this frame in the file
	crc     uint32 // CRC32C of the file up to offset
}

func (e *end) encode() []byte {
	b := make([]byte, frameHead, endFrame)
	b = append(b, recordVersion, typeEnd, 0, 0, 0, 0, 0, 0)
	b = append(b, e.id[:]...)
	b = binary.LittleEndian.AppendUint64(b, e.records)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.offset))
	b = binary.LittleEndian.AppendUint32(b, e.crc)
	b = append(b, endMagic...)
	binary.LittleEndian.PutUint32(b[frameHead+atEnvelope:], uint32(endFrame-frameHead-structHead))
	binary.LittleEndian.PutUint32(b, uint32(endFrame-frameHead)|flagFence)
	sealFrame(b, seedOf(e.id))
	return b
}

func (e *end) decode(b []byte) error {
	if len(b) != endFrame-frameHead || b[atVersion] != recordVersion || b[atType] != typeEnd ||
		string(b[len(b)-len(endMagic):]) != endMagic {
		return formatError("not the end of a segment")
	}
	b = b[structHead:]
	copy(e.id[:], b)
	e.records = binary.LittleEndian.Uint64(b[16:])
	e.offset = int64(binary.LittleEndian.Uint64(b[24:]))
	e.crc = binary.LittleEndian.Uint32(b[32:])
	return nil
}

const (
	segmentExt    = ".rcj"
	compressedExt = ".rcz"
	newExt        = ".rcz.new" // one that is being written, or waits for its record
)

func segmentName(number uint64) string { return fmt.Sprintf("%010d%s", number, segmentExt) }

// CompressedName is the name of a compressed segment.
func CompressedName(number uint64) string { return fmt.Sprintf("%010d%s", number, compressedExt) }

// numberOf returns the number in a segment's name, and 0 for any other name.
func numberOf(name, ext string) uint64 {
	stem, ok := strings.CutSuffix(name, ext)
	n, err := strconv.ParseUint(stem, 10, 64)
	if !ok || err != nil || fmt.Sprintf("%010d", n) != stem {
		return 0
	}
	return n
}

// listSegments returns the numbers of the segments in dir, compressed or not,
// in order, and the names of all that is no segment.
func listSegments(dir string) (numbers []uint64, others []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list archive: %w", err)
	}
	for _, e := range entries {
		n := max(numberOf(e.Name(), segmentExt), numberOf(e.Name(), compressedExt))
		switch {
		case !e.Type().IsRegular() || n == 0 && numberOf(e.Name(), newExt) == 0:
			others = append(others, e.Name())
		case n != 0:
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), others, nil
}

// segmentPath is where the journal writes segment number.
func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, segmentName(number))
}

func compressedPath(dir string, number uint64) string {
	return filepath.Join(dir, CompressedName(number))
}

// openSegment opens a segment as the journal wrote it or, when that is gone,
// compressed.
func openSegment(dir string, number uint64) (*window, error) {
	w, err := openWindow(segmentPath(dir, number), segmentName(number))
	if errors.Is(err, os.ErrNotExist) {
		w, err = openWindow(compressedPath(dir, number), CompressedName(number))
	}
	return w, err
}
