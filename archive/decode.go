package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// ErrFormat is wrapped by the errors of bytes that are no record.
var ErrFormat = errors.New("archive: not in the format")

type formatError string

func (e formatError) Error() string { return "archive: " + string(e) }
func (e formatError) Unwrap() error { return ErrFormat }

// UnmarshalBinary reads the payload of a record's frame. It takes no other
// form: a field out of order, twice, empty, or longer than it need be is an
// error. Fields with tags that it does not know are skipped.
// Sealed content stays sealed. The record shares no memory with b.
func (r *Record) UnmarshalBinary(b []byte) error { return r.decode(b, nil) }

// decode is UnmarshalBinary, with keys that may be nil.
func (r *Record) decode(b []byte, keys Opener) error {
	*r = Record{}
	p, err := splitPayload(b)
	if err != nil {
		return err
	}
	if err := r.envelope(b, &p); err != nil {
		return err
	}
	switch p.form {
	case formPlain:
		return r.inner(p.content)
	case formErased:
		r.Content, r.Commitment = Erased, p.commitment()
	case formSealed:
		r.Content, r.Commitment = Sealed, p.commitment()
		if keys != nil {
			return r.open(&p, keys)
		}
	}
	return nil
}

// envelope reads the head and the fields outside the content.
func (r *Record) envelope(b []byte, p *payload) error {
	r.Type = Type(b[atType])
	r.BodyOmitted = b[atFlags]&flagOmitted != 0
	r.Seq = binary.LittleEndian.Uint64(b[atSeq:])
	r.Archived = fromMicros(binary.LittleEndian.Uint64(b[atArchived:]))
	copy(r.ID[:], b[atID:])
	allowed := ^uint64(0)
	if p.form != formNone {
		allowed = ^uint64(private)
	}
	return r.fields(p.envelope, allowed)
}

// open reads the sealed content, if there is a key to it.
func (r *Record) open(p *payload, keys Opener) error {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	b, err := keys.Open((*buf)[:0], r.ID, p.content[commitment:])
	switch {
	case errors.Is(err, ErrErased):
		r.Content = Erased
		return nil
	case errors.Is(err, ErrNoKey):
		return nil
	case err != nil:
		return formatError("content cannot be opened: " + err.Error())
	}
	*buf = b
	if sha256.Sum256(b) != p.commitment() {
		return formatError("content is not what the record commits to")
	}
	r.Content, r.Commitment = Present, [commitment]byte{}
	return r.inner(b)
}

// fields reads fields with tags in the set allowed, and skips those that it
// does not know.
func (r *Record) fields(env []byte, allowed uint64) error {
	all := string(env) // one allocation for every text field
	var last uint64
	for i := 0; i < len(env); {
		tag, value, next, err := field(env, i, last)
		if err != nil {
			return err
		}
		i, last = next, tag
		if tag <= tagLast && allowed&(1<<tag) == 0 {
			return formatError("field in the wrong part of the record")
		}
		n := len(value)
		if p := r.text(tag); p != nil {
			if n > MaxField {
				return formatError("text field too long")
			}
			*p = all[next-n : next]
			continue
		}
		switch tag {
		case tagReceived:
			v, err := fixed64(value)
			if err != nil {
				return err
			}
			r.Received = fromMicros(v)
			if v == 0 || v > maxTime {
				return formatError("time out of range")
			}
		case tagCites:
			if err := fixed16(value, (*[16]byte)(&r.Cites)); err != nil {
				return err
			}
		case tagRequestKey:
			if err := fixed16(value, &r.RequestKey); err != nil {
				return err
			}
		case tagDirection, tagCSeq, tagDisposition, tagStatus, tagSize:
			v, err := number(value, tag)
			if err != nil {
				return err
			}
			switch tag {
			case tagDirection:
				r.Direction = Direction(v)
			case tagCSeq:
				r.CSeq = uint32(v)
			case tagDisposition:
				r.Disposition = Disposition(v)
			case tagStatus:
				r.Status = uint16(v)
			case tagSize:
				r.Size = v
			}
		}
	}
	return nil
}

// field reads the field at env[i:] and returns its tag, its value and where
// the next field begins.
func field(env []byte, i int, last uint64) (tag uint64, value []byte, next int, err error) {
	tag, n := uvarint(env[i:])
	if n == 0 || tag <= last {
		return 0, nil, 0, formatError("tag malformed or out of order")
	}
	i += n
	size, n := uvarint(env[i:])
	if n == 0 || size == 0 || size > uint64(len(env)-i-n) {
		return 0, nil, 0, formatError("field longer than its place, or empty")
	}
	i += n
	next = i + int(size)
	return tag, env[i:next], next, nil
}

// uvarint reads a varint in its shortest form; n is 0 for any other.
func uvarint(b []byte) (v uint64, n int) {
	v, n = binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, 0
	}
	return v, n
}

func number(b []byte, tag uint64) (uint64, error) {
	limit := uint64(255)
	switch tag {
	case tagCSeq:
		limit = 1<<32 - 1
	case tagStatus:
		limit = 1<<16 - 1
	case tagSize:
		limit = MaxContent
	}
	v, n := uvarint(b)
	if n != len(b) || v == 0 || v > limit {
		return 0, formatError("number malformed or out of range")
	}
	return v, nil
}

func fixed64(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, formatError("field has not 8 bytes")
	}
	return binary.LittleEndian.Uint64(b), nil
}

func fixed16(b []byte, to *[16]byte) error {
	if len(b) != 16 || [16]byte(b) == [16]byte{} {
		return formatError("field has not 16 bytes, or is zero")
	}
	*to = [16]byte(b)
	return nil
}

func fromMicros(v uint64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(min(v, maxTime))).UTC()
}

// frameLen reads the first word of a frame and returns the length of the
// payload, or -1 when no frame begins so.
func frameLen(b []byte) (n int, fence bool) {
	w := binary.LittleEndian.Uint32(b)
	n = int(w & lengthMask)
	if w&^(lengthMask|flagFence) != 0 || n < structHead || n > maxPayload {
		return -1, false
	}
	return n, w&flagFence != 0
}

// frameValid reports whether the CRC of the whole frame f is right.
func frameValid(f []byte, seed uint32) bool {
	c := crc32.Update(seed, castagnoli, f[:4])
	return crc32.Update(c, castagnoli, f[frameHead:]) == binary.LittleEndian.Uint32(f[4:])
}
