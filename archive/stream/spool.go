package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"rollcall/archive"
)

// spool keeps entries on a disk of this server while Redis does not take them. Each is
// made durable before anybody hears of it, and they go into the streams in their order
// later. It belongs to the goroutine that writes.
type spool struct {
	dir  string
	node string
	most int64 // bytes

	j     *archive.Journal // of the entries; nil: there are none
	r     *archive.Reader
	sent  uint64 // the last that the streams have
	bytes int64  // of those that they do not have
	since time.Time
}

// The spool's folder has the entries as records of a journal of their own, and a file
// that tells how many of them the streams have.
const (
	spoolEntries = "entries"
	spoolSent    = "sent"
)

// actSpooled is the action of the records that hold entries.
const actSpooled = "spooled"

// errSpoolFull is wrapped by what is refused then.
var errSpoolFull = errors.New("the spool is full")

// openSpool opens what an earlier process left.
func openSpool(dir, node string, most int64) (*spool, error) {
	s := &spool{dir: dir, node: node, most: most}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, spoolSent))
	if err == nil {
		s.sent, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // all go again; they are known by their IDs
		s.sent = 0
	}
	folder := s.folder()
	last, err := folder.LastSeq()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if last <= s.sent {
		return s, s.clear()
	}
	err = folder.Scan(func(r *archive.Record, _ archive.Pos) error {
		if r.Seq > s.sent {
			s.count(r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return s, s.open()
}

func (s *spool) folder() archive.Folder {
	return archive.Folder{Dir: filepath.Join(s.dir, spoolEntries)}
}

func (s *spool) open() (err error) {
	s.j, err = archive.Open(s.folder().Dir, archive.Options{Node: s.node})
	return err
}

// begin opens an empty spool. What an earlier one had sent must not count for it.
func (s *spool) begin() error {
	if err := os.Remove(filepath.Join(s.dir, spoolSent)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.open()
}

func (s *spool) count(r *archive.Record) {
	if s.bytes == 0 {
		s.since = r.Received
	}
	s.bytes += int64(len(r.Raw))
}

// put makes entries durable, and returns the fault of each.
func (s *spool) put(batch []*item) []error {
	faults := make([]error, len(batch))
	counted := make([]int64, len(batch))
	var wg sync.WaitGroup
	for i, x := range batch {
		r := &archive.Record{Type: archive.TypeAct, Received: time.Now(), Action: actSpooled, Raw: x.marshal()}
		if s.bytes+int64(len(r.Raw)) > s.most {
			faults[i] = errSpoolFull
			continue
		}
		if s.j == nil {
			if faults[i] = s.begin(); faults[i] != nil {
				continue
			}
		}
		s.count(r)
		counted[i] = int64(len(r.Raw))
		wg.Add(1)
		err := s.j.AppendFunc(r, func(_ archive.Receipt, err error) {
			faults[i] = err
			wg.Done()
		})
		if err != nil {
			faults[i] = err
			wg.Done()
		}
	}
	wg.Wait()
	for i, err := range faults {
		if err != nil {
			s.bytes -= counted[i]
		}
	}
	return faults
}

// next reads the oldest entries that the streams do not have, n at most, and the seq of
// the last of them.
func (s *spool) next(n int) (batch []*item, last uint64, err error) {
	if s.j == nil {
		return nil, s.sent, nil
	}
	last = s.sent
	if s.r == nil {
		if s.r, err = s.folder().ReaderFrom(s.sent + 1); err != nil {
			return nil, last, err
		}
	}
	for len(batch) < n && last < s.j.Durable() {
		r, _, err := s.r.Next()
		if errors.Is(err, io.EOF) { // it ended there before more was written
			s.rewind()
			break
		}
		if err != nil {
			s.rewind()
			return nil, last, err
		}
		if r.Seq <= s.sent {
			continue
		}
		last = r.Seq
		x, ok, err := itemOf(r)
		if err != nil {
			s.rewind()
			return nil, last, err
		}
		if ok {
			batch = append(batch, x)
		}
	}
	return batch, last, nil
}

// left reports whether there are entries that the streams do not have.
func (s *spool) left() bool { return s.j != nil && s.sent < s.j.Durable() }

// rewind has the next read begin behind the last entry that was sent.
func (s *spool) rewind() {
	if s.r != nil {
		_ = s.r.Close()
		s.r = nil
	}
}

// took notes that the streams have the entries of the last read.
func (s *spool) took(batch []*item, last uint64) error {
	path := filepath.Join(s.dir, spoolSent)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, last)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return err
	}
	s.sent = last
	for _, x := range batch {
		s.bytes -= int64(len(x.marshal()))
	}
	return nil
}

// clear removes the files when the streams have all.
func (s *spool) clear() error {
	s.rewind()
	var err error
	if s.j != nil {
		err = s.j.Close()
		s.j = nil
	}
	s.sent, s.bytes, s.since = 0, 0, time.Time{}
	if err = errors.Join(err, os.RemoveAll(s.folder().Dir)); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.dir, spoolSent)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// close leaves the files to the next process.
func (s *spool) close() error {
	s.rewind()
	if s.j == nil {
		return nil
	}
	return s.j.Close()
}

// marshal is the stored form of an entry: its stream, the key to its content, and the
// record as the stream has it.
func (x *item) marshal() []byte {
	head := byte(x.shard)
	if x.sentOnce {
		head |= headSentOnce
	}
	b := append([]byte{head}, x.key.id[:]...)
	b = binary.AppendUvarint(b, uint64(len(x.key.wrapped)))
	return append(append(b, x.key.wrapped...), x.value...)
}

const headSentOnce = 0x80

var errSpooled = errors.New("archive: malformed entry in the spool")

// itemOf reads what marshal wrote; other records of the journal are none.
func itemOf(r *archive.Record) (x *item, ok bool, err error) {
	if r.Type != archive.TypeAct || r.Action != actSpooled {
		return nil, false, nil
	}
	b := r.Raw
	if len(b) < 17 || b[0]&^headSentOnce >= Shards {
		return nil, false, errSpooled
	}
	x = &item{shard: int(b[0] &^ headSentOnce), sentOnce: b[0]&headSentOnce != 0, key: &cipherKey{id: [16]byte(b[1:17])}}
	n, size := binary.Uvarint(b[17:])
	if size <= 0 || n > uint64(len(b)-17-size) {
		return nil, false, errSpooled
	}
	x.key.wrapped, x.value = b[17+size:17+size+int(n)], b[17+size+int(n):]
	return x, true, nil
}

// spooled reads an entry of the spool.
func (c *ciphers) spooled(x *item) (*archive.Record, error) {
	if err := c.learn(x.key.id, x.key.wrapped); err != nil {
		return nil, err
	}
	r := new(archive.Record)
	err := r.UnmarshalSealed(x.value, c)
	return r, err
}
