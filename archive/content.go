package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Sealer seals the content of records, each under a key of its author and a
// period, so that content can be erased by destroying a key. Its methods may
// be called from any goroutine.
type Sealer interface {
	Opener
	// Seal appends to dst what stands in the record for plain: the ID of a key,
	// 16 bytes, and the ciphertext, no more than 48 bytes longer than plain in
	// all. It binds the ciphertext to the record's ID, and waits for no disk.
	Seal(dst []byte, author string, at time.Time, id ID, plain []byte) ([]byte, error)
	// Sync makes durable the keys of all that Seal returned before. The journal
	// calls it before it makes the records durable.
	Sync() error
}

// Resealer seals content again under the key that it was sealed with.
type Resealer interface {
	Opener
	// Reseal is Seal with the key of this ID. The record ID must be a new one.
	// Errors are those of Open.
	Reseal(dst []byte, key [16]byte, id ID, plain []byte) ([]byte, error)
}

// Opener opens sealed content.
type Opener interface {
	// Open appends to dst what was sealed for the record with this ID. Errors:
	// ErrErased, ErrNoKey, or that the bytes are not as they were sealed.
	Open(dst []byte, id ID, sealed []byte) ([]byte, error)
}

// Errors of content that cannot be opened.
var (
	ErrErased = errors.New("archive: the key of this content was destroyed")
	ErrNoKey  = errors.New("archive: the key of this content is not here")
)

const (
	keyID      = 16 // bytes that name a key
	maxSeal    = 48 // bytes by which Seal may lengthen a content, the key's ID among them
	commitment = sha256.Size
)

// scratch holds contents while they are sealed or opened.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// seal appends the commitment to the content, and the content sealed.
func (r *Record) seal(b []byte, keys Sealer) ([]byte, error) {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	*buf = r.appendInner((*buf)[:0])
	c := sha256.Sum256(*buf)
	at := r.Received
	if at.IsZero() {
		at = r.ID.Time()
	}
	start := len(b)
	b, err := keys.Seal(append(b, c[:]...), r.From, at, r.ID, *buf)
	if err != nil {
		return b, fmt.Errorf("%w: seal content: %w", ErrUnavailable, err)
	}
	if n := len(b) - start - commitment; n < keyID || n > len(*buf)+maxSeal {
		return b, fmt.Errorf("%w: content of %d bytes sealed to %d", ErrInvalid, len(*buf), n)
	}
	return b, nil
}

// payload is the parts of a record's payload.
type payload struct {
	form     byte
	envelope []byte
	content  []byte
}

// splitPayload checks the fixed part of a record and takes it apart.
func splitPayload(b []byte) (p payload, err error) {
	if len(b) < recordHead {
		return p, formatError("record shorter than its head")
	}
	if b[atVersion] != recordVersion {
		return p, formatError("record of an unknown version")
	}
	if b[atType] == 0 || b[atType] > typeMax {
		return p, formatError("not a type of a record")
	}
	if b[atFlags]&^flagOmitted != 0 {
		return p, formatError("unknown flag")
	}
	envelope := uint64(binary.LittleEndian.Uint32(b[atEnvelope:]))
	if envelope > MaxEnvelope || envelope > uint64(len(b)-recordHead) {
		return p, formatError("fields longer than the record")
	}
	p = payload{form: b[atForm], envelope: b[recordHead : recordHead+int(envelope)], content: b[recordHead+int(envelope):]}
	n := len(p.content)
	var wrong bool
	switch p.form {
	case formNone:
		wrong = n != 0
	case formPlain:
		wrong = n <= innerHead
	case formSealed:
		wrong = n <= commitment+keyID
	case formErased:
		wrong = n != commitment
	default:
		return p, formatError("content in an unknown form")
	}
	switch {
	case wrong:
		return p, formatError("content and its form disagree")
	case n > commitment+maxInner+maxSeal:
		return p, formatError("content too long")
	case binary.LittleEndian.Uint64(b[atSeq:]) > maxSeq || binary.LittleEndian.Uint64(b[atArchived:]) > maxTime:
		return p, formatError("seq or archive time out of range")
	}
	return p, nil
}

// commitment returns the commitment to the content of a record that has one.
func (p *payload) commitment() (c [commitment]byte) {
	if p.form == formPlain {
		return sha256.Sum256(p.content)
	}
	copy(c[:], p.content)
	return c
}

// appendLeaf appends the bytes that the tree commits to, of a payload that
// splitPayload took: all but the content, for which its commitment stands. So
// the leaf stays the same when the content is sealed or erased.
func appendLeaf(dst, b []byte, p *payload) []byte {
	start := len(dst)
	dst = append(dst, b[:recordHead]...)
	dst = append(dst, p.envelope...)
	if p.form == formNone {
		return dst
	}
	dst[start+atForm] = formPlain
	c := p.commitment()
	return append(dst, c[:]...)
}

// inner reads the content into r, whose envelope was read.
func (r *Record) inner(b []byte) error {
	if len(b) <= innerHead {
		return formatError("content shorter than its head")
	}
	n := binary.LittleEndian.Uint32(b[len(r.Salt):])
	if n > MaxEnvelope || int(n) >= len(b)-innerHead || len(b)-innerHead-int(n) > MaxContent {
		return formatError("content and its lengths disagree")
	}
	copy(r.Salt[:], b)
	b = b[innerHead:]
	if err := r.fields(b[:n], private); err != nil {
		return err
	}
	r.Raw = append([]byte(nil), b[n:]...)
	return nil
}
