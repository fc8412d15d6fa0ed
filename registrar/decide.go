package registrar

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/sip"
	"rollcall/store"
)

// load starts from what is stored. Bindings that have expired are not there;
// those whose connection is gone, or that cannot be read, go with this request.
func (q *request) load(o *Options, aor sip.AOR, items []store.Item) {
	clear(q.places)
	q.places = q.places[:0]
	for _, item := range items {
		if !item.Live(q.now) {
			continue
		}
		q.places = append(q.places, place{item: item, old: true, by: -1})
		p := &q.places[len(q.places)-1]
		p.broken = !p.rec.read(o, aor, item)
		p.dead = p.broken || !p.rec.alive(o)
		p.gone = p.dead
	}
}

// decide works out what is there afterwards: RFC 3261 §10.3 items 6 and 7. A
// fault leaves everything as it is.
func (q *request) decide(o *Options) *sip.Error {
	if q.all {
		for i := range q.places {
			p := &q.places[i]
			if !p.gone && q.late(p) {
				return outOfOrder()
			}
			p.gone = true
		}
		return nil
	}
	added := 0
	for i := range q.contacts {
		c := &q.contacts[i]
		match := -1
		for j := range q.places {
			p := &q.places[j]
			if p.gone || !q.same(c, p) {
				continue
			}
			if p.by < 0 && q.late(p) {
				return outOfOrder()
			}
			if c.expires > 0 && match < 0 {
				match = j
			} else {
				p.gone = true
			}
		}
		switch {
		case c.expires == 0:
		case match >= 0:
			q.places[match].by = i
		default:
			q.places = append(q.places, place{by: i})
			added++
		}
	}
	if q.devices {
		taken, fault := q.supersede()
		if fault != nil {
			return fault
		}
		added -= taken
	}
	if added == 0 {
		return nil
	}
	live := 0
	for i := range q.places {
		if !q.places[i].gone {
			live++
		}
	}
	if live > o.MaxContacts {
		return tooMany(o)
	}
	return nil
}

// supersede replaces what a device has left behind: one that registers without
// reg-id is in one place, so its other bindings are of addresses that it had
// before, and one that comes with a reg-id has given up its bindings without.
// Contacts of one request never replace each other so. A new place takes over
// the binding that it replaces; taken says how many did.
func (q *request) supersede() (taken int, fault *sip.Error) {
	for j := range q.places {
		p := &q.places[j]
		if !p.old || p.gone || p.by >= 0 || p.rec.instance == "" {
			continue
		}
		for i := range q.contacts {
			c := &q.contacts[i]
			if c.expires == 0 || c.instance != p.rec.instance || c.regID > 0 && p.rec.regID > 0 {
				continue
			}
			if q.late(p) {
				return 0, outOfOrder()
			}
			p.gone = true
			for k := range q.places {
				if n := &q.places[k]; !n.old && !n.gone && n.by == i {
					n.gone, p.gone, p.by = true, false, i
					taken++
					break
				}
			}
			break
		}
	}
	return taken, nil
}

// late reports a request that is older than the binding: "This algorithm ensures
// that out-of-order requests from the same UA are ignored" (RFC 3261 §10.3).
func (q *request) late(p *place) bool { return p.rec.cseq >= q.cseq && p.rec.callID == q.callID }

// outOfOrder is the failure of item 7, which names 500 for it.
func outOfOrder() *sip.Error {
	return sip.NewError(sip.StatusServerError, "CSeq is not higher than in the last REGISTER with this Call-ID")
}

// same reports whether the contact updates or removes the place.
//
// With reg-id a binding is "between an AOR and the combination of the instance-id
// and the value of reg-id", and the URI is not compared (RFC 5626 §6). Without,
// URIs are compared by RFC 3261 §19.1.4, and those of bindings with reg-id only
// for removal.
func (q *request) same(c *contact, p *place) bool {
	instance, regID := p.rec.instance, p.rec.regID
	if p.by >= 0 {
		instance, regID = q.contacts[p.by].instance, q.contacts[p.by].regID
	}
	if c.regID == 0 {
		return (regID == 0 || c.expires == 0) && q.equal(c, p)
	}
	if c.regID != regID || c.instance != instance {
		return false
	}
	// A device that moved may register its new contact and remove the old one in
	// one request, both with its reg-id.
	return c.expires > 0 || p.by < 0 || q.equal(c, p)
}

// equal compares the URIs (RFC 3261 §19.1.4).
func (q *request) equal(c *contact, p *place) bool {
	if p.by >= 0 {
		return c.uri.Equal(q.contacts[p.by].uri)
	}
	if c.uri.String() == p.rec.contact {
		return true
	}
	if !p.parsed {
		p.uri, _ = sip.ParseURI(p.rec.contact) // it parsed when it was registered
		p.parsed = true
	}
	return c.uri.Equal(p.uri)
}

// write makes the changes for the store.
func (q *request) write() {
	clear(q.changes)
	q.changes = q.changes[:0]
	for i := range q.places {
		p := &q.places[i]
		switch {
		case p.gone && p.old:
			q.changes = append(q.changes, store.Delete(p.item.ID))
		case p.gone || p.by < 0:
		default:
			q.put(p)
			q.changes = append(q.changes, store.Put(p.item))
		}
	}
}

// put writes the place's item anew from the contact that put it. "Each binding
// record records the Call-ID and CSeq values from the request."
func (q *request) put(p *place) {
	c := &q.contacts[p.by]
	now := q.now.UnixMilli()
	rec := record{
		flags:      q.flags,
		q:          c.q,
		cseq:       q.cseq,
		regID:      c.regID,
		registered: now,
		updated:    now,
		contact:    c.uri.String(),
		params:     string(c.params),
		callID:     q.callID,
		instance:   c.instance,
		userAgent:  q.agent,
	}
	if c.qSet {
		rec.flags |= flagQ
	}
	if c.regID == 0 {
		rec.flags &^= flagOutbound
	}
	if p.old {
		rec.registered = min(p.rec.registered, now) // the clock may have been set back
	} else {
		p.item.ID = q.newID(c)
	}
	q.buf = rec.encode(q.buf[:0], q.flow, q.paths)
	p.item.Value = bytes.Clone(q.buf) // the store keeps it
	p.item.Expires = time.UnixMilli(now + int64(c.expires)*1000).UTC()
}

// newID names a binding after what it is: the same device gets the same ID again.
// A contact that was refreshed in another spelling keeps its ID, so the one that
// is due to a new contact may be taken.
func (q *request) newID(c *contact) string {
	key := c.uri.String()
	if c.regID > 0 {
		key = c.instance + "\x00" + strconv.FormatUint(uint64(c.regID), 10)
	}
	for {
		sum := sha256.Sum256([]byte(key))
		id := base64.RawURLEncoding.EncodeToString(sum[:12])
		if !q.taken(id) {
			return id
		}
		key += "\x00"
	}
}

func (q *request) taken(id string) bool {
	for i := range q.places {
		// The ID of one that goes is free: its Delete stands before the Put.
		if p := &q.places[i]; !p.gone && p.item.ID == id {
			return true
		}
	}
	return false
}

// report fills in what was done, and makes the records of the places be what was
// stored.
func (q *request) report(change *Change) {
	for i := range q.places {
		p := &q.places[i]
		switch {
		case p.gone && p.old:
			if !p.broken {
				change.Removed = append(change.Removed, p.rec.binding(change.AOR, p.item))
			}
			continue
		case p.gone || p.by < 0:
			continue
		case p.old:
			change.refreshed = append(change.refreshed, p.item)
		default:
			_ = p.rec.decode(p.item.Value) // just written
			change.Added = append(change.Added, p.rec.binding(change.AOR, p.item))
		}
		c := &q.contacts[p.by]
		if p.old && c.instance == p.rec.instance {
			continue // the usual refresh
		}
		device := c.instance
		if device == "" {
			device = c.uri.String()
		}
		if !q.knew(device) && !slices.Contains(change.NewDevices, device) {
			change.NewDevices = append(change.NewDevices, strings.Clone(device))
		}
	}
	for i := range q.places { // not before knew has looked at them
		if p := &q.places[i]; p.by >= 0 && p.old && !p.gone {
			_ = p.rec.decode(p.item.Value)
		}
	}
}

// knew reports whether the device had a live binding before.
func (q *request) knew(device string) bool {
	for i := range q.places {
		if p := &q.places[i]; p.old && !p.dead && p.rec.device() == device {
			return true
		}
	}
	return false
}
