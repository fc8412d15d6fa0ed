package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
)

// segmentSource is a finished segment as the compressor reads it: first every
// payload in order, then the contents in any order.
type segmentSource interface {
	header() header
	name() string
	digest() []byte // SHA-256 of the file
	next() (entry, bool, error)
	content(contentPlace) ([]byte, error)
	close()
}

// entry is a payload as the leaf has it, valid until the next call.
type entry struct {
	payload []byte
	content bool // it has one, or had
	key     [keyID]byte
	at      contentPlace // size 0 when the content was erased
}

// contentPlace says where a source has a content.
type contentPlace struct {
	off  int64 // of the frame, in a segment of the journal
	size int   // of the content, about
	p    packed
}

// source opens a finished segment.
func (a Folder) source(number uint64, keys Opener) (segmentSource, error) {
	w, err := openSegment(a.Dir, number)
	if err != nil {
		return nil, err
	}
	h, ok, bad, err := w.header()
	if err == nil && (!ok || bad != "") {
		err = &Fault{File: w.name, Reason: bad}
	}
	if err == nil && h.compressed() {
		var c *compressed
		if c, err = openCompressed(w, h, keys); err == nil {
			var sum []byte
			if sum, err = fileSum(w.f.Name()); err == nil {
				return &packedSource{c: c, sum: sum}, nil
			}
		}
	} else if err == nil {
		s := &journalSource{w: w, h: h, keys: keys, off: headerBlock}
		if err = s.prepare(a); err == nil {
			return s, nil
		}
	}
	_ = w.f.Close()
	return nil, err
}

// journalSource reads a segment as the journal wrote it.
type journalSource struct {
	w     *window
	h     header
	keys  Opener
	off   int64
	leaf  []byte
	inner []byte
}

// prepare reads the end of the segment, and checks that it is as the next one
// says it was.
func (s *journalSource) prepare(a Folder) error {
	next, err := openSegment(a.Dir, s.h.number+1)
	if err != nil {
		return err
	}
	defer next.f.Close()
	after, ok, bad, err := next.header()
	if err != nil {
		return err
	}
	if !ok {
		return &Fault{File: next.name, Reason: bad}
	}
	if after.prev.id != s.h.id || after.prev.length > s.w.limit {
		return &Fault{File: s.w.name, Reason: "the next segment does not follow it, or it is cut"}
	}
	s.w.limit = after.prev.length
	sum, err := s.w.sum(after.prev.length)
	if err != nil {
		return err
	}
	if sum != after.prev.crc {
		return &Fault{File: s.w.name, Reason: "segment is not as it was when the next one began"}
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(s.w.f, 0, after.prev.length)); err != nil {
		return err
	}
	s.h.length, s.h.crc = after.prev.length, after.prev.crc
	hash.Sum(s.h.digest[:0])
	s.h.records = after.firstSeq - s.h.firstSeq
	return nil
}

func (s *journalSource) header() header { return s.h }
func (s *journalSource) name() string   { return s.w.name }
func (s *journalSource) digest() []byte { return s.h.digest[:] }
func (s *journalSource) close()         { _ = s.w.f.Close() }

func (s *journalSource) next() (e entry, ok bool, err error) {
	for {
		f, bad, err := s.w.frame(s.off)
		if err != nil {
			return e, false, err
		}
		if f == nil {
			if s.off >= s.w.limit && bad == "" {
				return e, false, nil
			}
			return e, false, &Fault{File: s.w.name, Offset: s.off, Reason: "cannot be compressed: " + bad}
		}
		at := s.off
		s.off += int64(len(f))
		b := f[frameHead:]
		switch t := b[atType]; {
		case t == typeEnd:
			continue
		case t > typeMax:
			return entry{payload: b}, true, nil
		}
		p, err := splitPayload(b)
		if err != nil {
			return e, false, &Fault{File: s.w.name, Offset: at, Reason: err.Error()}
		}
		s.leaf = appendLeaf(s.leaf[:0], b, &p)
		e = entry{payload: s.leaf, content: p.form != formNone}
		switch p.form {
		case formPlain:
			e.at = contentPlace{off: at, size: len(p.content)}
		case formSealed:
			copy(e.key[:], p.content[commitment:])
			_, err := s.open(b, &p)
			switch {
			case errors.Is(err, ErrErased): // nobody can open it again
			case err != nil:
				return e, false, &Fault{File: s.w.name, Offset: at, Seq: seqOf(f), Reason: "cannot be compressed: " + err.Error()}
			default:
				e.at = contentPlace{off: at, size: len(p.content)}
			}
		}
		return e, true, nil
	}
}

// open opens the sealed content of the payload b.
func (s *journalSource) open(b []byte, p *payload) (_ []byte, err error) {
	s.inner, err = s.keys.Open(s.inner[:0], ID(b[atID:atID+16]), p.content[commitment:])
	if err == nil && sha256.Sum256(s.inner) != p.commitment() {
		err = formatError("content is not what the record commits to")
	}
	return s.inner, err
}

func (s *journalSource) content(at contentPlace) ([]byte, error) {
	s.w.ahead = at.size + headerCopy // contents come in the order of their keys, not of the file
	f, bad, err := s.w.frame(at.off)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, &Fault{File: s.w.name, Offset: at.off, Reason: bad}
	}
	p, err := splitPayload(f[frameHead:])
	if err != nil || p.form == formPlain {
		return p.content, err
	}
	return s.open(f[frameHead:], &p)
}

// packedSource reads a compressed segment.
type packedSource struct {
	c   *compressed
	sum []byte
}

func (s *packedSource) header() header { return s.c.header }
func (s *packedSource) name() string   { return s.c.w.name }
func (s *packedSource) digest() []byte { return s.sum }
func (s *packedSource) close()         { _ = s.c.w.f.Close() }

func (s *packedSource) next() (e entry, ok bool, err error) {
	p, ok, err := s.c.next()
	if err != nil || !ok {
		return e, false, err
	}
	e = entry{payload: p.payload}
	if Type(p.payload[atType]) > typeMax {
		return e, true, nil
	}
	if len(p.payload) < recordHead {
		return e, false, &Fault{File: p.pos.File, Offset: p.pos.Offset, Reason: "not a record"}
	}
	e.content = p.payload[atForm] != formNone
	if p.where == 0 {
		return e, true, nil
	}
	if e.key, _, _, err = s.c.key(p.where); err != nil {
		return e, false, err
	}
	b, err := s.c.inner(&p)
	if errors.Is(err, ErrErased) {
		return e, true, nil
	}
	if err != nil {
		return e, false, err
	}
	p.payload = append([]byte(nil), p.payload...)
	e.at = contentPlace{size: len(b), p: p}
	return e, true, nil
}

func (s *packedSource) content(at contentPlace) ([]byte, error) { return s.c.inner(&at.p) }

// decodeEnvelope reads a record from its leaf, without its content.
func (r *Record) decodeEnvelope(leaf []byte) error {
	*r = Record{}
	p := payload{form: formErased, envelope: leaf[recordHead : len(leaf)-commitment]}
	if int(binary.LittleEndian.Uint32(leaf[atEnvelope:])) != len(p.envelope) {
		return formatError("fields longer than the record")
	}
	return r.envelope(leaf, &p)
}

// unmarshalStrict reads one JSON value in which every field is known.
func unmarshalStrict(b io.Reader, to any) error {
	d := json.NewDecoder(b)
	d.DisallowUnknownFields()
	return d.Decode(to)
}
