package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/auth"
	"rollcall/sip"
	"rollcall/store"
)

// kindOnce has one item, with the empty ID, for each message that a program sent with an
// Idempotency-Key. Its owner is a hash of token and key.
var kindOnce = store.NewKind("sent-once", store.Durable, store.Cold)

const (
	onceVersion = 1
	// onceLife is how long a key is remembered.
	onceLife = 24 * time.Hour
	// onceUnderWay is longer than a message waits for its answer, as [im] answer_after is 30 s at
	// most. Without an answer then, the server that sent it has stopped.
	onceUnderWay = 45 * time.Second
	// onceRecorded is how long after its beginning a message is recorded at the latest.
	onceRecorded = 5 * time.Minute
)

// once is a message that is sent once.
type once struct {
	Of     []byte     `json:"of"`   // MAC of the message under its key, which is not kept: so it tells nothing of the text
	Call   string     `json:"call"` // Call-ID
	Begun  time.Time  `json:"begun"`
	Node   string     `json:"node"`             // the server that sends it
	Status int        `json:"status,omitempty"` // the answer; 0 while there is none
	Record archive.ID `json:"record,omitzero"`
}

func newOnce(s store.Store) *store.Table[once] {
	return store.NewTable(s, kindOnce,
		func(o once) (store.Item, error) {
			b, err := json.Marshal(o)
			return store.Item{Value: append([]byte{onceVersion}, b...), Expires: o.Begun.Add(onceLife)}, err
		},
		func(i store.Item) (o once, err error) {
			if len(i.Value) == 0 || i.Value[0] != onceVersion {
				return o, errors.New("not a message that is sent once")
			}
			err = json.Unmarshal(i.Value[1:], &o)
			return o, err
		})
}

// sendOnce has a message with a key sent, or returns what became of it. That it begins is durable
// before it is sent: after a crash the record tells whether it was.
func (b backend) sendOnce(ctx context.Context, t auth.Token, n api.NewMessage, call string, send func(context.Context) (api.SentMessage, error)) (api.SentMessage, error) {
	hash := sha256.Sum256([]byte(t.ID + "\x00" + n.Once))
	owner := string(hash[:])
	mac := hmac.New(sha256.New, []byte(n.Once))
	if err := json.NewEncoder(mac).Encode(n); err != nil {
		return api.SentMessage{}, err
	}
	next := once{Of: mac.Sum(nil), Call: call, Begun: time.Now(), Node: b.node}
	underWay := fmt.Errorf("%w: the message with this Idempotency-Key is being sent", api.ErrUnderWay)
	if !b.programs.begin(owner) {
		return api.SentMessage{}, underWay
	}
	defer b.programs.over(owner)
	table := newOnce(b.store)
	kept, version, ok, err := table.Get(ctx, owner, "")
	switch {
	case err != nil:
		return api.SentMessage{}, err
	case !ok:
	case !hmac.Equal(kept.Of, next.Of):
		return api.SentMessage{}, fmt.Errorf("%w: another message was sent with this Idempotency-Key", api.ErrReused)
	case kept.Status != 0:
		return sentOf(kept.Status, kept.Record), nil
	case next.Begun.Before(kept.Begun.Add(onceUnderWay)):
		return api.SentMessage{}, underWay
	default:
		id, status, err := b.became(kept)
		if err != nil {
			return api.SentMessage{}, err
		}
		if status != 0 {
			kept.Record, kept.Status = id, status
			b.keepOnce(table, owner, version, kept)
			return sentOf(status, id), nil
		}
	}
	put, err := table.Put(next)
	if err != nil {
		return api.SentMessage{}, err
	}
	if version, err = table.Apply(ctx, owner, version, put); errors.Is(err, store.ErrConflict) {
		return api.SentMessage{}, underWay
	} else if err != nil {
		return api.SentMessage{}, err
	}
	// Who asks again after a connection that broke is to get this answer.
	sent, err := send(context.WithoutCancel(ctx))
	switch {
	case b.ctx.Err() != nil: // the next start finds out
	case err != nil || sent.Record.IsZero(): // nothing left the server
		if _, err := table.Apply(b.ctx, owner, version, store.Delete("")); err != nil {
			b.log.Warn("an Idempotency-Key of a message that was not sent stays in use", zap.Error(err))
		}
	default:
		next.Record, next.Status = sent.Record, sent.Status
		b.keepOnce(table, owner, version, next)
	}
	return sent, err
}

// keepOnce keeps the answer. Where that fails the record has it.
func (b backend) keepOnce(table *store.Table[once], owner string, version store.Version, o once) {
	put, err := table.Put(o)
	if err == nil {
		_, err = table.Apply(b.ctx, owner, version, put)
	}
	if err != nil {
		b.log.Warn("the answer to a message with an Idempotency-Key was not kept", zap.Error(err))
	}
}

// became looks in the record for a message that had no answer when its server stopped. The status
// is 0 when it was not recorded, and so was not sent, and 500 when it may have been delivered: there
// is no outcome, or another server has the record of it.
func (b backend) became(o once) (id archive.ID, status int, err error) {
	if o.Node != b.node || b.stream != nil && time.Since(o.Begun) > b.cfg.Load().Archive.StreamKeep.Duration/2 {
		return id, sip.StatusServerError, nil // not to be found with certainty
	}
	end := o.Begun.Add(onceRecorded)
	done := errors.New("done")
	err = b.journal.Recent(o.Begun.Add(-time.Second), func(r *archive.Record) error {
		switch {
		case r.Archived.After(end): // of a stream, which is not in one order, it is zero
			return done
		case r.Type == archive.TypeMessage && r.CallID == o.Call:
			id, status = r.ID, sip.StatusServerError // unless an outcome is found
		case r.Type != archive.TypeOutcome || id.IsZero() || r.Cites != id || r.Status == 0:
		case r.Disposition == archive.Delivered:
			status = int(r.Status)
			return done
		case r.Disposition == archive.Stored || status != sip.StatusAccepted:
			status = int(r.Status)
		}
		return nil
	})
	if err != nil && !errors.Is(err, done) {
		return archive.ID{}, 0, fmt.Errorf("look for a message in the record: %w", err)
	}
	return id, status, nil
}
