package keys

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Layout of a month's file, as FORMAT.md states it: a header slot, then one
// slot for each key. All slots have the same size, so that a key is destroyed
// in place.
const (
	slotBytes  = 256
	magic      = "RCKEYS\x01\x00"
	maxWrapped = slotBytes - slotHead
	slotHead   = 72

	atState     = 0 // 0 none, 1 live, 2 destroyed
	atCRC       = 4
	atTime      = 8  // when it was made or destroyed, µs since 1970
	atKeyID     = 16 // ID
	atAuthor    = 32 // SHA-256 of the author
	atWrapped   = 64 // length of the wrapped key, 16 bits
	stateLive   = 1
	stateZapped = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ID names a data key: the month since January 1970 (16 bits), the slot in the
// month's file (32 bits), both big-endian, and 80 random bits.
type ID [16]byte

func (id ID) month() int { return int(binary.BigEndian.Uint16(id[:])) }
func (id ID) slot() int  { return int(binary.BigEndian.Uint32(id[2:])) }

// monthOf counts months from January 1970, in UTC.
func monthOf(t time.Time) int {
	t = t.UTC()
	return min(max((t.Year()-1970)*12+int(t.Month())-1, 0), 1<<16-1)
}

func monthName(m int) string { return fmt.Sprintf("%04d-%02d.keys", 1970+m/12, m%12+1) }

// author names a person in a slot. The file is as secret as the names in it
// are not: each record shows them.
type author [sha256.Size]byte

func authorOf(aor string) author { return sha256.Sum256([]byte(aor)) }

// month is the file of one month. The Ring's lock guards it.
type month struct {
	number int
	f      *os.File
	slots  int            // used, the header among them
	live   map[author]int // the key that an author's content is sealed with
}

// openMonth opens the file of a month. One that is not there is made
// if missing is set; else the error is fs.ErrNotExist.
func openMonth(dir string, number int, missing, readOnly bool) (*month, error) {
	path := filepath.Join(dir, monthName(number))
	mode := os.O_RDWR
	if readOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(path, mode, 0)
	if errors.Is(err, fs.ErrNotExist) && missing {
		var head [slotBytes]byte
		copy(head[:], magic)
		if err := create(path, head[:]); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, err
	}
	m := &month{number: number, f: f}
	if err := m.load(); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// load reads all slots. A slot that is not whole was never made durable, and
// so no record needs it.
func (m *month) load() error {
	m.live = make(map[author]int)
	r := io.NewSectionReader(m.f, 0, 1<<62)
	b := make([]byte, 1024*slotBytes)
	for {
		n, err := io.ReadFull(r, b)
		for at := 0; at+slotBytes <= n; at += slotBytes {
			s := b[at : at+slotBytes]
			if m.slots == 0 && string(s[:len(magic)]) != magic {
				return errors.New("not a file of data keys of this version")
			}
			if m.slots > 0 && valid(s) && s[atState] == stateLive {
				m.live[author(s[atAuthor:atWrapped])] = m.slots
			}
			m.slots++
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if m.slots == 0 {
				return errors.New("cut off")
			}
			return nil
		case err != nil:
			return err
		}
	}
}

func valid(s []byte) bool {
	return binary.LittleEndian.Uint32(s[atCRC:]) == crc32.Update(crc32.Checksum(s[:atCRC], castagnoli), castagnoli, s[atTime:])
}

func (m *month) write(slot int, s []byte) error {
	binary.LittleEndian.PutUint32(s[atCRC:], crc32.Update(crc32.Checksum(s[:atCRC], castagnoli), castagnoli, s[atTime:]))
	_, err := m.f.WriteAt(s, int64(slot)*slotBytes)
	return err
}

// add writes a new key of an author. It is not durable yet.
func (m *month) add(a author, master Master) (ID, []byte, error) {
	var id ID
	binary.BigEndian.PutUint16(id[:], uint16(m.number))
	binary.BigEndian.PutUint32(id[2:], uint32(m.slots))
	_, _ = rand.Read(id[6:]) // crypto/rand.Read never returns an error
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key)
	wrapped, err := master.Wrap(id, key)
	if err != nil {
		return id, nil, fmt.Errorf("wrap data key: %w", err)
	}
	if len(wrapped) > maxWrapped {
		return id, nil, fmt.Errorf("wrapped data key has %d bytes, %d is the most", len(wrapped), maxWrapped)
	}
	var s [slotBytes]byte
	s[atState] = stateLive
	binary.LittleEndian.PutUint64(s[atTime:], uint64(time.Now().UnixMicro()))
	copy(s[atKeyID:], id[:])
	copy(s[atAuthor:], a[:])
	binary.LittleEndian.PutUint16(s[atWrapped:], uint16(len(wrapped)))
	copy(s[slotHead:], wrapped)
	if err := m.write(m.slots, s[:]); err != nil {
		return id, nil, err
	}
	m.live[a] = m.slots
	m.slots++
	return id, key, nil
}

// read returns the key in a slot.
func (m *month) read(slot int, master Master) (ID, []byte, error) {
	var s [slotBytes]byte
	var id ID
	if _, err := m.f.ReadAt(s[:], int64(slot)*slotBytes); err != nil || slot == 0 {
		return id, nil, errNoSlot
	}
	copy(id[:], s[atKeyID:])
	switch n := int(binary.LittleEndian.Uint16(s[atWrapped:])); {
	case !valid(s[:]) || n > maxWrapped:
		return id, nil, errNoSlot
	case s[atState] == stateZapped:
		return id, nil, errZapped
	default:
		key, err := master.Unwrap(id, s[slotHead:slotHead+n])
		return id, key, err
	}
}

var (
	errNoSlot = errors.New("no key stands there")
	errZapped = errors.New("destroyed")
)

// destroy overwrites the key of an author, and makes that durable.
func (m *month) destroy(slot int) error {
	var s [slotBytes]byte
	if _, err := m.f.ReadAt(s[:], int64(slot)*slotBytes); err != nil {
		return err
	}
	s[atState] = stateZapped
	binary.LittleEndian.PutUint64(s[atTime:], uint64(time.Now().UnixMicro()))
	clear(s[atWrapped:])
	if err := m.write(slot, s[:]); err != nil {
		return err
	}
	return m.f.Sync()
}
