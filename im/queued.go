package im

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"time"

	"rollcall/archive"
	"rollcall/sip"
	"rollcall/store"
)

// The offline queue of an account lists record IDs in the order in which the
// messages came; the bytes lie under keys of their own, on disk.
var (
	kindQueue  = store.NewKind("queue", store.Durable, store.Hot)   // owner AOR, item record ID
	kindQueued = store.NewKind("queued", store.Durable, store.Cold) // owner record ID, one item
)

const (
	entryVersion  = 1
	queuedVersion = 1
)

var errQueued = errors.New("stored message can't be read")

// entry is one line of a queue.
type entry struct {
	id      archive.ID
	expires time.Time
	tried   []trial
}

// trial is what a device answered so far.
type trial struct {
	device  string
	answers uint64 // final answers that were no 2xx
	refused bool   // the last of them was about the message: it will not take it
}

// maxTrials bounds what is remembered of devices for one message.
const maxTrials = 64

// trialOf returns what is known of a device.
func (e *entry) trialOf(device string) trial {
	for _, t := range e.tried {
		if t.device == device {
			return t
		}
	}
	return trial{device: device}
}

// note adds a device's answer to what is known. No answer at all is not one: the
// device may have the message, so the next try is a retransmission to it.
func note(tried []trial, x result) []trial {
	if x.status == 0 {
		return tried
	}
	for i := range tried {
		if tried[i].device == x.device {
			tried[i].answers++
			tried[i].refused = !x.passing()
			return tried
		}
	}
	if len(tried) == maxTrials {
		tried = tried[1:]
	}
	return append(tried, trial{x.device, 1, !x.passing()})
}

func (e *entry) encode() []byte {
	b := []byte{entryVersion}
	b = binary.AppendUvarint(b, uint64(e.expires.UnixMilli()))
	b = binary.AppendUvarint(b, uint64(len(e.tried)))
	for _, t := range e.tried {
		b = appendString(b, t.device)
		flags := t.answers << 1
		if t.refused {
			flags |= 1
		}
		b = binary.AppendUvarint(b, flags)
	}
	return b
}

func decodeEntry(item store.Item) (entry, error) {
	var e entry
	if len(item.ID) != len(e.id) || len(item.Value) < 2 || item.Value[0] != entryVersion {
		return e, errQueued
	}
	e.id = archive.ID([]byte(item.ID))
	d := decoder{b: item.Value[1:]}
	e.expires = time.UnixMilli(int64(d.uint())).UTC()
	for n := d.uint(); n > 0 && d.err == nil; n-- {
		t := trial{device: d.string()}
		flags := d.uint()
		t.answers, t.refused = flags>>1, flags&1 == 1
		e.tried = append(e.tried, t)
	}
	return e, d.err
}

// encodeQueued stores all that sending the message later needs.
func encodeQueued(o *outgoing) []byte {
	b := make([]byte, 1, len(o.req.Raw())+256)
	b[0] = queuedVersion
	b = binary.AppendUvarint(b, o.receipt.Seq())
	b = binary.AppendUvarint(b, uint64(o.received.UnixMilli()))
	b = binary.AppendUvarint(b, uint64(o.dropRoutes))
	b = append(b, o.key[:]...)
	src, _ := o.source.MarshalBinary() // never fails
	b = appendString(b, string(src))
	for _, s := range [...]string{o.loop, o.realm, o.from.String(), o.to.String(), o.req.Raw()} {
		b = appendString(b, s)
	}
	return b
}

func (r *Relay) decodeQueued(id archive.ID, b []byte) (*outgoing, error) {
	if len(b) < 1 || b[0] != queuedVersion {
		return nil, errQueued
	}
	d := decoder{b: b[1:]}
	o := &outgoing{dated: true}
	o.receipt = r.o.Journal.Recall(id, d.uint())
	o.received = time.UnixMilli(int64(d.uint())).UTC()
	o.dropRoutes = int(d.uint())
	copy(o.key[:], d.take(len(o.key)))
	var src netip.AddrPort
	if err := src.UnmarshalBinary([]byte(d.string())); err != nil {
		return nil, errQueued
	}
	o.source = src
	o.loop, o.realm = d.string(), d.string()
	from, to, raw := d.string(), d.string(), d.string()
	if d.err != nil || !o.receipt.Valid() {
		return nil, errQueued
	}
	var err1, err2 error
	o.from, err1 = sip.ParseAORString(from)
	o.to, err2 = sip.ParseAORString(to)
	o.req = new(sip.Message)
	if errors.Join(err1, err2, o.req.Parse([]byte(raw))) != nil || o.req.Check() != nil {
		return nil, errQueued
	}
	return o, nil
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// decoder reads what was encoded above; after an error it gives zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.err = errQueued
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) || n < 0 {
		d.err = errQueued
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) string() string {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.err = errQueued
		return ""
	}
	return string(d.take(int(n)))
}

// expiryOf tells until when a message may wait: OfflineLife, or less if its
// Expires says so, counted from its Date where it has one (RFC 3428 §4, §7). ok
// is false when it may not wait at all.
func expiryOf(o *outgoing, life time.Duration, now time.Time) (expires time.Time, ok bool) {
	expires = o.received.Add(life)
	if v := o.req.Get(sip.HeaderExpires); v != "" {
		n, numeric := sip.ParseUint(strings.TrimSpace(v))
		if !numeric {
			return expires, true // malformed: as if it were not there
		}
		from := o.received
		if date, err := sip.ParseDate(o.req.Get(sip.HeaderDate)); err == nil && date.Before(from) {
			from = date
		}
		if t := from.Add(time.Duration(n) * time.Second); t.Before(expires) {
			expires = t
		}
	}
	return expires, expires.After(now)
}
