package im

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/policy"
	"rollcall/sip"
	"rollcall/sip/transaction"
	"rollcall/store"
)

// kindNoticed holds, for a conversation, the disclaimers that were given and still
// hold: owner the two addresses, an item for each rule and receiver.
var kindNoticed = store.NewKind("noticed", store.Soft, store.Hot)

// channelNotice is the channel of the record of a message of the company's own.
const channelNotice = "notice"

// due tells which notices are to be sent before the message goes on, and which
// behind its record. A disclaimer that was given a while ago still holds.
func (r *Relay) due(ctx context.Context, o *outgoing, d policy.Decision) (before, behind []policy.Notice) {
	for _, n := range d.Notices() {
		switch {
		case !n.Disclaimer():
			behind = append(behind, n)
		case d.Refusal() == nil && !o.composing && !r.noticed(ctx, o, &n):
			before = append(before, n)
		}
	}
	return before, behind
}

func noticedKey(o *outgoing) store.Key {
	a, b := o.from.String(), o.to.String()
	if b < a {
		a, b = b, a
	}
	return store.Key{Kind: kindNoticed, Owner: a + " " + b}
}

func noticedItem(n *policy.Notice) string { return n.Rule + " " + n.To.String() }

func (r *Relay) noticed(ctx context.Context, o *outgoing, n *policy.Notice) bool {
	set, err := r.o.Store.Load(ctx, noticedKey(o))
	_, there := set.Get(noticedItem(n))
	return err == nil && there
}

// disclaim gives the disclaimers that are due. The error is the answer to the message:
// it does not go on without them.
func (r *Relay) disclaim(ctx context.Context, o *outgoing, due []policy.Notice) *sip.Error {
	for i := range due {
		n := &due[i]
		key := noticedKey(o)
		set, err := r.o.Store.Load(ctx, key)
		if err != nil {
			return r.storeFault(o, err)
		}
		if _, there := set.Get(noticedItem(n)); there {
			continue // given for another message of this conversation meanwhile
		}
		item := store.Item{ID: noticedItem(n), Value: []byte{1}, Expires: time.Now().Add(n.Once)}
		_, err = r.o.Store.Apply(ctx, key, set.Version, store.Put(item))
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return r.storeFault(o, err)
		}
		if fault := r.notice(ctx, o, n, n.Text); fault != nil {
			_, _ = r.o.Store.Apply(ctx, key, store.Any, store.Delete(item.ID)) // or it is given once too seldom
			return fault
		}
	}
	return nil
}

// tell tells of a lexicon's hits; the text names the record and not what was said.
func (r *Relay) tell(o *outgoing, hits []policy.Notice) {
	for i := range hits {
		n := &hits[i]
		text := fmt.Sprintf("Rule %s: message of %s to %s, record %s", n.Rule, o.from, o.to, o.receipt.ID())
		if fault := r.notice(r.ctx, o, n, text); fault != nil && r.complaints.allow(time.Now()) {
			r.o.Log.Warn("notice not sent", zap.String("to", n.To.String()), zap.Int("status", fault.Status), zap.String("reason", fault.Text()))
		}
	}
}

// notice sends a message of the company's own: recorded first, as any, then over the
// offline queue, so that it reaches a device that comes later, and each once. A
// peer's user gets it if the peer is there. It waits.
func (r *Relay) notice(ctx context.Context, about *outgoing, n *policy.Notice, text string) *sip.Error {
	o, err := r.ownMessage(about, n, text)
	if err != nil {
		return sip.NewError(sip.StatusServerError, "Notice can't be made")
	}
	rec := records.Get().(*archive.Record)
	r.record(rec, "", o, r.settings.Load().Rules.Decision(*n))
	rec.Channel, rec.Reason = channelNotice, about.receipt.ID().String()
	type written struct {
		receipt archive.Receipt
		err     error
	}
	done := make(chan written, 1)
	err = r.o.Journal.AppendFunc(rec, func(receipt archive.Receipt, err error) { done <- written{receipt, err} })
	records.Put(rec)
	if err == nil {
		w := <-done // the journal always calls back
		o.receipt, err = w.receipt, w.err
	}
	if err != nil {
		r.Counters.Unrecorded.Add(1)
		return sip.NewError(sip.StatusServiceUnavailable, "Notice can't be recorded now", retryAfter)
	}
	r.Counters.Received.Add(1)
	devices, fault := r.route(ctx, o, time.Now())
	if fault == nil && len(devices) == 1 && devices[0].peer != nil {
		x, err := r.offline.offer(ctx, o, &devices[0])
		if err != nil || !x.delivered() {
			r.outcome(o, archive.Failed, x.status, x.reason, x.target, x.device)
			return nil //nolint:nilerr // the record says so; the message itself will hardly fare better
		}
		r.outcome(o, archive.Delivered, x.status, x.reason, x.target, x.device)
		return nil
	}
	if fault == nil {
		fault = r.offline.put(ctx, o, nil)
	}
	if fault != nil {
		r.outcome(o, archive.Refused, fault.Status, fault.Text(), "", "")
		return nil
	}
	r.outcome(o, archive.Stored, sip.StatusAccepted, "", "", "")
	r.offline.present(o.to)
	return nil
}

// ownMessage writes the request of a notice.
func (r *Relay) ownMessage(about *outgoing, n *policy.Notice, text string) (*outgoing, error) {
	from := n.From
	if from.Domain() == "" {
		domain := n.To.Domain()
		if !r.settings.Load().Rules.Ours(domain) {
			domain = about.from.Domain()
		}
		var err error
		if from, err = sip.ParseAORString("sip:notices@" + domain); err != nil {
			return nil, err
		}
	}
	id := rand.Text()
	raw := fmt.Appendf(nil, "MESSAGE %[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[3]s;branch=z9hG4bK%[4]s\r\nMax-Forwards: 70\r\nFrom: <%[2]s>;tag=%[5]s\r\nTo: <%[1]s>\r\n"+
		"Call-ID: %[4]s\r\nCSeq: 1 MESSAGE\r\nDate: %[6]s\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %[7]d\r\n\r\n%[8]s",
		n.To, from, from.Domain(), id, id[:8], sip.FormatDate(time.Now()), len(text), text)
	m := new(sip.Message)
	if err := m.Parse(raw); err != nil {
		return nil, err
	}
	if e := m.Check(); e != nil {
		return nil, e
	}
	return &outgoing{
		req: m, source: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0), key: r.keyOf(m), loop: r.loopMark(m, n.To),
		realm: from.Domain(), from: from, to: n.To, received: time.Now(),
	}, nil
}

// withNotices takes a recorded message on, on a goroutine of its own, when the rules
// want something sent for it; false when nothing is due.
func (r *Relay) withNotices(tx *transaction.Server, o *outgoing, d policy.Decision) bool {
	if r.o.Store.Local() {
		if before, behind := r.due(r.ctx, o, d); len(before)+len(behind) == 0 {
			return false
		}
	}
	o.keep() // it is looked at when the device may have answered
	r.o.Go(func() {
		defer r.contain(tx)
		before, behind := r.due(r.ctx, o, d)
		fault := d.Refusal()
		if fault == nil {
			fault = r.disclaim(r.ctx, o, before)
		}
		if fault != nil {
			r.refuse(tx, o, fault)
		} else {
			r.relay(tx, o)
		}
		r.tell(o, behind)
	})
	return true
}
