package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"
)

// kind is what an operation does.
type kind uint8

const (
	kindRegister   kind = iota
	kindUnregister      // REGISTER with a lifetime of 0
	kindMessage
	kindSubscribe // the first SUBSCRIBE of a dialog, or a refresh
	kindUnsubscribe
	kindPublish // the first PUBLISH of a publication, or a change
	kindUnpublish
)

// ofPresence tells the operations that end with NOTIFYs.
func (k kind) ofPresence() bool { return k >= kindSubscribe }

// ofWatcher tells the operations on a subscription.
func (k kind) ofWatcher() bool { return k == kindSubscribe || k == kindUnsubscribe }

// user is one account. Its fields belong to the engine's goroutine.
type user struct {
	name     string
	socket   int32
	busy     bool // an operation is under way
	cseq     uint32
	register credential // for 401
	relay    credential // for 407
}

// exchange is one operation under way, in a slot that is used again.
type exchange struct {
	gen      uint32 // changes with each request, so a late answer finds nobody
	user     int32  // -1: the slot is free
	peer     int32  // receiver of a MESSAGE, or the subscription
	number   uint32 // of the MESSAGE or PUBLISH body
	waiting  int32  // watchers that have not got the published state yet
	status   uint16 // of the answer, once NOTIFYs are all that is awaited
	attempts uint8
	kind     kind
	signed   bool   // the request carries credentials
	buf      []byte // the request as sent
	due      int64  // when the operation began, or should have
	sent     int64  // when this request was first sent
	interval int64  // Timer E
	next     int64  // when to send again (UDP)
}

// engine runs operations over a wire. All of it belongs to one goroutine.
type engine struct {
	o        *Options
	w        wire
	udp      bool
	users    []user
	slots    []exchange
	free     []int32
	inflight int
	rand     *rand.Rand
	tag      string // eight hex digits that tell this run's branches and bodies from others
	branch   []byte // what our Via branches begin with
	pieces   pieces
	digest   digester
	epoch    time.Time
	now      int64 // ns since epoch
	scan     int64 // when the timers are looked at next
	heard    bool  // an answer has come
	tally    *tally
	inbox    *inbox
	presence *presence // of a presence load
	arena    []byte    // answers to relayed requests until the next flush
	document []byte    // the last PIDF document
	alg      string
	uas      bool // the server asks for credentials of other methods than REGISTER with 401
	progress time.Time
}

// phase is one part of a run.
type phase struct {
	name     string
	kind     kind
	rate     float64
	window   int
	count    int           // operations to begin; 0: no limit
	duration time.Duration // after which none begins; 0: no limit
	inOrder  bool          // every user once, in order; else at random
	skip     int           // of what is in order, so many are left out
	halt     *atomic.Bool  // if not nil, none begins once it is true
}

func newEngine(o *Options) (*engine, error) {
	w, err := dial(o)
	if err != nil {
		return nil, err
	}
	e := &engine{
		o:     o,
		w:     w,
		udp:   o.Transport == "udp",
		rand:  rand.New(rand.NewPCG(o.Seed, 0x9e3779b97f4a7c15)),
		epoch: time.Now(),
		inbox: newInbox(),
	}
	// The tag differs between runs of one seed: a server must not take the
	// second for retransmissions of the first.
	e.tag = string(appendHex32(nil, uint32(o.Seed)^uint32(e.epoch.UnixNano())))
	e.branch = []byte("z9hG4bKrc" + e.tag)
	e.digest.cnonce = string(appendHex32(nil, e.rand.Uint32()))
	sockets := o.Sockets
	if !e.udp {
		sockets = o.Connections
	}
	e.users = make([]user, o.Users)
	for i := range e.users {
		e.users[i] = user{name: fmt.Sprintf(o.UserFormat, o.First+i), socket: int32(i % sockets)}
	}
	e.pieces.prepare(e, sockets)
	slots := min(o.Window, o.Users)
	if o.Rate > 0 {
		// The open loop needs room for what a slow server leaves open.
		slots = min(maxWindow, o.Users)
	}
	// A storm is under way all at once.
	slots = max(slots, o.Storm)
	e.slots = make([]exchange, slots)
	for i := range e.slots {
		e.slots[i].user = -1
		e.free = append(e.free, int32(slots-1-i))
	}
	return e, nil
}

// scanEvery is how often the retransmission timers are looked at.
const (
	scanTime  = 10 * time.Millisecond
	scanEvery = int64(scanTime)
)

// progressEvery is how often Options.Progress gets a line.
const progressEvery = time.Second

// course is a phase under way.
type course struct {
	phase
	start, end int64   // of the time in which operations begin
	interval   float64 // ns between operations of the open loop, else 0
	held       int64   // when one last could not begin, because everybody waited for the server
	begun      int
	open       bool // more operations begin
}

// run does one phase and leaves when all its operations have ended. At the
// end of the phase's time, before the last answers are awaited, it calls
// closed.
func (e *engine) run(ctx context.Context, p phase, t *tally, closed func()) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	e.tally = t
	e.clock()
	c := course{phase: p, start: e.now, end: e.now + int64(p.duration), open: true}
	c.window = min(p.window, len(e.slots))
	if p.rate > 0 {
		c.interval = 1e9 / p.rate
		c.window = len(e.slots)
	}
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("bench: %s: %w", p.name, err)
		}
		idle := e.fill(&c)
		if err := e.flush(); err != nil {
			return err
		}
		if !c.open && closed != nil {
			closed()
			closed = nil
		}
		if !c.open && e.inflight == 0 {
			return nil
		}
		if err := e.take(min(idle, e.scan-e.now)); err != nil {
			return err
		}
		if e.now >= e.scan {
			e.timers()
			e.scan = e.now + scanEvery
			e.report(p.name)
		}
	}
}

// fill begins the operations that are due, and returns how long it may be
// until the next is.
func (e *engine) fill(c *course) int64 {
	for range burst {
		if !c.open || c.count > 0 && c.begun >= c.count || c.duration > 0 && e.now >= c.end || c.halt != nil && c.halt.Load() {
			c.open = false
			return int64(maxWait)
		}
		due := e.now
		if c.interval > 0 {
			due = c.start + int64(float64(c.begun)*c.interval)
			if due > e.now {
				return max(due-e.now, int64(openStep))
			}
		}
		if e.inflight >= c.window || !e.begin(c.phase, c.skip+c.begun, due) {
			c.held = e.now
			if c.duration > 0 {
				return c.end - e.now
			}
			return int64(maxWait)
		}
		c.begun++
		if c.interval > 0 && due > c.held {
			e.tally.late.add(time.Duration(e.now - due))
		}
	}
	return 0
}

// take waits for messages and handles those that are there.
func (e *engine) take(wait int64) error {
	if err := e.w.wait(time.Duration(wait)); err != nil {
		return err
	}
	e.clock()
	if err := e.w.drain(e.receive); err != nil && (!errors.Is(err, errRefused) || !e.heard) {
		return err
	}
	e.clock()
	return nil
}

// flush sends what was queued.
func (e *engine) flush() error {
	err := e.w.flush()
	e.arena = e.arena[:0]
	return err
}

const (
	// burst bounds the operations begun before answers are looked at again.
	burst = 512
	// maxWait is the longest wait for an answer before timers are looked at.
	maxWait = 100 * time.Millisecond
	// openStep is the shortest sleep of the open loop: a shorter one would cost
	// more than the requests it parts.
	openStep = 100 * time.Microsecond
)

func (e *engine) clock() { e.now = int64(time.Since(e.epoch)) }

// begin starts the operation number n of a phase; false if no user is idle.
func (e *engine) begin(p phase, n int, due int64) bool {
	who := n
	switch {
	case p.kind.ofWatcher():
		// In order; the users of one after the other differ.
		if who = int(e.presence.subs[n].user); e.users[who].busy {
			return false
		}
	case p.kind == kindPublish && !p.inOrder:
		if who = e.idleUser(len(e.presence.presentities)); who < 0 {
			return false
		}
	case !p.inOrder:
		if who = e.idleUser(len(e.users)); who < 0 {
			return false
		}
	}
	last := len(e.free) - 1
	slot := e.free[last]
	e.free = e.free[:last]
	e.inflight++
	x := &e.slots[slot]
	x.user, x.kind, x.due, x.attempts, x.status = int32(who), p.kind, due, 0, 0
	u := &e.users[who]
	u.busy = true
	if p.kind == kindMessage {
		x.peer = int32(e.otherUser(who))
		x.number = e.inbox.open()
	}
	if p.kind.ofPresence() {
		e.presence.begin(slot, x, int32(n))
	}
	if e.o.Challenge {
		u.register.nonce, u.relay.nonce = "", ""
	}
	e.request(slot, x)
	return true
}

// idleUser returns one of the first n users at random who waits for nothing,
// or -1.
func (e *engine) idleUser(n int) int {
	if e.inflight >= n {
		return -1
	}
	i := int(e.rand.Uint32N(uint32(n)))
	for e.users[i].busy {
		// After a busy one the next is as good a choice, and ends.
		if i++; i == n {
			i = 0
		}
	}
	return i
}

func (e *engine) otherUser(who int) int {
	if len(e.users) == 1 {
		return who
	}
	i := int(e.rand.Uint32N(uint32(len(e.users) - 1)))
	if i >= who {
		i++
	}
	return i
}

// request writes and sends the next request of an operation.
func (e *engine) request(slot int32, x *exchange) {
	x.gen++
	x.attempts++
	u := &e.users[x.user]
	u.cseq++
	x.signed = false
	switch {
	case x.kind == kindMessage:
		x.buf = e.message(x.buf[:0], slot, x, u)
	case x.kind.ofWatcher():
		x.buf = e.subscription(x.buf[:0], slot, x, u)
	case x.kind.ofPresence():
		x.buf = e.publication(x.buf[:0], slot, x, u)
	default:
		x.buf = e.registration(x.buf[:0], slot, x, u)
	}
	x.sent = e.now
	x.interval = int64(e.o.T1)
	x.next = e.now + x.interval
	e.w.send(int(u.socket), x.buf)
}

// finish ends an operation with a status, or 0 for none.
func (e *engine) finish(slot int32, status int) {
	x := &e.slots[slot]
	e.users[x.user].busy = false
	e.tally.ended(status, time.Duration(e.now-x.due))
	if x.kind == kindMessage {
		e.inbox.answered(x.number, status)
	}
	if x.kind.ofPresence() {
		e.presence.end(x)
	}
	x.user = -1
	x.gen++
	e.free = append(e.free, slot)
	e.inflight--
}

// maxAttempts bounds the requests of one operation: one without credentials,
// one with, and two more for nonces that went stale in between.
const maxAttempts = 4

// receive takes a message from the wire.
func (e *engine) receive(i int, msg []byte) {
	status := statusOf(msg)
	if status == 0 {
		e.arrive(i, msg)
		return
	}
	slot := e.match(msg)
	if slot < 0 {
		e.tally.strays++
		return
	}
	e.heard = true
	x := &e.slots[slot]
	if status < 200 {
		// RFC 3261 §17.1.2.2: in Proceeding Timer E runs with T2.
		x.interval = max(x.interval, 8*int64(e.o.T1))
		x.next = e.now + x.interval
		return
	}
	e.clock()
	if (status == 401 || status == 407) && e.challenged(x, status, msg) {
		e.request(slot, x)
		return
	}
	if x.kind.ofPresence() {
		e.accepted(slot, x, status, msg)
		return
	}
	e.finish(slot, status)
}

// match finds the operation an answer belongs to, -1 if none waits for it.
func (e *engine) match(msg []byte) int32 {
	at := indexBranch(msg, e.branch)
	if at < 0 {
		return -1
	}
	slot, ok := readHex32(msg[at:])
	if !ok || slot >= uint32(len(e.slots)) {
		return -1
	}
	gen, ok := readHex32(msg[at+8:])
	if x := &e.slots[slot]; !ok || x.gen != gen || x.user < 0 || x.status != 0 {
		return -1
	}
	return int32(slot)
}

// challenged takes a challenge over; false if it cannot be answered, or has
// been without success.
func (e *engine) challenged(x *exchange, status int, msg []byte) bool {
	u := &e.users[x.user]
	c := &u.register
	if status == 407 {
		c = &u.relay
	}
	if x.kind != kindRegister && x.kind != kindUnregister {
		e.uas = status == 401
	}
	ch, ok := chooseChallenge(msg, e.o.Algorithm)
	if !ok || x.attempts >= maxAttempts {
		return false
	}
	if x.signed {
		// A second try is for a nonce that is no longer good, not for a
		// password that never was.
		if !ch.stale && (c.nonce == string(ch.nonce) || c.nc <= 1) {
			return false
		}
		e.tally.stale++
	}
	e.tally.challenges++
	c.accept(ch, u.name, e.o.Password(u.name))
	if e.alg == "" {
		e.alg = c.alg.String()
	}
	return true
}

// timers sends again what was not answered and gives up what is too old.
func (e *engine) timers() {
	limit := 64 * int64(e.o.T1)
	for i := range e.slots {
		x := &e.slots[i]
		if x.user < 0 {
			continue
		}
		if x.status != 0 {
			if e.now-x.sent >= notifyPatience*int64(e.o.T1) {
				e.tally.timeouts++
				e.finish(int32(i), 0)
			}
			continue
		}
		if e.now-x.sent >= limit {
			e.tally.timeouts++
			e.finish(int32(i), 0)
			continue
		}
		if e.udp && e.now >= x.next {
			e.tally.retransmissions++
			x.interval = min(2*x.interval, 8*int64(e.o.T1))
			x.next = e.now + x.interval
			e.w.send(int(e.users[x.user].socket), x.buf)
		}
	}
}

func (e *engine) report(name string) {
	if e.o.Progress == nil {
		return
	}
	now := time.Now()
	if e.progress.IsZero() {
		e.progress = now
	}
	if now.Sub(e.progress) >= progressEvery {
		e.progress = now
		fmt.Fprintf(e.o.Progress, "%s: %d operations, %d ok, %d timeouts\n", name, e.tally.operations, e.tally.ok, e.tally.timeouts)
	}
}

// wipe removes the registrations of a run. Answers do not matter.
func (e *engine) wipe(ctx context.Context) error {
	p := phase{name: "leave", kind: kindUnregister, window: e.o.Window, count: len(e.users), inOrder: true}
	return e.run(ctx, p, new(tally), nil)
}
