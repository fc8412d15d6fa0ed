package registrar

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"rollcall/sip"
	"rollcall/sip/transport"
	"rollcall/store"
)

// applyTries bounds how often a change is decided anew because others changed
// the same address of record meanwhile.
const applyTries = 64

// statusFirstHop is 439 First Hop Lacks Outbound Support (RFC 5626 §11.6).
const statusFirstHop = 439

// Register carries out a REGISTER that passed m.Check, for the address of record
// that the sender authenticated as, which came over flow. It appends the header
// lines of the 200 to dst (Contact, Path, Date; for sip.Reply.Lines) and returns
// what was changed. m is not kept and may share memory with a buffer that is used
// again; aor is kept. now is the time of day; what has expired by it, or by the
// clock of the store, is not there any more.
//
// An error that is a *sip.Error is the answer. Any other is of the store, wrapped
// (store.ErrUnavailable). With an error nothing was changed, as far as the store
// knows, and dst is as it was.
func (r *Registrar) Register(ctx context.Context, m *sip.Message, aor sip.AOR, flow transport.Flow, now time.Time, dst []byte) ([]byte, Change, error) {
	o := r.options.Load()
	if fault := checkTo(o, m, aor); fault != nil {
		return dst, Change{}, fault
	}
	q := r.requests.Get().(*request)
	lines, change, err := r.register(ctx, q, o, m, aor, flow, now, dst)
	if err != nil {
		var fault *sip.Error
		if errors.As(err, &fault) { // else the store may still look at the changes
			r.recycle(q)
		}
		return dst, Change{}, err
	}
	r.recycle(q)
	return lines, change, nil
}

func (r *Registrar) recycle(q *request) {
	q.reset()
	r.requests.Put(q)
}

// checkTo is RFC 3261 §10.3 items 4 and 5. Third-party registration is not
// supported: the one who is authenticated registers itself.
func checkTo(o *Options, m *sip.Message, aor sip.AOR) *sip.Error {
	asked := m.ToAOR()
	if asked.IsZero() {
		return sip.NewError(sip.StatusNotFound, "To is no address of record")
	}
	if asked != aor || aor.IsZero() {
		return sip.NewError(sip.StatusForbidden, "Not your address of record")
	}
	if len(o.Domains) == 0 {
		return nil
	}
	// A Request-URI that names the server by its address stands for all domains.
	domain, host := aor.Domain(), m.URI().Host
	if !o.serves(domain) || o.serves(host) && !strings.EqualFold(host, strings.Trim(domain, "[]")) {
		return sip.NewError(sip.StatusNotFound, "")
	}
	return nil
}

// request is a REGISTER taken apart, with room to work on it. It is used again.
type request struct {
	contacts []contact
	devices  bool // one of them has an instance
	all      bool // Contact: *
	callID   string
	cseq     uint32
	agent    string
	paths    []string
	ob       bool // the first or last Path value has the ob parameter
	flags    byte // of the records it makes, but for flagQ
	flow     transport.Flow
	now      time.Time

	places  []place
	changes []store.Change
	buf     []byte
}

// place is a binding that is there or will be.
type place struct {
	rec  record
	item store.Item
	by   int // index of the contact that put it; -1: untouched

	old    bool // it was stored before
	dead   bool // when it was loaded: its connection is gone
	broken bool // when it was loaded: it could not be read
	gone   bool // it is not there afterwards

	parsed bool
	uri    sip.URI // of rec.contact, if parsed
}

// reset drops all references to the message and the store.
func (q *request) reset() {
	clear(q.contacts)
	clear(q.paths)
	clear(q.places)
	clear(q.changes)
	*q = request{contacts: q.contacts[:0], paths: q.paths[:0], places: q.places[:0], changes: q.changes[:0], buf: q.buf[:0]}
}

func (r *Registrar) register(ctx context.Context, q *request, o *Options, m *sip.Message, aor sip.AOR, flow transport.Flow,
	now time.Time, dst []byte) ([]byte, Change, error) {
	q.flow, q.now = flow, now
	if fault := q.parse(o, m); fault != nil {
		return nil, Change{}, fault
	}
	change, err := r.commit(ctx, q, o, aor)
	if err != nil {
		return nil, Change{}, err
	}
	// Item 8: "Contact header field values enumerating all current bindings".
	gruus := o.GRUUs
	if q.flags&flagGRUU == 0 {
		gruus = nil // RFC 5627 §5.2: for who asks
	}
	for i := range q.places {
		if p := &q.places[i]; !p.gone {
			dst = p.appendContact(dst, now, aor, gruus)
		}
	}
	for _, p := range q.paths { // RFC 3327 §5.3
		dst = append(dst, "Path: "...)
		dst = append(dst, p...)
		dst = append(dst, "\r\n"...)
	}
	if o.Outbound && q.flags&flagOutbound != 0 && q.putsOutbound() {
		dst = append(dst, "Require: outbound\r\n"...) // RFC 5626 §6
	}
	return r.appendDate(dst, now), change, nil
}

// commit decides on top of what is stored and stores it, again if somebody else
// was faster: "either processed completely or not at all" (RFC 3261 §10.3).
func (r *Registrar) commit(ctx context.Context, q *request, o *Options, aor sip.AOR) (Change, error) {
	key := bindingKey(aor)
	change := Change{AOR: aor}
	tiedNow := q.flags&flagTied != 0
	query := len(q.contacts) == 0 && !q.all
	for try := 0; ; try++ {
		set, recalled := store.Set{}, false
		if !query && try == 0 {
			set, recalled = r.recall.take(key.Owner)
		}
		if !recalled {
			var err error
			if set, err = r.store.Load(ctx, key); err != nil {
				return change, fmt.Errorf("load bindings of %s: %w", aor, err)
			}
		}
		q.load(o, aor, set.Items)
		fault := q.decide(o)
		if fault == nil && !query {
			q.write()
		}
		if fault != nil || query || len(q.changes) == 0 {
			if recalled { // only what the store says counts here
				continue
			}
			if fault != nil {
				return change, fault
			}
			return change, nil
		}
		if tiedNow { // before the binding is there, so that FlowClosed finds it
			r.flows.add(q.flow, aor)
		}
		v, err := r.store.Apply(ctx, key, set.Version, q.changes...)
		if err == nil {
			if try == 0 && r.recall != nil { // a second try: somebody else writes it too
				r.recall.put(key.Owner, q.after(v))
			}
			break
		}
		if !errors.Is(err, store.ErrConflict) || try+1 == applyTries {
			return change, fmt.Errorf("store bindings of %s: %w", aor, err)
		}
		if try > 1 {
			runtime.Gosched()
		}
	}
	q.report(&change)
	if len(*r.observers.Load()) > 0 {
		c := change // the observers' copy is on the heap, only if there are some
		r.tell(&c)
	}
	if tiedNow && (!r.flows.has(q.flow, aor) || !o.Alive(q.flow)) {
		// The connection went while its REGISTER was at work.
		if err := r.FlowClosed(context.WithoutCancel(ctx), q.flow); err != nil {
			return change, err
		}
		if _, err := r.remove(context.WithoutCancel(ctx), aor, func(rec *record) bool { return rec.over(q.flow) }); err != nil {
			return change, err
		}
		return change, sip.NewError(sip.StatusServerError, "Connection is gone")
	}
	return change, nil
}

// parse reads all that the request says and refuses what is wrong by itself.
func (q *request) parse(o *Options, m *sip.Message) *sip.Error {
	if q.callID = m.CallID(); len(q.callID) > MaxCallID {
		return badRequest("Call-ID is longer than " + strconv.Itoa(MaxCallID) + " bytes")
	}
	var ok bool
	if q.cseq, ok = m.CSeq(); !ok {
		return badRequest("Malformed CSeq")
	}
	if q.agent = m.Get(sip.HeaderUserAgent); len(q.agent) > MaxUserAgent {
		q.agent = strings.ToValidUTF8(q.agent[:MaxUserAgent], "")
	}
	if m.Has(sip.HeaderPath) {
		if fault := q.parsePath(m); fault != nil {
			return fault
		}
	}
	if m.Count(sip.HeaderVia) == 1 && strings.IndexByte(m.Get(sip.HeaderVia), ',') < 0 {
		q.flags |= flagDirect
	}
	if tied(q.flow, q.flags&flagDirect != 0, len(q.paths) > 0) {
		q.flags |= flagTied
	}
	if m.Has(sip.HeaderSupported) {
		if m.HasTag(sip.HeaderSupported, "outbound") {
			q.flags |= flagOutbound
		}
		if m.HasTag(sip.HeaderSupported, "gruu") {
			q.flags |= flagGRUU
		}
	}
	if !m.Has(sip.HeaderContact) {
		return nil // a query (RFC 3261 §10.2.3)
	}
	return q.parseContacts(o, m)
}

// parsePath reads the route to the device (RFC 3327 §5.3).
func (q *request) parsePath(m *sip.Message) *sip.Error {
	var fault *sip.Error
	size := 0
	lastOb := false
	err := m.EachItem(sip.HeaderPath, func(item string) bool {
		a, err := sip.ParseAddress(item)
		if err != nil || !a.Angle {
			fault = badRequest("Malformed Path")
			return false
		}
		u, err := sip.ParseURI(a.URI)
		if err != nil || !u.IsSIP() {
			fault = badRequest("Malformed Path")
			return false
		}
		if size += len(item); len(q.paths) == MaxPath || size > MaxPathBytes {
			fault = badRequest("Path is too long")
			return false
		}
		_, lastOb = u.Param("ob")
		if len(q.paths) == 0 {
			q.ob = lastOb
		}
		q.paths = append(q.paths, item)
		return true
	})
	// RFC 5626 §6 looks at "the first URI" of Path, §5.1 has the first hop add ob
	// to its own, which after RFC 3327 §5.2 is the last in the list. Either counts.
	q.ob = q.ob || lastOb
	if err != nil {
		return badRequest("Malformed Path")
	}
	return fault
}

// parseContacts reads Contact (RFC 3261 §10.3 items 6 and 7).
func (q *request) parseContacts(o *Options, m *sip.Message) *sip.Error {
	expires := seconds(o.Default)
	if m.Has(sip.HeaderExpires) {
		expires = parseExpires(m.Get(sip.HeaderExpires))
	}
	var fault *sip.Error
	err := m.EachItem(sip.HeaderContact, func(item string) bool {
		if item == "*" || q.all {
			// Item 6: "If the request has additional Contact fields or an expiration
			// time other than zero, the request is invalid".
			if v, ok := sip.ParseUint(m.Get(sip.HeaderExpires)); q.all || len(q.contacts) > 0 || !ok || v != 0 {
				fault = badRequest("Contact: * stands alone and with Expires: 0")
			}
			q.all = true
			return fault == nil
		}
		if len(q.contacts) >= 2*o.MaxContacts {
			fault = tooMany(o)
			return false
		}
		q.contacts = append(q.contacts, contact{})
		c := &q.contacts[len(q.contacts)-1]
		if fault = c.parse(item, expires); fault == nil {
			if fault = c.grant(o); fault == nil {
				fault = c.refuse(o, q.flow)
			}
		}
		return fault == nil
	})
	if fault != nil {
		return fault
	}
	if err != nil || len(q.contacts) == 0 && !q.all {
		return badRequest("Malformed Contact")
	}
	return q.outbound(o)
}

func tooMany(o *Options) *sip.Error {
	return sip.NewError(sip.StatusForbidden, "Too many Contacts, the limit is "+strconv.Itoa(o.MaxContacts))
}

// outbound is RFC 5626 §6: which reg-ids count.
func (q *request) outbound(o *Options) *sip.Error {
	applies := q.flags&flagDirect != 0 || q.ob
	kept, regIDs := 0, 0
	for i := range q.contacts {
		c := &q.contacts[i]
		if c.expires > 0 {
			kept++
		}
		q.devices = q.devices || c.instance != ""
		switch {
		case c.regID == 0:
		case c.instance == "":
			c.regID = 0 // "it simply ignores the reg-id parameter"
		case !applies && o.Outbound && q.flags&flagOutbound != 0:
			return sip.NewError(statusFirstHop, "First Hop Lacks Outbound Support")
		case !applies:
			c.regID = 0
		case c.expires > 0:
			regIDs++
		}
	}
	if kept > 1 && regIDs > 0 {
		return badRequest("Contact with reg-id besides others")
	}
	return nil
}

func (q *request) putsOutbound() bool {
	for i := range q.contacts {
		if q.contacts[i].regID > 0 {
			return true
		}
	}
	return false
}
