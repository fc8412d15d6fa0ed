package archive

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"
)

// ID names a record. It is a ULID: 48 bits of milliseconds since 1970 (UTC),
// then 80 random bits, both big-endian, so that IDs sort by time. The zero ID
// names nothing.
type ID [16]byte

// ErrID is returned by ParseID for a text that is no ID.
var ErrID = errors.New("archive: not a record ID (26 letters and digits)")

// crockford is the alphabet of the text form; I, L, O and U are not in it.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

var idState struct {
	sync.Mutex
	last ID
}

// NewID returns an ID for the time now. Within one process each call returns
// a greater ID than the call before, also when now does not advance or jumps
// back: then the milliseconds of the last ID stay and its low bits count up.
// It may be called from several goroutines.
func NewID(now time.Time) ID {
	ms := uint64(max(now.UnixMilli(), 0)) & (1<<48 - 1)
	idState.Lock()
	defer idState.Unlock()
	last := &idState.last
	if ms > last.ms() {
		_, _ = rand.Read(last[6:]) // crypto/rand.Read never returns an error
		last[6] &= 0x7f            // room to count up within the millisecond
		last[0], last[1] = byte(ms>>40), byte(ms>>32)
		binary.BigEndian.PutUint32(last[2:], uint32(ms))
		return *last
	}
	for i := 15; i >= 0; i-- {
		last[i]++
		if last[i] != 0 {
			break
		}
	}
	return *last
}

func (id ID) ms() uint64 {
	return uint64(binary.BigEndian.Uint16(id[:]))<<32 | uint64(binary.BigEndian.Uint32(id[2:]))
}

// IsZero reports whether the ID names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// Time returns the milliseconds of the ID as a time in UTC.
func (id ID) Time() time.Time { return time.UnixMilli(int64(id.ms())).UTC() }

// String returns the 26 characters of the ID in Crockford's base 32.
func (id ID) String() string {
	var b [26]byte
	hi, lo := binary.BigEndian.Uint64(id[:]), binary.BigEndian.Uint64(id[8:])
	for i := 25; i >= 0; i-- {
		b[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(b[:])
}

// ParseID reads the text form of an ID, in either case.
func ParseID(s string) (ID, error) {
	if len(s) != 26 || s[0] > '7' {
		return ID{}, ErrID
	}
	var hi, lo uint64
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		v := strings.IndexByte(crockford, c)
		if v < 0 {
			return ID{}, ErrID
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	var id ID
	binary.BigEndian.PutUint64(id[:], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return id, nil
}

// MarshalText returns the text form, for JSON and flags.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}
