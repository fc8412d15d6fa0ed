package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

const windowBytes = 256 << 10

// window reads frames from a segment file through a buffer that grows no
// further than the largest frame.
type window struct {
	f     *os.File
	name  string
	seed  uint32 // of the segment's CRCs
	limit int64  // nothing at or behind this offset is read
	ahead int    // bytes to read at once; 0 is windowBytes, for who reads in order
	base  int64
	buf   []byte
	store []byte
}

func openWindow(path, name string) (*window, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	w := &window{f: f, name: name}
	return w, w.toEnd()
}

// toEnd sets the limit to the size that the file has now.
func (w *window) toEnd() error {
	fi, err := w.f.Stat()
	if err != nil {
		return fmt.Errorf("size of segment: %w", err)
	}
	w.limit = fi.Size()
	return nil
}

// forget drops what was read, so that a file that grows is read again.
func (w *window) forget() { w.buf = nil }

// peek returns n bytes at off, or fewer when the segment ends before. They
// are valid until the next peek.
func (w *window) peek(off int64, n int) ([]byte, error) {
	if off >= w.limit {
		return nil, nil
	}
	n = int(min(int64(n), w.limit-off))
	if off < w.base || off+int64(n) > w.base+int64(len(w.buf)) {
		ahead := windowBytes
		if w.ahead > 0 {
			ahead = w.ahead
		}
		want := int(min(int64(max(n, ahead)), w.limit-off))
		if cap(w.store) < want {
			w.store = make([]byte, want)
		}
		got, err := w.f.ReadAt(w.store[:want], off)
		if err != nil && !errors.Is(err, io.EOF) {
			w.buf = nil
			return nil, fmt.Errorf("read %s at %d: %w", w.name, off, err)
		}
		w.base, w.buf = off, w.store[:got]
	}
	b := w.buf[off-w.base:]
	return b[:min(n, len(b))], nil
}

// frame returns the frame at off. With a nil frame, bad tells what is wrong
// there; it is empty when nothing is written at off: the file ends, or zeros follow.
func (w *window) frame(off int64) (f []byte, bad string, err error) {
	b, err := w.peek(off, frameHead)
	if err != nil || len(b) == 0 {
		return nil, "", err
	}
	if len(b) < frameHead {
		if allZero(b) {
			return nil, "", nil
		}
		return nil, "frame cut off", nil
	}
	n, _ := frameLen(b)
	if n < 0 {
		if allZero(b) {
			return nil, "", nil
		}
		return nil, "not a frame", nil
	}
	b, err = w.peek(off, frameHead+n)
	switch {
	case err != nil:
		return nil, "", err
	case len(b) < frameHead+n:
		return nil, "frame cut off", nil
	case !frameValid(b, w.seed):
		return nil, "wrong CRC", nil
	}
	return b, "", nil
}

// zerosFrom reports whether only zeros follow from off on, and where the
// first other byte is.
func (w *window) zerosFrom(off int64) (bool, int64, error) {
	for off < w.limit {
		b, err := w.peek(off, windowBytes)
		if err != nil {
			return false, 0, err
		}
		if len(b) == 0 { // the file was cut meanwhile
			return true, off, nil
		}
		if !allZero(b) {
			i := bytes.IndexFunc(b, func(r rune) bool { return r != 0 })
			return false, off + int64(i), nil
		}
		off += int64(len(b))
	}
	return true, off, nil
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// resync looks behind off for the next whole frame whose seq is seq or
// somewhat later, or for the end of the segment. With fenced set only a frame
// that begins a write counts: it proves that all before it was durable.
// The work is bounded however the bytes were chosen.
func (w *window) resync(off int64, seq uint64, fenced bool) (int64, bool, error) {
	budget := 2*(w.limit-off) + 16<<20
	for off++; off+frameHead+structHead <= w.limit; off++ {
		b, err := w.peek(off, frameHead+recordHead)
		if err != nil {
			return 0, false, err
		}
		if len(b) < frameHead+structHead {
			break
		}
		n, fence := frameLen(b)
		if n < 0 || fenced && !fence || !plausible(b[frameHead:], n, seq, uint64(w.limit)/(frameHead+recordHead)) {
			continue
		}
		if budget -= int64(n); budget < 0 {
			break
		}
		f, _, err := w.frame(off)
		if err != nil {
			return 0, false, err
		}
		if f != nil {
			return off, true, nil
		}
	}
	return 0, false, nil
}

// plausible looks at the fixed part of a payload of n bytes.
func plausible(p []byte, n int, seq, span uint64) bool {
	if p[atVersion] != recordVersion {
		return false
	}
	if p[atType] == typeEnd {
		return n == endFrame-frameHead
	}
	if p[atType] == 0 || p[atType] > typeMax || n < recordHead || len(p) < recordHead {
		return false
	}
	s := binary.LittleEndian.Uint64(p[atSeq:])
	return int(binary.LittleEndian.Uint32(p[atEnvelope:])) <= n-recordHead && s >= seq && s-seq <= span+1
}

// closed reports whether the file was finished: then it ends with an end
// frame, and a bad frame is no torn write. One flipped bit hits the mark at
// one place only.
func (w *window) closed() bool {
	if w.limit < headerBlock+int64(endFrame) {
		return false
	}
	b, err := w.peek(w.limit-int64(endFrame), endFrame)
	if err != nil || len(b) < endFrame {
		return false
	}
	n, fence := frameLen(b)
	return string(b[endFrame-len(endMagic):]) == endMagic || n == endFrame-frameHead && fence
}
