package im

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"rollcall/archive"
	"rollcall/sip"
	"rollcall/sip/transaction"
	"rollcall/store"
)

// past is a message of just before the start.
type past struct {
	receipt  archive.Receipt
	outcome  archive.Disposition // 0: none was recorded
	status   int
	to, from string
	raw      [sha256.Size]byte // hash of the request's bytes
}

// answer repeats what the sender was told, nil when that is not known.
func (p *past) answer() *sip.Error {
	switch p.outcome {
	case archive.Delivered, archive.Stored, archive.Refused:
		return &sip.Error{Status: p.status}
	}
	return nil
}

// retransmitted is how long a client sends a request again (RFC 3261 §17.1.2.2,
// Timer F), and so how far back Recover looks.
const retransmitted = 32 * time.Second

// Recover reads the end of the journal after a start. A message without outcome
// was interrupted: that is recorded, or, when it had reached the offline queue,
// that it is stored. Messages whose senders may still repeat them are kept in
// mind, so that a repeat is no second message.
func (r *Relay) Recover(ctx context.Context, now time.Time) error {
	known := map[requestKey]*past{}
	byID := map[archive.ID]*past{}
	open := map[archive.ID]*past{}
	err := r.o.Journal.Recent(now.Add(-retransmitted), func(rec *archive.Record) error {
		switch rec.Type {
		case archive.TypeMessage:
			p := &past{receipt: r.o.Journal.Recall(rec.ID, rec.Seq), to: rec.To, from: rec.From, raw: sha256.Sum256(rec.Raw)}
			byID[rec.ID], open[rec.ID] = p, p
			if rec.RequestKey != (requestKey{}) {
				known[rec.RequestKey] = p
			}
		case archive.TypeOutcome:
			p := byID[rec.Cites]
			if p == nil {
				return nil
			}
			delete(open, rec.Cites)
			if p.outcome != archive.Delivered && rec.Disposition != archive.Failed && rec.Disposition != archive.Interrupted {
				p.outcome, p.status = rec.Disposition, int(rec.Status)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the end of the journal: %w", err)
	}
	for id, p := range open {
		if err := r.interrupted(ctx, id, p); err != nil {
			return err
		}
	}
	if len(known) == 0 {
		return nil
	}
	r.known.Store(&known)
	time.AfterFunc(retransmitted+time.Second, func() { r.known.Store(nil) })
	return nil
}

// interrupted records what is known of a message without outcome.
func (r *Relay) interrupted(ctx context.Context, id archive.ID, p *past) error {
	rec := &archive.Record{Type: archive.TypeOutcome, Cites: id, Received: time.Now(), Channel: "sip-message",
		From: p.from, To: p.to, Disposition: archive.Interrupted}
	if aor, err := sip.ParseAORString(p.to); err == nil {
		set, err := r.o.Store.Load(ctx, queueKey(aor))
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			return fmt.Errorf("look for an interrupted message: %w", err)
		}
		if _, ok := set.Get(string(id[:])); ok {
			rec.Disposition, rec.Status = archive.Stored, sip.StatusAccepted
			p.outcome, p.status = archive.Stored, sip.StatusAccepted
		}
	}
	return r.o.Journal.Note(rec)
}

// Past is a request that was recorded before the start and is sent again.
type Past struct {
	p    *past
	from sip.AOR
}

// Past finds out whether a request is byte for byte one that was recorded just
// before the start. Such a request was authenticated then; to ask again would
// make the sender repeat the message as another request, as the nonces of the
// last process are worth nothing now.
func (r *Relay) Past(m *sip.Message) (Past, bool) {
	known := r.known.Load()
	if known == nil {
		return Past{}, false
	}
	p := (*known)[r.keyOf(m)]
	if p == nil {
		return Past{}, false
	}
	raw := m.Bytes()
	if isComposing(m) {
		raw = raw[:m.HeadLen()]
	}
	from, err := sip.ParseAORString(p.from)
	if err != nil || sha256.Sum256(raw) != p.raw {
		return Past{}, false
	}
	return Past{p, from}, true
}

// ServePast answers a repeated request by what was recorded of it, or goes on
// where the last process stopped. No second record is made.
func (r *Relay) ServePast(tx *transaction.Server, past Past, a Admission) {
	if answer := past.p.answer(); answer != nil {
		r.answer(tx, answer)
		return
	}
	p := r.outgoing(tx, past.from, a)
	p.decision = r.decide(&p.o)
	p.durable(past.p.receipt, nil)
}
