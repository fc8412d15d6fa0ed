package im

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
)

// attempt is a message on its way to a device: over one of its bindings, or to a
// peer. It writes the request as often as it is sent, so that no copy of it waits
// for the answer.
type attempt struct {
	r       *Relay
	o       *outgoing
	d       *device
	binding int // of d, unless that is a peer
	done    func(result)
	now     time.Time // when it began
	told    atomic.Bool
	passage *passage // that this is a part of, if it is

	hop hop
	via []byte // of ours, its branch at the end
}

// try delivers to one device: its bindings one after another until one answers.
// Done is called once, on any goroutine, and must not wait.
func (r *Relay) try(o *outgoing, d *device, done func(result)) {
	if d.peer != nil {
		r.o.Go((&attempt{r: r, o: o, d: d, done: done, now: time.Now()}).toPeer)
		return
	}
	(&attempt{r: r, o: o, d: d, done: done, now: time.Now()}).toBinding()
}

func (a *attempt) toBinding() {
	defer a.rescue()
	var ok bool
	if a.hop, ok = a.r.hopOf(&a.d.bindings[a.binding]); !ok {
		a.finish(result{reason: "Flow is gone"})
		return
	}
	a.sendTo()
}

func (a *attempt) toPeer() {
	defer a.rescue()
	remote, err := resolve(a.r.ctx, a.d.peer.Address)
	if err != nil {
		a.finish(result{reason: "Peer's address is not known"})
		return
	}
	a.hop = hop{proto: a.d.peer.Proto, remote: remote, domain: a.d.peer.Domain, roots: a.d.peer.Roots, uri: a.d.uri}
	a.sendTo()
}

// finish tells how the attempt ended, once, unless another binding is to be tried.
func (a *attempt) finish(x result) {
	if a.told.Swap(true) {
		return
	}
	d := a.d
	if d.peer != nil {
		x.device, x.target = d.peer.Name, d.peer.Address
		a.done(x)
		return
	}
	x.device, x.target = d.name, d.bindings[a.binding].Contact
	if next := a.binding + 1; (x.status == 0 && !x.moved || x.status == sip.StatusFlowFailed) && next < len(d.bindings) {
		a.o.keep()
		(&attempt{r: a.r, o: a.o, d: d, binding: next, done: a.done, now: time.Now()}).toBinding() // RFC 5626 §5.3: the next flow of this instance
		return
	}
	a.done(x)
}

// rescue makes a panic on the way to a device a failure to reach it.
func (a *attempt) rescue() {
	if p := recover(); p != nil {
		a.r.o.Panicked(a.o.req, p)
		a.finish(result{reason: "Internal fault"})
	}
}

// maxDatagram is the size above which a request is sent over a congestion
// controlled transport where the path MTU is not known (RFC 3261 §18.1.1).
const maxDatagram = 1300

// sendTo is the one place where a MESSAGE leaves the server. Without the
// journal's receipt it does not.
func (a *attempt) sendTo() {
	if !a.o.receipt.Valid() {
		panic("im: a message was to leave without a durable record")
	}
	r, h := a.r, &a.hop
	flow, ok := r.flowOf(h)
	if ok && !flow.Proto.Stream() && len(a.o.req.Raw())+headroom > maxDatagram && !r.noTCP.has(flow.Remote) {
		h.proto, h.fallback, ok = transport.TCP, flow, false
	}
	if !ok { // a connection has to be made first
		a.o.keep()
		r.o.Go(func() {
			defer a.rescue()
			flow, err := r.connect(r.ctx, h)
			if err != nil {
				a.finish(result{reason: "Can't connect"})
				return
			}
			h.flow = flow
			a.now = time.Now()
			a.sendOver()
		})
		return
	}
	h.flow = flow
	a.sendOver()
}

// headroom is what forwarding adds to a request, about.
const headroom = 150

func (a *attempt) sendOver() {
	via := append(a.via[:0], "SIP/2.0/"...)
	via = append(via, a.hop.flow.Proto.String()...)
	via = append(via, ' ')
	via = a.r.o.Transport.SentBy(a.hop.flow).AppendTo(via)
	via = append(via, ";rport;branch="...)
	at := len(via)
	a.via = appendBranch(via, a.o.key, a.d.name, a.d.answers, a.o.loop)
	a.r.o.Transactions.Write(a.hop.flow, a.via[at:], a.now, a)
}

// Done implements transaction.Writer.
func (a *attempt) Done(m *sip.Message, err error) {
	defer a.rescue()
	if err != nil {
		a.finish(result{reason: err.Error(), moved: errors.Is(err, transaction.ErrMoved)})
		return
	}
	x := result{status: m.Status(), reason: reasonOf(m), at: m.Received}
	if m.Count(sip.HeaderVia) == 1 && !strings.Contains(m.Get(sip.HeaderVia), ",") {
		a.finish(x)
		return
	}
	if !x.delivered() {
		x.reply = m.AppendUpstream(make([]byte, 0, len(m.Raw())), replyDrops(x.status))
		a.finish(x)
		return
	}
	b := replies.Get().(*[]byte) // a 2xx is passed on at once or not at all
	x.reply = m.AppendUpstream((*b)[:0], replyDrops(x.status))
	a.finish(x)
	*b = x.reply
	replies.Put(b)
}

// Over implements transaction.Writer.
func (a *attempt) Over() {
	if a.passage != nil {
		a.passage.drop()
	}
}

// Append implements transaction.Writer: it writes the request for this hop. Contact
// has no meaning in MESSAGE (RFC 3428 §9), our credentials are nobody else's business
// (RFC 3261 §22.3), and who the sender is it does not assert itself: "the proxy MUST
// replace or remove" that (RFC 3325 §5). Phones show Remote-Party-ID, its forerunner,
// as well.
func (a *attempt) Append(b []byte) []byte {
	o := a.o
	signed := o.req.Count(sip.HeaderProxyAuthorization) == 1 // the sender's, who was authenticated by them
	f := sip.Forward{
		URI: a.hop.uri, Via: a.via, Source: o.source, Routes: a.hop.routes, DropRoutes: o.dropRoutes,
		Drop: func(id sip.HeaderID, value string) bool {
			switch id {
			case sip.HeaderContact, sip.HeaderRecordRoute, sip.HeaderPreferredIdentity, sip.HeaderAssertedIdentity, sip.HeaderRemotePartyID:
				return true
			case sip.HeaderProxyAuthorization:
				return signed || ofRealm(value, o.realm)
			case sip.HeaderAuthorization:
				return ofRealm(value, o.realm)
			}
			return false
		},
	}
	if o.dated && !o.req.Has(sip.HeaderDate) {
		f.Fields = []sip.Field{{Name: "Date", Value: sip.FormatDate(o.received)}}
	}
	return o.req.AppendForward(b, &f)
}

// replies are used again.
var replies = sync.Pool{New: func() any { return new([]byte) }}

// reasonOf returns the reason phrase, which nearly always is the usual one, in
// memory that stays.
func reasonOf(m *sip.Message) string {
	if usual := sip.StatusText(m.Status()); m.Reason() == usual {
		return usual
	}
	return strings.Clone(m.Reason())
}

// replyDrops: a 2xx to MESSAGE has no Contact and no body (RFC 3428 §7), whatever
// the device put there.
func replyDrops(status int) func(sip.HeaderID) bool {
	if status/100 != 2 {
		return nil
	}
	return func(id sip.HeaderID) bool { return id == sip.HeaderContact || id == sip.HeaderContentType }
}

// ofRealm reports credentials for our realm. What can't be read is taken for them
// when it names the realm anywhere.
func ofRealm(credentials, realm string) bool {
	c, err := digest.ParseCredentials(credentials)
	if err != nil {
		return strings.Contains(credentials, realm)
	}
	return strings.EqualFold(c.Realm, realm)
}
