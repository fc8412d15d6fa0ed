package embedded

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
)

// softLog is the image of the kinds that are hot and soft: a file to which each
// flush appends the owners that changed, as they are then, and which is written
// anew when most of it is out of date. A page of a tree for each owner that
// changed would cost ten times as much.
//
// It begins with logMagic. A record is the length of its payload and the CRC-32C
// of it, four bytes each, big-endian, and the payload: the kind's name and the
// owner, each behind a uvarint with its length, and the state as in codec.go, or
// nothing if the owner is gone. The last record of an owner counts. Each flush
// ends with a record of the empty name and its own place in eight bytes; what
// is before it was synced.
type softLog struct {
	path string
	file *os.File
	size int64 // of what is good
	base int64 // size when it was written anew

	// foreign is what belongs to kinds that are not declared (yet), by name and
	// owner. Under DB.kindsMu.
	foreign map[string]map[string][]byte
}

const (
	logMagic  = "rollcall soft 1\n"
	recordTop = 8       // bytes before a payload
	logBuffer = 1 << 20 // bytes that are written at once
	logSlack  = 16 << 20
)

var errLog = errors.New("image is damaged")

// openLog opens the file, makes it if it is not there, and gives each record to
// put. A torn end, as a crash leaves it, is cut off.
func openLog(path string, put func(kind, owner, state []byte) error) (*softLog, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	l := &softLog{path: path, file: f}
	if err := l.replay(put); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), f.Close())
	}
	return l, nil
}

func (l *softLog) replay(put func(kind, owner, state []byte) error) error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		_, err := l.file.WriteAt([]byte(logMagic), 0)
		l.size, l.base = int64(len(logMagic)), int64(len(logMagic))
		return err
	}
	in := bufio.NewReaderSize(l.file, logBuffer)
	magic := make([]byte, len(logMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != logMagic {
		return errLog
	}
	l.size = int64(len(logMagic))
	var top [recordTop]byte
	var payload []byte
	for l.size < info.Size() {
		if _, err := io.ReadFull(in, top[:]); err != nil {
			return l.cut(info.Size())
		}
		n := int64(binary.BigEndian.Uint32(top[:]))
		if n == 0 || n > info.Size()-l.size-recordTop {
			return l.cut(info.Size())
		}
		if int64(cap(payload)) < n {
			payload = make([]byte, n)
		}
		payload = payload[:n]
		if _, err := io.ReadFull(in, payload); err != nil || crc32.Checksum(payload, castagnoli) != binary.BigEndian.Uint32(top[4:]) {
			return l.cut(info.Size())
		}
		r := reader{b: payload}
		if kind := r.bytes(); len(kind) > 0 {
			owner := r.bytes()
			if r.bad || len(owner) == 0 {
				return errLog
			}
			if err := put(kind, owner, r.b); err != nil {
				return fmt.Errorf("%s %q: %w", kind, owner, err)
			}
		}
		l.size += recordTop + n
	}
	l.base = l.size / 2
	return nil
}

// cut ends the file where it is good. If a flush ended behind that place, what is
// bad was synced once: then nothing of the file is to be trusted, since a later
// record of an owner may be what is lost.
func (l *softLog) cut(size int64) error {
	rest, err := io.ReadAll(io.NewSectionReader(l.file, l.size, size-l.size))
	if err != nil {
		return err
	}
	like := appendMark(nil, 0)[:4]
	for at := 0; ; at++ {
		next := bytes.Index(rest[at:], like)
		if next < 0 {
			break
		}
		at += next
		if bytes.HasPrefix(rest[at:], appendMark(nil, l.size+int64(at))) {
			return errLog
		}
	}
	l.base = l.size / 2
	return l.file.Truncate(l.size)
}

// appendMark appends the record that ends a flush.
func appendMark(b []byte, at int64) []byte {
	start := len(b)
	b = append(b, make([]byte, recordTop+1)...)
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	return sealRecord(b, start)
}

func sealRecord(b []byte, start int) []byte {
	payload := b[start+recordTop:]
	binary.BigEndian.PutUint32(b[start:], uint32(len(payload)))
	binary.BigEndian.PutUint32(b[start+4:], crc32.Checksum(payload, castagnoli))
	return b
}

// logWriter writes records from a place on.
type logWriter struct {
	file *os.File
	at   int64 // of what is in buf
	buf  []byte
	err  error
	n    int // records
}

func (w *logWriter) begin(kind, owner string) (start int) {
	start = len(w.buf)
	w.buf = append(w.buf, make([]byte, recordTop)...)
	w.buf = binary.AppendUvarint(w.buf, uint64(len(kind)))
	w.buf = append(w.buf, kind...)
	w.buf = binary.AppendUvarint(w.buf, uint64(len(owner)))
	w.buf = append(w.buf, owner...)
	return start
}

func (w *logWriter) end(start int) {
	w.buf = sealRecord(w.buf, start)
	w.n++
	if len(w.buf) >= logBuffer {
		w.write()
	}
}

func (w *logWriter) state(kind, owner string, s *state) {
	start := w.begin(kind, owner)
	if len(s.items) > 0 {
		w.buf = appendState(w.buf, s, true)
	}
	w.end(start)
}

func (w *logWriter) raw(kind, owner string, state []byte) {
	start := w.begin(kind, owner)
	w.buf = append(w.buf, state...)
	w.end(start)
}

func (w *logWriter) write() {
	if w.err == nil {
		_, w.err = w.file.WriteAt(w.buf, w.at)
	}
	w.at += int64(len(w.buf))
	w.buf = w.buf[:0]
}

// finish ends the flush and syncs it.
func (w *logWriter) finish() error {
	w.buf = appendMark(w.buf, w.at+int64(len(w.buf)))
	w.write()
	if w.err == nil {
		w.err = w.file.Sync()
	}
	return w.err
}

// putLogged takes a record of the log into memory, at the start.
func (db *DB) putLogged(foreign map[string]map[string][]byte) func(kind, owner, raw []byte) error {
	byName := make(map[string]*kindState)
	for _, ks := range *db.kinds.Load() {
		if ks != nil && ks.memory {
			byName[ks.kind.Name()] = ks
		}
	}
	return func(kind, owner, raw []byte) error {
		ks := byName[string(kind)]
		if ks != nil {
			return ks.putLogged(string(owner), raw)
		}
		owners := foreign[string(kind)]
		if owners == nil {
			owners = make(map[string][]byte)
			foreign[string(kind)] = owners
		}
		if len(raw) == 0 {
			delete(owners, string(owner))
		} else {
			owners[string(owner)] = append([]byte(nil), raw...)
		}
		return nil
	}
}

func (ks *kindState) putLogged(owner string, raw []byte) error {
	s := state{next: never}
	if len(raw) > 0 {
		var err error
		if s, err = decodeState(raw, true); err != nil {
			return err
		}
	}
	ks.replace(owner, s)
	return nil
}

// adopt loads what the log has of a kind that was declared late. Under kindsMu.
func (l *softLog) adopt(ks *kindState) error {
	for owner, raw := range l.foreign[ks.kind.Name()] {
		if err := ks.putLogged(owner, raw); err != nil {
			return err
		}
	}
	delete(l.foreign, ks.kind.Name())
	return nil
}

// rewrite writes a new log with what is in memory, and puts it in the place of
// the old one.
func (db *DB) rewrite() (err error) {
	path := db.log.path + ".new"
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	taken := db.takeDirty() // what changes from here on is for the next flush
	defer func() {
		if err != nil {
			db.markDirty(taken)
			err = errors.Join(fmt.Errorf("write %s: %w", path, err), f.Close(), os.Remove(path))
		}
	}()
	w := &logWriter{file: f, buf: append(make([]byte, 0, 2*logBuffer), logMagic...)}
	db.kindsMu.Lock()
	kinds, foreign := *db.kinds.Load(), maps.Clone(db.log.foreign) // the inner ones never change
	db.kindsMu.Unlock()
	for kind, owners := range foreign {
		for owner, raw := range owners {
			w.raw(kind, owner, raw)
		}
	}
	for _, ks := range kinds {
		if ks == nil || !ks.memory {
			continue
		}
		for i := range ks.shards {
			for _, e := range ks.shards[i].all() {
				w.state(ks.kind.Name(), e.owner, &e.state)
			}
		}
	}
	if err := w.finish(); err != nil {
		return err
	}
	if err := os.Rename(path, db.log.path); err != nil {
		return err
	}
	_ = db.log.file.Close() // it has no name any more
	db.log.file, db.log.size, db.log.base = f, w.at, w.at
	return syncDir(filepath.Dir(path))
}

// all lists the shard, so that its lock is not held while it is written.
func (sh *shard) all() []*entry {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	list := make([]*entry, 0, sh.owners.n)
	sh.owners.each(func(e *entry) { list = append(list, e) })
	return list
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
