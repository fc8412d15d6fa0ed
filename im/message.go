package im

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/auth"
	"rollcall/policy"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/transaction"
	"rollcall/store"
)

// Admission is what the checks before authentication found out.
type Admission struct {
	loop       string
	dropRoutes int
	told       func(archive.ID)
}

// Tell has f called with the ID of the message's record once that is durable,
// before anything else becomes of the message. F must not block.
func (a Admission) Tell(f func(archive.ID)) Admission {
	a.told = f
	return a
}

// Admit makes the checks that come before a proxy asks who is there, in the
// order of RFC 3261 §16.3. It waits for nothing. DropRoutes first Route values
// name this server.
func (r *Relay) Admit(m *sip.Message, dropRoutes int) (Admission, *sip.Error) {
	var a Admission
	a.dropRoutes = dropRoutes
	if !m.URI().IsScheme("sip") { // sips asks for TLS on every hop (RFC 3261 §26.2.2), which is not looked at
		return a, sip.NewError(sip.StatusUnsupportedScheme, "")
	}
	if hops, ok := sip.ParseUint(m.Get(sip.HeaderMaxForwards)); ok && hops == 0 {
		return a, sip.NewError(sip.StatusTooManyHops, "")
	}
	to, _, _, err := r.recipient(m)
	if errors.Is(err, errGRUU) {
		return a, sip.NewError(sip.StatusNotFound, "Request-URI is no GRUU of this domain")
	}
	if err != nil {
		return a, sip.NewError(sip.StatusNotFound, "Request-URI names no user")
	}
	a.loop = r.loopMark(m, to)
	if looped(m, a.loop) {
		return a, sip.NewError(sip.StatusLoopDetected, "")
	}
	if unknown := m.Get(sip.HeaderProxyRequire); unknown != "" { // §16.3 item 5: none is known here
		return a, sip.NewError(sip.StatusBadExtension, "", sip.Field{Name: "Unsupported", Value: unknown})
	}
	return a, nil
}

// ServeSIP takes a MESSAGE from its authentication to the journal; recorded takes
// it on from there, and fork to its answer. None of them waits, unless the store
// does. Identity is who sent it.
func (r *Relay) ServeSIP(tx *transaction.Server, id auth.Identity, a Admission) {
	r.Counters.Received.Add(1)
	p := r.outgoing(tx, id.AOR(), a)
	o := &p.o

	// Policy. A refusal is recorded too.
	p.decision = r.decide(o)

	// Where it goes. What a store in this process knows is in the processor's caches
	// now, as whoever read the request looked ahead, and far again when the record is
	// durable.
	if r.o.Store.Local() && p.decision.Refusal() == nil {
		p.devices, p.fault = r.route(r.ctx, o, o.received)
		p.looked = true
	}

	// Journal. Nothing has left before this.
	rec := records.Get().(*archive.Record)
	r.record(rec, tx.Source().String(), o, p.decision)
	if r.o.Describe != nil {
		r.o.Describe(rec, id, o.to)
	}
	err := r.o.Journal.AppendFunc(rec, p.durable) // from here on p belongs to what it calls
	records.Put(rec)                              // the journal keeps no reference
	if err != nil {
		p.durable(archive.Receipt{}, err)
	}
}

// decide asks the rules about a message.
func (r *Relay) decide(o *outgoing) policy.Decision {
	rules := r.settings.Load().Rules
	if !rules.Names() {
		return rules.Company(o.to.Domain())
	}
	m := policy.Message{
		FromDomain: o.from.Domain(), ToDomain: o.to.Domain(), From: policy.Party{AOR: o.from.String()}, To: policy.Party{AOR: o.to.String()},
		UserAgent: o.req.Get(sip.HeaderUserAgent), ContentType: o.req.Get(sip.HeaderContentType), At: o.received,
	}
	if r.o.Parties != nil {
		m.From, m.To = r.o.Parties(o.from, o.to)
	}
	if !o.composing {
		m.Body = o.req.Body()
	}
	return rules.Message(&m)
}

// records are used again: a record is large, and each message has two.
var records = sync.Pool{New: func() any { return new(archive.Record) }}

// errGRUU is for a URI with a parameter gr that is no valid GRUU (RFC 5627 §6.1).
var errGRUU = errors.New("no GRUU of this domain")

// recipient returns whom a message is for, and the alias or the GRUU by which it is asked for.
func (r *Relay) recipient(m *sip.Message) (to sip.AOR, alias string, gruu registrar.GRUU, err error) {
	u := m.URI()
	if to, err = sip.ParseAOR(u); err != nil {
		return to, "", gruu, err
	}
	if u.Params != "" && r.settings.Load().Rules.Ours(to.Domain()) {
		var found bool
		if gruu, found = r.o.GRUUs.Parse(u); found {
			if gruu.IsZero() {
				return to, "", gruu, errGRUU
			}
			to = gruu.AOR
		}
	}
	if owner, ok := r.o.Accounts.Owner(to); ok {
		return owner, to.String(), gruu, nil
	}
	return to, "", gruu, nil
}

// outgoing puts together what is known of a request that was admitted.
func (r *Relay) outgoing(tx *transaction.Server, from sip.AOR, a Admission) *passage {
	m := tx.Request()
	to, alias, gruu, err := r.recipient(m)
	if err != nil {
		panic("im: a message was served that was not admitted")
	}
	p := r.passage(tx, a.told)
	p.o = outgoing{
		passage: p, alias: alias, gruu: gruu,
		req: m, source: tx.Source().Remote, key: r.keyOf(m), loop: a.loop, dropRoutes: a.dropRoutes,
		realm: from.Domain(), from: from, to: to, received: tx.Begun(), composing: isComposing(m),
	}
	return p
}

// recorded goes on with a message whose record is durable, or refuses it.
func (r *Relay) recorded(tx *transaction.Server, o *outgoing, d policy.Decision, receipt archive.Receipt, err error) {
	defer r.contain(tx)
	if err != nil {
		r.Counters.Unrecorded.Add(1)
		r.answer(tx, sip.NewError(sip.StatusServiceUnavailable, "Message can't be recorded now", retryAfter))
		return
	}
	o.receipt = receipt
	if len(d.Notices()) > 0 && r.withNotices(tx, o, d) {
		return
	}
	if refusal := d.Refusal(); refusal != nil {
		r.refuse(tx, o, refusal)
		return
	}
	if !r.o.Store.Local() {
		r.o.Go(func() { defer r.contain(tx); r.relay(tx, o) })
		return
	}
	r.relay(tx, o)
}

// routeLife is how long it counts where a message goes. A record takes a few
// milliseconds, but for a disk that stands still.
const routeLife = 50 * time.Millisecond

// relay finds the devices and delivers; the fork answers.
func (r *Relay) relay(tx *transaction.Server, o *outgoing) {
	var devices []device
	var fault *sip.Error
	now := time.Now()
	if p := o.passage; p.looked && now.Sub(o.received) < routeLife {
		devices, fault = p.devices, p.fault
	} else {
		devices, fault = r.route(r.ctx, o, now)
	}
	if fault != nil {
		r.refuse(tx, o, fault)
		return
	}
	if len(devices) == 1 && devices[0].peer == nil && r.offline.busy(o.to) && o.keepable() {
		r.queueBehind(tx, o, devices)
		return
	}
	r.deliver(tx, o, devices, now)
}

// contain answers 500 after a panic; the process lives.
func (r *Relay) contain(tx *transaction.Server) {
	if p := recover(); p != nil {
		r.o.Panicked(tx.Request(), p)
		r.answer(tx, sip.NewError(sip.StatusServerError, ""))
	}
}

var retryAfter = sip.Field{Name: "Retry-After", Value: "5"}

// record states the request. Of an is-composing indication only the head is kept
// (RFC 3994: the state of a moment is no content).
func (r *Relay) record(rec *archive.Record, source string, o *outgoing, d policy.Decision) {
	m := o.req
	cseq, _ := m.CSeq()
	from, _ := m.From()
	*rec = archive.Record{
		Type: archive.TypeMessage, Received: o.received, Direction: archive.Internal, Channel: "sip-message",
		From: o.from.String(), To: o.to.String(), Alias: o.alias, FromName: from.DisplayName(), Subject: m.Get(sip.HeaderSubject),
		CallID: m.CallID(), CSeq: cseq, Branch: m.Via().Branch, Method: m.Method(), RequestURI: m.RequestURI(),
		Source: source, Device: senderDevice(m), UserAgent: m.Get(sip.HeaderUserAgent),
		ContentType: m.Get(sip.HeaderContentType), MessageID: imdnMessageID(m), Date: m.Get(sip.HeaderDate),
		Decision: d.String(), Rule: d.Rule(), Policy: d.Version(), Flags: d.Flags(), Raw: m.Bytes(), RequestKey: o.key,
	}
	if !r.settings.Load().Rules.Ours(o.to.Domain()) {
		rec.Direction = archive.Out
	}
	rec.Size = uint64(len(m.Body()))
	if o.composing {
		rec.Raw, rec.BodyOmitted = rec.Raw[:m.HeadLen()], true
	}
}

// senderDevice is the +sip.instance of a Contact, which some clients send in
// spite of RFC 3428 §4, or nothing.
func senderDevice(m *sip.Message) string {
	c, err := sip.ParseAddress(m.Get(sip.HeaderContact))
	if err != nil {
		return ""
	}
	v, _ := c.Params.Get("+sip.instance")
	return strings.Trim(v, `"<>`)
}

// outcome writes what became of the message. It is in the journal before the
// answer leaves, and nobody waits for it.
func (r *Relay) outcome(o *outgoing, d archive.Disposition, status int, reason, target, device string) {
	r.outcomeAt(time.Now(), o, d, status, reason, target, device)
}

// outcomeAt is outcome of just before; zero is now.
func (r *Relay) outcomeAt(at time.Time, o *outgoing, d archive.Disposition, status int, reason, target, device string) {
	if at.IsZero() {
		at = time.Now()
	}
	switch d {
	case archive.Delivered:
		r.Counters.Delivered.Add(1)
	case archive.Stored:
		r.Counters.Stored.Add(1)
	case archive.Refused:
		r.Counters.Refused.Add(1)
	case archive.Failed:
		r.Counters.Failed.Add(1)
	case archive.Expired:
		r.Counters.Expired.Add(1)
	}
	rec := records.Get().(*archive.Record)
	*rec = archive.Record{
		Type: archive.TypeOutcome, Cites: o.receipt.ID(), Received: at, Channel: "sip-message",
		From: o.from.String(), To: o.to.String(), Disposition: d, Status: uint16(status), Reason: reason,
		Target: target, Device: device,
	}
	err := r.o.Journal.Note(rec)
	records.Put(rec)
	if err != nil && r.complaints.allow(time.Now()) {
		r.o.Log.Warn("outcome not recorded", zap.Stringer("cites", o.receipt.ID()), zap.Error(err))
	}
}

// refuse records the refusal and answers it.
func (r *Relay) refuse(tx *transaction.Server, o *outgoing, fault *sip.Error) {
	r.outcome(o, archive.Refused, fault.Status, fault.Text(), "", "")
	r.answer(tx, fault)
}

// answer sends a reply of our own and keeps it for retransmissions.
func (r *Relay) answer(tx *transaction.Server, e *sip.Error) {
	m := tx.Request()
	tx.Reply(m.AppendReply(make([]byte, 0, 512), tx.Source().Remote, &sip.Reply{
		Status: e.Status, Reason: e.Reason, Fields: e.Headers, ToTag: tx.Tag(),
	}))
}

// route finds the devices of an account of ours, or the peer of a domain that is
// not. No device and no error: the message will wait. Now is the time.
func (r *Relay) route(ctx context.Context, o *outgoing, now time.Time) ([]device, *sip.Error) {
	s := r.settings.Load()
	if !s.Rules.Ours(o.to.Domain()) {
		for _, p := range s.Peers {
			if strings.EqualFold(p.Domain, o.to.Domain()) {
				return []device{{name: p.Domain, peer: &p, uri: o.req.RequestURI()}}, nil
			}
		}
		return nil, sip.NewError(sip.StatusForbidden, "Domain is not served and no peer")
	}
	devices, room := o.room()
	bindings, err := r.o.Locations.AppendTo(ctx, room, o.to, now)
	if err != nil {
		return nil, r.storeFault(o, err)
	}
	if !o.gruu.IsZero() {
		if bindings = slices.DeleteFunc(bindings, func(b registrar.Binding) bool { return !o.gruu.Leads(&b) }); len(bindings) == 0 && o.gruu.Temporary {
			return nil, sip.NewError(sip.StatusNotFound, "") // RFC 5627 §5.3: it is not valid any more
		}
	}
	if len(bindings) > 0 { // so there is such an account
		return devicesOf(devices, bindings), nil
	}
	known, err := r.o.Accounts.Has(ctx, o.to)
	if err != nil {
		return nil, r.storeFault(o, err)
	}
	if !known {
		return nil, sip.NewError(sip.StatusNotFound, "")
	}
	return nil, nil
}

// keepable reports that a message may wait for a device. One to a GRUU is for the device it names, of which
// none that is there is answered 480 (RFC 5627 §6.1).
func (o *outgoing) keepable() bool { return !o.composing && o.gruu.IsZero() }

// storeFault turns a fault of the store into the answer; what it was goes to the
// log.
func (r *Relay) storeFault(o *outgoing, err error) *sip.Error {
	var e *sip.Error
	if errors.As(err, &e) {
		return e
	}
	if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, context.Canceled) {
		r.o.Log.Error("store", zap.String("aor", o.to.String()), zap.Error(err))
	}
	return sip.NewError(sip.StatusServiceUnavailable, "Store is not available", retryAfter)
}

// isComposing knows an RFC 3994 indication by its content type.
func isComposing(m *sip.Message) bool {
	t := m.Get(sip.HeaderContentType)
	if i := strings.IndexByte(t, ';'); i >= 0 {
		t = t[:i]
	}
	return strings.EqualFold(strings.TrimSpace(t), "application/im-iscomposing+xml")
}

// imdnMessageID finds the IMDN Message-ID in a CPIM body (RFC 5438 §6.3); the
// body itself is not changed.
func imdnMessageID(m *sip.Message) string {
	if t := m.Get(sip.HeaderContentType); len(t) < 12 || !strings.EqualFold(t[:12], "message/cpim") {
		return ""
	}
	const maxID = 256
	head, _, _ := strings.Cut(m.Body(), "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if _, local, ok := strings.Cut(name, "."); ok && strings.EqualFold(local, "Message-ID") && len(value) <= maxID {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
