package im

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"rollcall/archive"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/transaction"
)

// outgoing is a recorded message on its way: fresh from a sender, or out of the
// offline queue.
type outgoing struct {
	req        *sip.Message
	source     netip.AddrPort // where it came from, for its Via
	receipt    archive.Receipt
	key        requestKey
	loop       string
	dropRoutes int
	realm      string // whose credentials are taken out
	from, to   sip.AOR
	alias      string         // of to, when that is what was asked for
	gruu       registrar.GRUU // of to, when one device of it is asked for
	received   time.Time
	composing  bool
	dated      bool     // give it a Date: it waited
	passage    *passage // what it is a part of; nil out of the queue
}

// device is one place to deliver to: the bindings of one +sip.instance (RFC 5626
// §5.3: one flow of them at a time), one contact, or a peer domain.
type device struct {
	name     string
	answers  uint64 // that it gave before, none of them a 2xx
	bindings []registrar.Binding
	peer     *Peer
	uri      string // Request-URI for a peer
}

// heard is when the device registered last.
func (d *device) heard() (last time.Time) {
	for i := range d.bindings {
		if t := d.bindings[i].Updated; t.After(last) {
			last = t
		}
	}
	return last
}

// devicesOf groups bindings that take MESSAGE by device, in their order. Devices is
// empty, and has the room to use.
func devicesOf(devices []device, bindings []registrar.Binding) []device {
next:
	for i := range bindings {
		b := &bindings[i]
		if !b.TakesMethod("MESSAGE") {
			continue
		}
		name := b.Device()
		for j := range devices {
			if devices[j].name == name {
				devices[j].bindings = append(devices[j].bindings, *b)
				continue next
			}
		}
		devices = append(devices, device{name: name, bindings: bindings[i : i+1 : i+1]})
	}
	return devices
}

// result is how one device answered.
type result struct {
	device string
	target string
	status int // 0: no answer
	reason string
	moved  bool      // no answer here: the device is tried elsewhere
	reply  []byte    // the response for the sender, without our Via; nil when there is none
	at     time.Time // when it answered; zero when that is now
}

func (x result) delivered() bool { return x.status/100 == 2 }

// passing reports a failure after which the device may take the message later:
// it was not reached, or was not able to just then. Other failures are about the
// message itself and repeat.
func (x result) passing() bool {
	switch x.status {
	case 0, 404, 408, 410, 430, 480, 481, 486, 487:
		return true
	}
	return x.status/100 == 5 && x.status != sip.StatusVersionNotSupported && x.status != sip.StatusMessageTooLarge &&
		x.status != sip.StatusNotImplemented
}

// fork is the response context of one message (RFC 3261 §16.7). Results come on
// any goroutine; mu orders them and is not held while something is sent.
type fork struct {
	r       *Relay
	tx      *transaction.Server
	o       *outgoing
	devices []device
	behind  bool // stored messages that are on their way

	mu       sync.Mutex
	open     int  // devices that have not answered
	answered bool // the sender has its answer, or gets it from keep
	queued   bool // in the offline queue
	taken    bool // a device took it
	best     result
	tried    []trial
	refused  int
	late     []result // failures that came while it was being queued
	turn     uint64   // counts the messages that this memory was used for
}

// begin makes f the response context of a message; waits says whether the sender waits
// for the devices.
func (f *fork) begin(tx *transaction.Server, o *outgoing, devices []device, waits bool) {
	f.mu.Lock() // patience may still look at it for the message before
	defer f.mu.Unlock()
	f.r, f.tx, f.o, f.devices, f.open, f.answered = o.passage.r, tx, o, devices, len(devices), !waits
}

// reset makes f ready for another message.
func (f *fork) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.r, f.tx, f.o, f.devices, f.behind = nil, nil, nil, nil, false
	f.open, f.answered, f.queued, f.taken, f.best = 0, false, false, false, result{}
	f.tried, f.refused, f.late = nil, 0, nil
	f.turn++
}

// deliver sends the message to all devices. The sender is answered as soon as
// enough is known; a device that answers later than that is still heard.
func (r *Relay) deliver(tx *transaction.Server, o *outgoing, devices []device, now time.Time) {
	p := o.passage
	f := &p.f
	f.begin(tx, o, devices, len(devices) > 0)
	if len(devices) == 0 {
		r.o.Go(f.keep)
		return
	}
	r.patience.add(f, o.received)
	if len(devices) > 1 || devices[0].peer != nil {
		for i := range devices {
			r.try(o, &devices[i], p.heard)
		}
		return
	}
	p.holders.Store(2)
	p.a.r, p.a.o, p.a.d, p.a.done, p.a.now, p.a.passage = r, o, &devices[0], p.heard, now, p
	p.a.toBinding()
	p.drop()
}

// queueBehind keeps a message for an account to whose one device stored ones are
// being sent just now: it would overtake them.
func (r *Relay) queueBehind(tx *transaction.Server, o *outgoing, devices []device) {
	f := &o.passage.f
	f.begin(tx, o, devices, false)
	f.behind = true
	r.o.Go(f.keep)
}

// over reports that the sender needs no patience any more.
func (f *fork) over(turn uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answered || f.turn != turn
}

// result takes what one device answered.
func (f *fork) result(x result) {
	defer f.r.contain(f.tx)
	r, o := f.r, f.o
	f.mu.Lock()
	f.open--
	first := !f.answered
	if x.delivered() {
		f.taken, f.answered = true, true
		queued := f.queued
		f.queued = false
		f.mu.Unlock()
		r.outcomeAt(x.at, o, archive.Delivered, x.status, x.reason, x.target, x.device)
		if first {
			r.forwardReply(f.tx, x)
		}
		if queued {
			r.o.Go(func() { r.offline.taken(r.ctx, o) })
		}
		if p := o.passage; len(f.devices) == 1 && !p.kept { // nobody else looks at it then
			p.spent = first
		}
		return
	}
	f.best = better(f.best, x)
	f.tried = note(f.tried, x)
	if !x.passing() {
		f.refused++
	}
	last := first && f.open == 0
	if last {
		f.answered = true
	}
	final := f.refused == len(f.devices) || f.best.status/100 == 6 || f.devices[0].peer != nil
	best := f.best
	queued := f.queued
	if !first && !queued {
		f.late = append(f.late, x)
	}
	f.mu.Unlock()
	if len(f.devices) > 1 {
		r.outcome(o, archive.Failed, x.status, x.reason, x.target, x.device)
	}
	switch {
	case queued:
		r.o.Go(func() {
			r.offline.failed(r.ctx, o, x)
			if x.status == 0 { // a device that came while this try ran was not tried
				r.offline.recheck(r.ctx, o)
			}
		})
	case !last:
	case final:
		r.giveUp(f.tx, o, best)
	default:
		r.o.Go(f.keep)
	}
}

// impatient ends the waiting of a sender whose devices are silent: it is told
// 202, and whichever device takes the message first ends its wait.
func (f *fork) impatient(turn uint64) {
	f.mu.Lock()
	first := !f.answered && f.turn == turn
	if first {
		f.answered = true
	}
	f.mu.Unlock()
	if first {
		f.r.o.Go(f.keep)
	}
}

// keep puts the message into the offline queue and answers 202 (RFC 3428 §7), or
// 480 where it can't wait.
func (f *fork) keep() {
	defer f.r.contain(f.tx)
	r, o := f.r, f.o
	f.mu.Lock()
	tried := slices.Clone(f.tried)
	f.mu.Unlock()
	if fault := r.offline.put(r.ctx, o, tried); fault != nil {
		f.mu.Lock()
		taken := f.taken
		f.mu.Unlock()
		if taken { // by a slow device meanwhile
			r.answer(f.tx, &sip.Error{Status: sip.StatusAccepted})
			return
		}
		r.refuse(f.tx, o, fault)
		return
	}
	f.mu.Lock()
	taken := f.taken // while it was being put there
	f.queued = !taken
	late := f.late
	f.mu.Unlock()
	for _, x := range late {
		r.offline.failed(r.ctx, o, x)
	}
	r.outcome(o, archive.Stored, sip.StatusAccepted, "", "", "")
	r.answer(f.tx, &sip.Error{Status: sip.StatusAccepted})
	if taken {
		r.offline.taken(r.ctx, o)
		return
	}
	if f.behind {
		r.offline.present(o.to) // whoever is at work for the account may have looked before it was there
		return
	}
	r.offline.recheck(r.ctx, o)
}

// giveUp tells the sender what the devices said.
func (r *Relay) giveUp(tx *transaction.Server, o *outgoing, best result) {
	if best.status == 0 || best.status == sip.StatusRequestTimeout { // a peer that can't be reached; RFC 4320 §4.2: no 408
		r.outcome(o, archive.Failed, sip.StatusServerTimeout, best.reason, best.target, "")
		r.answer(tx, sip.NewError(sip.StatusServerTimeout, "Peer did not answer"))
		return
	}
	r.outcome(o, archive.Refused, best.status, best.reason, best.target, best.device)
	if best.status == sip.StatusServiceUnavailable { // it is the peer that is not, and not this server (RFC 3261 §16.7 item 6)
		r.answer(tx, sip.NewError(sip.StatusServerError, "Next server is not available"))
		return
	}
	r.forwardReply(tx, best)
}

// better chooses between two failures (RFC 3261 §16.7 item 6): a 6xx wins, then
// the lowest class; within 4xx those that help the sender to try again.
func better(a, b result) result {
	switch {
	case a.status == 0:
		return b
	case b.status == 0:
		return a
	}
	ca, cb := a.status/100, b.status/100
	switch {
	case ca == 6 || cb == 6:
		if ca == 6 {
			return a
		}
		return b
	case ca != cb:
		if ca < cb {
			return a
		}
		return b
	}
	for _, s := range [...]int{401, 407, 415, 420, 484} {
		if a.status == s {
			return a
		}
		if b.status == s {
			return b
		}
	}
	return a
}

// forwardReply passes a device's response on to the sender.
func (r *Relay) forwardReply(tx *transaction.Server, x result) {
	if x.reply == nil {
		r.answer(tx, &sip.Error{Status: x.status, Reason: x.reason})
		return
	}
	tx.Reply(x.reply)
}
