package bench

import "bytes"

// notifyPatience is how long a NOTIFY is awaited after the answer, in units
// of T1: a server that lost one sends it again within that time by Timer E.
const notifyPatience = 20

// presence is the state of a presence load: who watches whom, and what has
// been seen. It belongs to the engine's goroutine.
type presence struct {
	watchers     int // of each presentity
	subs         []subscription
	presentities []presentity // the first users
	slots        []exchange   // the engine's
	// counts of NOTIFYs
	received, retransmissions, disordered, regressed, ended, strays uint64
	// published counts the accepted states, and before the NOTIFYs that came
	// before the first of them was sent
	published, before uint64
}

// subscription is the dialog of one watcher. Subscription number s is one to
// presentity s / watchers.
type subscription struct {
	user   int32  // who watches
	slot   int32  // of the SUBSCRIBE under way, or -1
	cseq   uint32 // of the last SUBSCRIBE
	notify uint32 // CSeq of the last NOTIFY, plus one; 0: none has come
	seen   uint32 // the number of the state that the last NOTIFY had
	newest uint32 // the highest that any had
	active bool   // accepted, and not ended by the server
	told   bool   // a NOTIFY has come since the SUBSCRIBE began
	tag    string // of the server
	target string // the server's Contact
}

// presentity publishes. Its states are numbered from 1.
type presentity struct {
	slot     int32  // of the PUBLISH under way, or -1
	number   uint32 // of the last state sent
	accepted uint32 // of the last state answered with a 2xx
	etag     string
}

// newPresence lays out who watches whom: the watchers of a presentity are
// users that follow each other, itself left out, and every user has about the
// same number of subscriptions, which follow each other at a distance.
func newPresence(users, presentities, watchers int, slots []exchange) *presence {
	p := &presence{
		watchers:     watchers,
		subs:         make([]subscription, presentities*watchers),
		presentities: make([]presentity, presentities),
		slots:        slots,
	}
	for i := range p.presentities {
		p.presentities[i].slot = -1
		first := i * watchers
		for k := range watchers {
			user := (first + k + 1) % users
			if user == i {
				user = (first + watchers + 1) % users
			}
			p.subs[first+k] = subscription{user: int32(user), slot: -1}
		}
	}
	return p
}

func (p *presence) ofSubscription(s int32) *presentity { return &p.presentities[int(s)/p.watchers] }

// begin notes that an operation is under way in a slot. n is the number of
// the subscription, if it is about one.
func (p *presence) begin(slot int32, x *exchange, n int32) {
	if x.kind.ofWatcher() {
		x.peer = n
		s := &p.subs[n]
		s.slot, s.told = slot, false
		return
	}
	who := &p.presentities[x.user]
	who.slot = slot
	x.waiting = 0
	if x.kind != kindPublish {
		return
	}
	who.number++
	x.number = who.number
	first := int(x.user) * p.watchers
	for i := range p.subs[first : first+p.watchers] {
		if p.subs[first+i].active {
			x.waiting++
		}
	}
}

// end notes that an operation has ended.
func (p *presence) end(x *exchange) {
	if x.kind.ofWatcher() {
		p.subs[x.peer].slot = -1
	} else {
		p.presentities[x.user].slot = -1
	}
}

// lost counts the watchers that have not got the last accepted state of
// their presentity.
func (p *presence) lost() (n uint64) {
	for i := range p.subs {
		if s := &p.subs[i]; s.active && s.seen < p.ofSubscription(int32(i)).accepted {
			n++
		}
	}
	return n
}

// active counts the subscriptions that are in force.
func (p *presence) active() (n int) {
	for i := range p.subs {
		if p.subs[i].active {
			n++
		}
	}
	return n
}

// accepted takes the final answer to a request of a presence operation. The
// operation ends here if it failed, or no NOTIFY is missing.
func (e *engine) accepted(slot int32, x *exchange, status int, msg []byte) {
	p := e.presence
	if status >= 300 {
		if x.kind == kindPublish {
			// 412: the server knows no such publication (RFC 3903 §4.4). The
			// next PUBLISH makes a new one.
			p.presentities[x.user].etag = ""
		}
		e.finish(slot, status)
		return
	}
	missing := false
	switch x.kind {
	case kindSubscribe:
		s := &p.subs[x.peer]
		s.accept(msg, p)
		missing = !s.told
	case kindUnsubscribe:
		p.subs[x.peer].active = false
	case kindPublish:
		who := &p.presentities[x.user]
		who.accepted = x.number
		p.published++
		eachHeader(msg, func(name, value []byte) bool {
			if !equalFold(name, "sip-etag") {
				return true
			}
			who.etag = string(value)
			return false
		})
		missing = x.waiting > 0
	}
	if missing {
		x.status = uint16(status)
		return
	}
	e.finish(slot, status)
}

// accept takes over what a 2xx says of the dialog (RFC 3261 §12.1.2).
func (s *subscription) accept(msg []byte, p *presence) {
	s.active = true
	eachHeader(msg, func(name, value []byte) bool {
		switch {
		case equalFold(name, "to") || equalFold(name, "t"):
			if _, tag, ok := bytes.Cut(value, []byte(";tag=")); ok && s.tag == "" {
				tag, _, _ = bytes.Cut(tag, []byte{';'})
				s.tag = string(tag)
			}
		case equalFold(name, "contact") || equalFold(name, "m"):
			uri, _, _ := bytes.Cut(value, []byte{';'})
			if _, inside, ok := bytes.Cut(value, []byte{'<'}); ok {
				uri, _, _ = bytes.Cut(inside, []byte{'>'})
			}
			// Mostly the same for all: one string is enough then.
			if first := p.subs[0].target; string(uri) == first {
				s.target = first
			} else {
				s.target = string(uri)
			}
		}
		return true
	})
}

// notified takes a request that arrived at a watcher and has been answered.
func (e *engine) notified(msg, cseq []byte, terminated bool, body []byte) {
	p := e.presence
	number, ok := e.subscriptionOf(msg)
	if !ok || int(number) >= len(p.subs) {
		p.strays++
		return
	}
	s := &p.subs[number]
	switch count := readInt(cseq) + 1; {
	case count == s.notify:
		p.retransmissions++
		return
	case count < s.notify:
		// RFC 3261 §12.2.2: out of order, and so of no effect.
		p.disordered++
		return
	default:
		s.notify = count
	}
	p.received++
	s.told = true
	who := p.ofSubscription(int32(number))
	before := s.newest
	if state, ok := e.stateOf(body); ok {
		if state < s.newest {
			p.regressed++
		}
		s.seen, s.newest = state, max(s.newest, state)
	}
	if slot := who.slot; slot >= 0 {
		x := &p.slots[slot]
		gone := terminated && s.active
		if x.kind == kindPublish && x.waiting > 0 && before < x.number && (s.newest >= x.number || gone) {
			if x.waiting--; x.waiting == 0 && x.status != 0 {
				e.clock()
				e.finish(slot, int(x.status))
			}
		}
	}
	if slot := s.slot; slot >= 0 {
		if x := &p.slots[slot]; x.status != 0 {
			e.clock()
			e.finish(slot, int(x.status))
		}
		return
	}
	if terminated && s.active {
		s.active = false
		p.ended++
	}
}

const notifyStart = "NOTIFY sip:"

// subscriptionOf reads the number of the subscription that a NOTIFY belongs
// to: every watcher has a Contact of its own, which is the Request-URI.
func (e *engine) subscriptionOf(msg []byte) (uint32, bool) {
	msg, ok := bytes.CutPrefix(msg, []byte(notifyStart))
	if !ok {
		return 0, false
	}
	if msg, ok = bytes.CutPrefix(msg, []byte(e.tag)); !ok {
		return 0, false
	}
	return readHex32(msg)
}

// stateOf reads the number of the state in a document; false if it has none
// of this run.
func (e *engine) stateOf(body []byte) (uint32, bool) {
	at := bytes.Index(body, []byte(bodyMark))
	if at < 0 {
		return 0, false
	}
	body, ok := bytes.CutPrefix(body[at+len(bodyMark):], []byte(e.tag))
	if !ok {
		return 0, false
	}
	return readHex32(body)
}

// readInt reads the decimal number at the start of b; it wraps.
func readInt(b []byte) (v uint32) {
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		v = 10*v + uint32(c-'0')
	}
	return v
}
