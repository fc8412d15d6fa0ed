package im

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
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
	received   time.Time
	composing  bool
	dated      bool // give it a Date: it waited
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

// devicesOf groups bindings that take MESSAGE by device, in their order.
func devicesOf(bindings []registrar.Binding) []device {
	var devices []device
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
	device    string
	target    string
	status    int // 0: no answer
	reason    string
	reply     []byte // the response for the sender, without our Via; nil when there is none
	impatient bool   // no result: the sender has waited long enough
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

// fork is the response context of one message (RFC 3261 §16.7).
type fork struct {
	results chan result
	done    atomic.Bool // the sender has its answer
}

// deliver sends the message to all devices, answers the sender as soon as it
// knows enough and records every outcome. A device that answers later than that
// is still heard.
func (r *Relay) deliver(ctx context.Context, tx *transaction.Server, o *outgoing, devices []device) {
	if len(devices) == 0 {
		r.keep(ctx, tx, o, nil)
		return
	}
	f := &fork{results: make(chan result, len(devices)+1)}
	for i := range devices {
		r.try(ctx, o, &devices[i], func(x result) { f.results <- x })
	}
	r.patience.add(f, time.Now())
	var best result
	var tried []trial
	refused := 0
	queued := false
	for open := len(devices); open > 0; {
		var x result
		select {
		case x = <-f.results:
		case <-ctx.Done(): // the record gets its outcome at the next start
			return
		}
		if x.impatient {
			if !f.done.Swap(true) {
				queued = r.keep(ctx, tx, o, tried)
			}
			continue
		}
		open--
		switch {
		case x.delivered():
			r.outcome(o, archive.Delivered, x.status, x.reason, x.target, x.device)
			if !f.done.Swap(true) {
				r.forwardReply(tx, x)
			}
			if queued {
				r.offline.taken(ctx, o)
				queued = false
			}
		default:
			best = better(best, x)
			tried = note(tried, x)
			if !x.passing() {
				refused++
			}
			if len(devices) > 1 {
				r.outcome(o, archive.Failed, x.status, x.reason, x.target, x.device)
			}
		}
	}
	if f.done.Swap(true) {
		return
	}
	if refused == len(devices) || best.status/100 == 6 || devices[0].peer != nil {
		r.giveUp(tx, o, best)
		return
	}
	r.keep(ctx, tx, o, tried)
}

// giveUp tells the sender what the devices said.
func (r *Relay) giveUp(tx *transaction.Server, o *outgoing, best result) {
	if best.reply == nil { // a peer that can't be reached
		r.outcome(o, archive.Failed, sip.StatusServerTimeout, best.reason, best.target, "")
		r.answer(tx, sip.NewError(sip.StatusServerTimeout, "Peer did not answer"))
		return
	}
	r.outcome(o, archive.Refused, best.status, best.reason, best.target, best.device)
	r.forwardReply(tx, best)
}

// keep puts the message into the offline queue and answers 202 (RFC 3428 §7), or
// 480 where it can't wait. It reports whether it is kept.
func (r *Relay) keep(ctx context.Context, tx *transaction.Server, o *outgoing, tried []trial) bool {
	fault := r.offline.put(ctx, o, tried)
	if fault != nil {
		r.refuse(tx, o, fault)
		return false
	}
	r.outcome(o, archive.Stored, sip.StatusAccepted, "", "", "")
	r.answer(tx, &sip.Error{Status: sip.StatusAccepted})
	r.offline.recheck(ctx, o)
	return true
}

// better chooses between two failures (RFC 3261 §16.7 item 6): a 6xx wins, then
// the lowest class; within 4xx those that help the sender to try again.
func better(a, b result) result {
	switch {
	case a.reply == nil:
		return b
	case b.reply == nil:
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

// try delivers to one device: its bindings one after another until one answers.
// Done is called once, on any goroutine, and must not wait.
func (r *Relay) try(ctx context.Context, o *outgoing, d *device, done func(result)) {
	if d.peer != nil {
		go r.tryPeer(ctx, o, d, done)
		return
	}
	r.tryBinding(ctx, o, d, 0, done)
}

func (r *Relay) tryBinding(ctx context.Context, o *outgoing, d *device, i int, done func(result)) {
	b := &d.bindings[i]
	finish := func(x result) {
		x.device, x.target = d.name, b.Contact
		if (x.status == 0 || x.status == sip.StatusFlowFailed) && i+1 < len(d.bindings) {
			r.tryBinding(ctx, o, d, i+1, done) // RFC 5626 §5.3: the next flow of this instance
			return
		}
		done(x)
	}
	h, ok := r.hopOf(b)
	if !ok {
		finish(result{reason: "Flow is gone"})
		return
	}
	r.sendTo(ctx, o, h, d, finish)
}

func (r *Relay) tryPeer(ctx context.Context, o *outgoing, d *device, done func(result)) {
	fail := func(reason string) { done(result{device: d.peer.Name, target: d.peer.Address, reason: reason}) }
	remote, err := resolve(ctx, d.peer.Address)
	if err != nil {
		fail("Peer's address is not known")
		return
	}
	h := hop{proto: d.peer.Proto, remote: remote, uri: d.uri}
	r.sendTo(ctx, o, h, d, func(x result) {
		x.device, x.target = d.peer.Name, d.peer.Address
		done(x)
	})
}

// maxDatagram is the size above which a request is sent over a congestion
// controlled transport where the path MTU is not known (RFC 3261 §18.1.1).
const maxDatagram = 1300

// sendTo is the one place where a MESSAGE leaves the server. Without the
// journal's receipt it does not.
func (r *Relay) sendTo(ctx context.Context, o *outgoing, h hop, d *device, done func(result)) {
	if !o.receipt.Valid() {
		panic("im: a message was to leave without a durable record")
	}
	flow, ok := r.flowOf(h)
	if ok && !flow.Proto.Stream() && len(o.req.Raw())+headroom > maxDatagram && !r.noTCP.has(flow.Remote) {
		h.proto, h.fallback, ok = streamOf(flow), flow, false
	}
	if !ok { // a connection has to be made first
		r.wg.Go(func() {
			flow, err := r.connect(ctx, h)
			if err != nil {
				done(result{reason: "Can't connect"})
				return
			}
			h.flow, h.fallback = flow, flow
			r.sendOver(o, h, d, done)
		})
		return
	}
	h.flow = flow
	r.sendOver(o, h, d, done)
}

// headroom is what forwarding adds to a request, about.
const headroom = 150

func (r *Relay) sendOver(o *outgoing, h hop, d *device, done func(result)) {
	id := branch(o.key, d.name, d.answers, o.loop)
	r.o.Transactions.Request(h.flow, id, r.forwarded(o, h, id), func(m *sip.Message, err error) {
		if err != nil {
			done(result{reason: err.Error()})
			return
		}
		x := result{status: m.Status(), reason: strings.Clone(m.Reason())}
		if m.Count(sip.HeaderVia) > 1 || strings.Contains(m.Get(sip.HeaderVia), ",") {
			x.reply = m.AppendUpstream(make([]byte, 0, len(m.Raw())), replyDrops(x.status))
		}
		done(x)
	})
}

// replyDrops: a 2xx to MESSAGE has no Contact and no body (RFC 3428 §7), whatever
// the device put there.
func replyDrops(status int) func(sip.HeaderID) bool {
	if status/100 != 2 {
		return nil
	}
	return func(id sip.HeaderID) bool { return id == sip.HeaderContact || id == sip.HeaderContentType }
}

// forwarded writes the request for one hop. Contact has no meaning in MESSAGE
// (RFC 3428 §9) and our credentials are nobody else's business (RFC 3261 §22.3).
func (r *Relay) forwarded(o *outgoing, h hop, branch string) []byte {
	sentBy := r.o.Transport.SentBy(h.flow)
	via := make([]byte, 0, 128)
	via = append(via, "SIP/2.0/"...)
	via = append(via, h.flow.Proto.String()...)
	via = append(via, ' ')
	via = sentBy.AppendTo(via)
	via = append(via, ";rport;branch="...)
	via = append(via, branch...)
	f := sip.Forward{
		URI: h.uri, Via: string(via), Source: o.source, Routes: h.routes, DropRoutes: o.dropRoutes,
		Drop: func(id sip.HeaderID, value string) bool {
			switch id {
			case sip.HeaderContact, sip.HeaderRecordRoute, sip.HeaderPreferredIdentity:
				return true
			case sip.HeaderProxyAuthorization, sip.HeaderAuthorization:
				return strings.Contains(value, o.realm)
			}
			return false
		},
	}
	if o.dated && !o.req.Has(sip.HeaderDate) {
		f.Fields = []sip.Field{{Name: "Date", Value: sip.FormatDate(o.received)}}
	}
	return o.req.AppendForward(make([]byte, 0, len(o.req.Raw())+512), &f)
}
