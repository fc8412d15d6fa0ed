package im

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/sip"
	"rollcall/store"
)

// offline keeps messages for accounts and delivers them when a device shows
// itself. One goroutine at a time works for an account, and the number of
// accounts worked for at a time is bounded.
type offline struct {
	r  *Relay
	wg sync.WaitGroup

	mu      sync.Mutex
	state   map[sip.AOR]drainState
	closed  bool
	backlog []sip.AOR // wait for a worker
	workers int

	observer atomic.Pointer[func(sip.AOR)]
}

type drainState uint8

const (
	drainWaits drainState = iota + 1 // in the backlog, or being worked on
	drainAgain                       // a device showed itself meanwhile
)

// maxWorkers bounds how many accounts are delivered to at a time.
const maxWorkers = 256

// keepAfter is how much longer than its expiry the store keeps a message, so
// that the sweep finds it and records that it expired.
const keepAfter = 24 * time.Hour

func newOffline(r *Relay) *offline { return &offline{r: r, state: map[sip.AOR]drainState{}} }

func queueKey(aor sip.AOR) store.Key { return store.Key{Kind: kindQueue, Owner: aor.String()} }

func queuedKey(id archive.ID) store.Key { return store.Key{Kind: kindQueued, Owner: string(id[:])} }

// put keeps a message. It is durable when put returns nil; else the error is the
// answer for the sender.
func (q *offline) put(ctx context.Context, o *outgoing, tried []trial) *sip.Error {
	s := q.r.settings.Load()
	expires, ok := expiryOf(o, s.OfflineLife, time.Now())
	if !o.keepable() || !ok {
		return sip.NewError(sip.StatusTemporarilyUnavail, "")
	}
	set, err := q.r.o.Store.Load(ctx, queueKey(o.to))
	if err != nil {
		return q.r.storeFault(o, err)
	}
	if len(set.Items) >= s.OfflineLimit {
		return sip.NewError(sip.StatusTemporarilyUnavail, "Too many messages wait for this user")
	}
	id := o.receipt.ID()
	till := expires.Add(keepAfter)
	if _, err := q.r.o.Store.Apply(ctx, queuedKey(id), store.Any, store.Put(store.Item{Value: encodeQueued(o), Expires: till})); err != nil {
		return q.r.storeFault(o, err)
	}
	e := entry{id: id, expires: expires, tried: tried}
	item := store.Item{ID: string(id[:]), Value: e.encode(), Expires: till}
	if _, err := q.r.o.Store.Apply(ctx, queueKey(o.to), store.Any, store.Put(item)); err != nil {
		return q.r.storeFault(o, err)
	}
	q.tell(o.to)
	return nil
}

// taken ends the wait of a message.
func (q *offline) taken(ctx context.Context, o *outgoing) {
	if err := q.remove(ctx, o.to, o.receipt.ID()); err != nil {
		q.r.o.Log.Warn("stored message not removed", zap.String("aor", o.to.String()), zap.Error(err))
	}
}

// failed notes what a device answered after the message was kept, so that the
// next try there is no retransmission of what it has answered.
func (q *offline) failed(ctx context.Context, o *outgoing, x result) {
	id := o.receipt.ID()
	for {
		set, err := q.r.o.Store.Load(ctx, queueKey(o.to))
		item, waits := set.Get(string(id[:]))
		if err != nil || !waits {
			return
		}
		e, err := decodeEntry(item)
		if err != nil {
			return
		}
		e.tried = note(e.tried, x)
		item.Value = e.encode()
		if _, err = q.r.o.Store.Apply(ctx, queueKey(o.to), set.Version, store.Put(item)); !errors.Is(err, store.ErrConflict) {
			return // what can't be noted costs a try more
		}
	}
}

// remove takes a message out of the queue, the list first: what is not listed is
// not sent.
func (q *offline) remove(ctx context.Context, aor sip.AOR, id archive.ID) error {
	if _, err := q.r.o.Store.Apply(ctx, queueKey(aor), store.Any, store.Delete(string(id[:]))); err != nil {
		return err
	}
	q.tell(aor)
	_, err := q.r.o.Store.Apply(ctx, queuedKey(id), store.Any, store.Delete(""))
	return err
}

// recheck looks whether a device came while the message was on its way into the
// queue.
func (q *offline) recheck(ctx context.Context, o *outgoing) {
	bindings, err := q.r.o.Locations.Lookup(ctx, o.to)
	if err != nil {
		return
	}
	for i := range bindings {
		if bindings[i].Updated.After(o.received) {
			q.present(o.to)
			return
		}
	}
}

// Present tells that a device of the account has registered or refreshed. What
// waits for the account is delivered in the background.
func (r *Relay) Present(ctx context.Context, aor sip.AOR) {
	set, err := r.o.Store.Load(ctx, queueKey(aor))
	if err != nil || len(set.Items) == 0 {
		return
	}
	r.offline.present(aor.Clone())
}

func (q *offline) present(aor sip.AOR) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if q.state[aor] != 0 {
		q.state[aor] = drainAgain
		return
	}
	q.state[aor] = drainWaits
	q.backlog = append(q.backlog, aor)
	if q.workers < maxWorkers {
		q.workers++
		q.wg.Go(q.work)
	}
}

// busy reports that stored messages of the account are being delivered.
func (q *offline) busy(aor sip.AOR) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.state[aor] != 0
}

// close waits for the deliveries; the relay's context has ended.
func (q *offline) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.wg.Wait()
}

// work delivers for one account after another until none waits.
func (q *offline) work() {
	for {
		q.mu.Lock()
		if len(q.backlog) == 0 || q.r.ctx.Err() != nil {
			q.workers--
			q.mu.Unlock()
			return
		}
		aor := q.backlog[0]
		q.backlog = q.backlog[1:]
		q.state[aor] = drainWaits
		q.mu.Unlock()
		if err := q.drain(q.r.ctx, aor); err != nil && q.r.ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) {
			q.r.o.Log.Error("deliver stored messages", zap.String("aor", aor.String()), zap.Error(err))
		}
		q.mu.Lock()
		if q.state[aor] == drainAgain {
			q.backlog = append(q.backlog, aor)
		} else {
			delete(q.state, aor)
		}
		q.mu.Unlock()
	}
}

// contain keeps a panic in the work for one account from ending the process; the
// messages stay where they are.
func (q *offline) contain() {
	if p := recover(); p != nil {
		q.r.o.Panicked(new(sip.Message), p)
	}
}

// drain delivers what waits, in order, one message at a time (RFC 3428 §8). It
// stops at the first message that no device takes now.
func (q *offline) drain(ctx context.Context, aor sip.AOR) error {
	defer q.contain()
	set, err := q.r.o.Store.Load(ctx, queueKey(aor))
	if err != nil {
		return err
	}
	silent := map[string]bool{}
	for _, item := range set.Items {
		e, err := decodeEntry(item)
		if err != nil {
			q.passOver(aor, archive.ID{}, err)
			continue
		}
		more, err := q.redeliver(ctx, aor, e, silent)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// passOver tells the operator of a message that can't be read. Those behind it do
// not wait for it.
func (q *offline) passOver(aor sip.AOR, id archive.ID, err error) {
	q.r.o.Log.Error("stored message passed over", zap.String("aor", aor.String()), zap.Stringer("id", id), zap.Error(err))
}

// redeliver tries one message on the devices that are there now, one after
// another, as the first that takes it ends its wait: the one that was heard of
// last comes first, and those that were silent to a message before it are not
// waited for again. More is false when the messages behind it must wait too.
func (q *offline) redeliver(ctx context.Context, aor sip.AOR, e entry, silent map[string]bool) (more bool, err error) {
	set, err := q.r.o.Store.Load(ctx, queuedKey(e.id))
	if err != nil {
		return false, err
	}
	if len(set.Items) == 0 { // its bytes are gone: it was delivered, only the list was left
		return true, q.remove(ctx, aor, e.id)
	}
	o, err := q.r.decodeQueued(e.id, set.Items[0].Value)
	if err != nil {
		q.passOver(aor, e.id, err)
		return true, nil
	}
	if !e.expires.After(time.Now()) {
		return true, q.expire(ctx, o)
	}
	bindings, err := q.r.o.Locations.Lookup(ctx, aor)
	if err != nil {
		return false, err
	}
	waits := false
	devices := devicesOf(nil, bindings)
	slices.SortStableFunc(devices, func(a, b device) int { return b.heard().Compare(a.heard()) })
	for _, d := range devices {
		t := e.trialOf(d.name)
		if t.refused {
			continue
		}
		if silent[d.name] {
			waits = true
			continue
		}
		d.answers = t.answers
		x, err := q.offer(ctx, o, &d)
		if err != nil {
			return false, err
		}
		if x.delivered() {
			q.r.Counters.Redelivered.Add(1)
			q.r.outcome(o, archive.Delivered, x.status, x.reason, x.target, x.device)
			return true, q.remove(ctx, aor, e.id)
		}
		waits = waits || x.passing()
		if x.status == 0 {
			silent[d.name] = true
			continue
		}
		q.r.outcome(o, archive.Failed, x.status, x.reason, x.target, x.device)
		e.tried = note(e.tried, x)
		item := store.Item{ID: string(e.id[:]), Value: e.encode(), Expires: e.expires.Add(keepAfter)}
		if _, err := q.r.o.Store.Apply(ctx, queueKey(aor), store.Any, store.Put(item)); err != nil {
			return false, err
		}
	}
	return !waits, nil
}

// offer sends a message to one device and waits for its answer.
func (q *offline) offer(ctx context.Context, o *outgoing, d *device) (result, error) {
	answer := make(chan result, 1)
	q.r.try(o, d, func(x result) { answer <- x })
	select {
	case x := <-answer:
		return x, nil
	case <-ctx.Done():
		return result{}, ctx.Err()
	}
}

// expire ends the wait of a message whose time is over.
func (q *offline) expire(ctx context.Context, o *outgoing) error {
	q.r.outcome(o, archive.Expired, 0, "", "", "")
	return q.remove(ctx, o.to, o.receipt.ID())
}

// sweep records and removes what expired while nobody came.
func (q *offline) sweep(now time.Time) {
	defer q.contain()
	ctx := q.r.ctx
	for owner, err := range q.r.o.Store.Keys(ctx, kindQueue) {
		if err != nil {
			return
		}
		set, err := q.r.o.Store.Load(ctx, store.Key{Kind: kindQueue, Owner: owner})
		if err != nil {
			return
		}
		for _, item := range set.Items {
			e, err := decodeEntry(item)
			if err != nil || e.expires.After(now) {
				continue
			}
			bytes, err := q.r.o.Store.Load(ctx, queuedKey(e.id))
			if err != nil || len(bytes.Items) == 0 {
				continue
			}
			if o, err := q.r.decodeQueued(e.id, bytes.Items[0].Value); err == nil {
				_ = q.expire(ctx, o) // the next sweep tries again
			}
		}
	}
}

// Forget drops what waits for an account, of which reason tells why; the record says so of each message.
func (r *Relay) Forget(ctx context.Context, aor sip.AOR, reason string) error {
	set, err := r.o.Store.Load(ctx, queueKey(aor))
	if err != nil {
		return err
	}
	for _, item := range set.Items {
		e, err := decodeEntry(item)
		if err != nil {
			r.offline.passOver(aor, archive.ID{}, err)
			continue
		}
		bytes, err := r.o.Store.Load(ctx, queuedKey(e.id))
		if err != nil {
			return err
		}
		if len(bytes.Items) > 0 {
			if o, err := r.decodeQueued(e.id, bytes.Items[0].Value); err == nil {
				r.outcome(o, archive.Failed, sip.StatusNotFound, reason, "", "")
			}
		}
		if err := r.offline.remove(ctx, aor, e.id); err != nil {
			return err
		}
	}
	return nil
}

// Waiting counts the messages that wait for an account.
func (r *Relay) Waiting(ctx context.Context, aor sip.AOR) (int, error) {
	set, err := r.o.Store.Load(ctx, queueKey(aor))
	return len(set.Items), err
}

// Observe has f called after each change of how many messages wait for an account,
// by the goroutine that made it. F must not block and must not keep the address
// without cloning it. There is one observer, the last; changes by other servers on
// the same store are not told.
func (r *Relay) Observe(f func(sip.AOR)) { r.offline.observer.Store(&f) }

func (q *offline) tell(aor sip.AOR) {
	if f := q.observer.Load(); f != nil {
		(*f)(aor)
	}
}
