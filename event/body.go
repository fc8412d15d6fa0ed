package event

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"strconv"
	"time"
)

// Time is where a body tells a number of seconds that runs on until it is sent.
type Time struct {
	Offset int // in Bytes, of the digit 0 that stands for the number
	At     time.Time
	Left   bool // the seconds that are left until At; else those since
}

func (t *Time) seconds(now time.Time) uint64 {
	d := now.Sub(t.At)
	if t.Left {
		d = -d
	}
	return uint64(max(d, 0) / time.Second)
}

// numbers calls f for each number in the body, in order.
func (b *Body) numbers(version uint32, now time.Time, f func(offset int, n uint64)) {
	done := b.Version < 0
	for i := range b.Times {
		t := &b.Times[i]
		if !done && b.Version < t.Offset {
			f(b.Version, uint64(version))
			done = true
		}
		f(t.Offset, t.seconds(now))
	}
	if !done {
		f(b.Version, uint64(version))
	}
}

// Len is how long the body is when it is sent with that number at that time.
func (b *Body) Len(version uint32, now time.Time) int {
	if len(b.Bytes) == 0 {
		return 0
	}
	n := len(b.Bytes)
	b.numbers(version, now, func(_ int, v uint64) {
		for ; v >= 10; v /= 10 {
			n++
		}
	})
	return n
}

// Append writes the body as it is sent with that number at that time.
func (b *Body) Append(dst []byte, version uint32, now time.Time) []byte {
	if len(b.Bytes) == 0 {
		return dst
	}
	from := 0
	b.numbers(version, now, func(at int, v uint64) {
		dst = strconv.AppendUint(append(dst, b.Bytes[from:at]...), v, 10)
		from = at + 1
	})
	return append(dst, b.Bytes[from:]...)
}

// entityTag names a body for conditional notification (RFC 5839 §6.1): equal bodies
// have equal tags, also after a restart. Time that goes by makes no other body.
func entityTag(b Body) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(b.Type)) // never fails
	_, _ = h.Write(b.Bytes)
	for _, t := range b.Times {
		_, _ = h.Write(binary.AppendVarint(nil, t.At.Unix()))
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

// Times gives marks for the numbers of seconds in a document, so that they are found
// when it is written. The zero value is ready.
type Times struct{ all []Time }

// mark begins each; nobody else can write it.
var mark = newTag() + newTag()

const markDigits = 6

func (t *Times) add(at Time) string {
	t.all = append(t.all, at)
	n := strconv.Itoa(len(t.all) - 1)
	return mark + "000000"[:markDigits-len(n)] + n
}

// Since returns the mark for the seconds since a time. There may be a million in one
// document.
func (t *Times) Since(at time.Time) string { return t.add(Time{At: at}) }

// Left returns the mark for the seconds that are left until a time.
func (t *Times) Left(at time.Time) string { return t.add(Time{At: at, Left: true}) }

// Body makes the body of a document: the first attribute version="0" is where its
// number stands, and marks are where its times do.
func (t *Times) Body(typ string, document []byte) Body {
	b := Body{Type: typ, Bytes: document, Version: -1}
	if len(t.all) > 0 {
		b.Bytes, b.Times = t.place(document)
	}
	const version = ` version="0"`
	if i := bytes.Index(b.Bytes, []byte(version)); i >= 0 {
		b.Version = i + len(version) - 2
	}
	return b
}

// place puts the digit 0 where the marks are.
func (t *Times) place(document []byte) (out []byte, times []Time) {
	for {
		at := bytes.Index(document, []byte(mark))
		if at < 0 {
			return append(out, document...), times
		}
		out = append(out, document[:at]...)
		end := at + len(mark) + markDigits
		if i, err := strconv.Atoi(string(document[at+len(mark) : end])); err == nil && i < len(t.all) {
			next := t.all[i]
			next.Offset = len(out)
			times = append(times, next)
		}
		out = append(out, '0')
		document = document[end:]
	}
}
