package registrar

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"time"
	"unsafe"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/sip/transport"
	"rollcall/store"
)

// The stored form of a binding, version 1. The store has its expiry and ID, the
// owner is its AOR. Numbers are unsigned varints, a string is its length and its
// bytes.
//
//	version    1 byte, 1
//	flags      1 byte, see below
//	q          thousandths
//	cseq
//	reg-id     0 for none
//	registered Unix milliseconds
//	updated    milliseconds after registered
//	contact, params, call-id, instance, user agent    strings
//	flow       string, the stored form of transport.Flow
//	path       number of values, then each a string
const recordVersion = 1

const (
	flagQ        = 1 << iota // the contact had a q
	flagDirect               // Binding.Direct
	flagTied                 // Binding.Tied
	flagOutbound             // Binding.Outbound
	flagGRUU                 // Binding.GRUU
)

var errRecord = errors.New("malformed binding")

// record is a binding as stored, its strings views of the stored value, its flow
// and path not taken apart.
type record struct {
	flags      byte
	q          uint16
	cseq       uint32
	regID      uint32
	registered int64
	updated    int64
	contact    string
	params     string
	callID     string
	instance   string
	userAgent  string
	flow       []byte
	paths      uint64
	path       []byte
}

// encode appends the stored form. The contact's parameters are filtered here.
func (rec *record) encode(dst []byte, flow transport.Flow, path []string) []byte {
	dst = append(dst, recordVersion, rec.flags)
	dst = binary.AppendUvarint(dst, uint64(rec.q))
	dst = binary.AppendUvarint(dst, uint64(rec.cseq))
	dst = binary.AppendUvarint(dst, uint64(rec.regID))
	dst = binary.AppendUvarint(dst, uint64(rec.registered))
	dst = binary.AppendUvarint(dst, uint64(max(rec.updated-rec.registered, 0)))
	dst = appendString(dst, rec.contact)
	dst = appendParams(dst, sip.Params(rec.params))
	dst = appendString(dst, rec.callID)
	dst = appendString(dst, rec.instance)
	dst = appendString(dst, rec.userAgent)
	at := len(dst)
	dst = append(dst, 0)
	dst, _ = flow.AppendBinary(dst) // never fails
	dst[at] = byte(len(dst) - at - 1)
	dst = binary.AppendUvarint(dst, uint64(len(path)))
	for _, p := range path {
		dst = appendString(dst, p)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendParams writes the parameters that are kept, as a string of the stored
// form. pub-gruu and temp-gruu are for the registrar to write (RFC 5627 §5.1).
func appendParams(dst []byte, p sip.Params) []byte {
	at := len(dst)
	dst = append(dst, 0, 0) // room for a length of up to 14 bits
	for {
		name, value, rest, done, ok := p.Next()
		if done || !ok {
			break
		}
		p = rest
		switch len(name) {
		case len("q"), len("tag"), len("expires"), len("pub-gruu"), len("temp-gruu"):
			if strings.EqualFold(name, "q") || strings.EqualFold(name, "tag") || strings.EqualFold(name, "expires") ||
				strings.EqualFold(name, "pub-gruu") || strings.EqualFold(name, "temp-gruu") {
				continue
			}
		}
		dst = append(dst, ';')
		dst = append(dst, name...)
		if value != "" {
			dst = append(dst, '=')
			dst = append(dst, value...)
		}
	}
	n := len(dst) - at - 2
	dst[at], dst[at+1] = byte(n)|0x80, byte(n>>7)
	return dst
}

// decode reads the stored form. Nothing is copied.
func (rec *record) decode(b []byte) error {
	if len(b) < 2 || b[0] != recordVersion {
		return errRecord
	}
	d := decoder{b: b[2:]}
	rec.flags = b[1]
	rec.q = uint16(d.number(1000))
	rec.cseq = uint32(d.number(1<<32 - 1))
	rec.regID = uint32(d.number(1<<32 - 1))
	rec.registered = int64(d.number(1<<62 - 1))
	rec.updated = rec.registered + int64(d.number(1<<62-1))
	rec.contact = d.string()
	rec.params = d.string()
	rec.callID = d.string()
	rec.instance = d.string()
	rec.userAgent = d.string()
	rec.flow = d.bytes()
	rec.paths = d.number(MaxPath)
	rec.path = d.b
	if d.bad {
		return errRecord
	}
	return nil
}

// read decodes a stored item; one that cannot be read counts as absent and is
// overwritten by its device's next REGISTER.
func (rec *record) read(o *Options, aor sip.AOR, item store.Item) bool {
	if err := rec.decode(item.Value); err != nil {
		o.Log.Warn("stored binding cannot be read", zap.Stringer("aor", aor), zap.Error(err))
		return false
	}
	return true
}

// decoder walks over a stored value; after a fault all it gives is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) number(limit uint64) uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 && uint64(d.b[0]) <= limit {
		v := uint64(d.b[0])
		d.b = d.b[1:]
		return v
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > limit {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.number(1 << 20)
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

// string gives a view: stored values never change (store.Item).
func (d *decoder) string() string {
	b := d.bytes()
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// alive reports whether the binding's connection, if it is tied to one, stands.
func (rec *record) alive(o *Options) bool {
	if rec.flags&flagTied == 0 {
		return true
	}
	var f transport.Flow
	return f.UnmarshalBinary(rec.flow) == nil && o.Alive(f)
}

// over reports whether the binding is tied to the connection of the flow.
func (rec *record) over(flow transport.Flow) bool {
	if rec.flags&flagTied == 0 {
		return false
	}
	var buf [64]byte
	b, _ := flow.AppendBinary(buf[:0]) // never fails
	return bytes.Equal(b, rec.flow)
}

// device is Binding.Device.
func (rec *record) device() string {
	if rec.instance != "" {
		return rec.instance
	}
	return rec.contact
}

// binding takes everything apart.
func (rec *record) binding(aor sip.AOR, item store.Item) Binding {
	b := Binding{
		ID:         item.ID,
		AOR:        aor,
		Contact:    rec.contact,
		Params:     sip.Params(rec.params),
		Q:          rec.q,
		QSet:       rec.flags&flagQ != 0,
		Expires:    item.Expires,
		CallID:     rec.callID,
		CSeq:       rec.cseq,
		Instance:   rec.instance,
		RegID:      rec.regID,
		Direct:     rec.flags&flagDirect != 0,
		Outbound:   rec.flags&flagOutbound != 0,
		GRUU:       rec.flags&flagGRUU != 0,
		UserAgent:  rec.userAgent,
		Registered: time.UnixMilli(rec.registered).UTC(),
		Updated:    time.UnixMilli(rec.updated).UTC(),
	}
	_ = b.Flow.UnmarshalBinary(rec.flow) // the zero flow leads nowhere
	if rec.paths > 0 {
		b.Path = make([]string, 0, rec.paths)
		d := decoder{b: rec.path}
		for range rec.paths {
			if p := d.string(); p != "" {
				b.Path = append(b.Path, p)
			}
		}
	}
	return b
}
