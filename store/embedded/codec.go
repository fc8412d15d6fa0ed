package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"rollcall/store"
)

// Stored forms. Each begins with a byte that is its version, 1, and the CRC-32C
// of the rest, four bytes, big-endian. The rest of an owner's state is
//
//	uvarint version, uvarint number of items, and for each item
//	uvarint expiry (Unix milliseconds plus one, 0: never), uvarint length of the id, id,
//	and of hot kinds uvarint length of the value, value
//
// and the rest of a cold item's value is the value.
const (
	formatV1   = 1
	headerSize = 5
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errTorn    = errors.New("stored form is damaged")
)

func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[1:headerSize], crc32.Checksum(b[headerSize:], castagnoli))
	return b
}

func open(b []byte) ([]byte, error) {
	if len(b) < headerSize {
		return nil, errTorn
	}
	if b[0] != formatV1 {
		return nil, fmt.Errorf("stored form %d is not known to this version", b[0])
	}
	if binary.BigEndian.Uint32(b[1:]) != crc32.Checksum(b[headerSize:], castagnoli) {
		return nil, errTorn
	}
	return b[headerSize:], nil
}

func encodeState(s *state, values bool) []byte {
	return appendState(make([]byte, 0, stateSize(s, values)), s, values)
}

// stateSize is at least the size of the stored form.
func stateSize(s *state, values bool) int {
	size := headerSize + 2*binary.MaxVarintLen64
	for i := range s.items {
		size += 3*binary.MaxVarintLen64 + len(s.items[i].ID)
		if values {
			size += len(s.items[i].Value)
		}
	}
	return size
}

func appendState(b []byte, s *state, values bool) []byte {
	start := len(b)
	b = append(b, formatV1, 0, 0, 0, 0)
	b = binary.AppendUvarint(b, uint64(s.version))
	b = binary.AppendUvarint(b, uint64(len(s.items)))
	for i := range s.items {
		item := &s.items[i]
		var at uint64
		if e := expiry(item); e != never {
			at = uint64(e) + 1
		}
		b = binary.AppendUvarint(b, at)
		b = binary.AppendUvarint(b, uint64(len(item.ID)))
		b = append(b, item.ID...)
		if values {
			b = binary.AppendUvarint(b, uint64(len(item.Value)))
			b = append(b, item.Value...)
		}
	}
	seal(b[start:])
	return b
}

// decodeState reads what encodeState wrote, into memory of its own.
func decodeState(b []byte, values bool) (state, error) {
	b, err := open(b)
	if err != nil {
		return state{}, err
	}
	r := reader{b: b}
	s := state{version: store.Version(r.uvarint()), next: never}
	n := r.uvarint()
	if n > uint64(len(b)) {
		return state{}, errTorn
	}
	s.items = make([]store.Item, n)
	for i := range s.items {
		item := &s.items[i]
		if at := r.uvarint(); at != 0 {
			item.Expires = time.UnixMilli(int64(at - 1)).UTC()
		}
		item.ID = string(r.bytes())
		if values {
			item.Value = append([]byte(nil), r.bytes()...)
		}
		s.next = min(s.next, expiry(item))
	}
	if r.bad || len(r.b) != 0 || s.version == 0 || n == 0 {
		return state{}, errTorn
	}
	return s, nil
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func encodeValue(v []byte) []byte {
	b := make([]byte, headerSize+len(v))
	b[0] = formatV1
	copy(b[headerSize:], v)
	return seal(b)
}

func decodeValue(b []byte) ([]byte, error) {
	b, err := open(b)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), b...), nil
}
