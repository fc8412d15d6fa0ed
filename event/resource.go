package event

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/sip/transport"
)

// resource is what somebody watches: the serial queue of everything that happens
// to it. Only the goroutine that runs it composes; mu guards the fields and the
// subscriptions and is never held while something is sent, stored or composed.
type resource struct {
	pack *pack
	aor  sip.AOR

	mu      sync.Mutex
	subs    []*subscription
	gone    bool      // out of the table: look again
	stale   bool      // the state may have changed since it was told
	judge   bool      // rules may have changed
	running bool      // or about to run
	again   bool      // it was woken while it ran
	until   time.Time // when the state changes by itself
	fresh   map[string]any
	made    *views // what the last turn made, as long as watchers are behind; of the turns alone

	woken chan struct{} // of a local watcher: told instead of being run

	next  time.Time // the clock's: when it is woken,
	place int       // and where it stands there, from 1; 0: it does not
}

// wake has the resource run soon. Changed: its state may be another one.
func (n *Notifier) wake(r *resource, changed bool) {
	if r.woken != nil {
		select {
		case r.woken <- struct{}{}:
		default: // it has not looked yet
		}
		return
	}
	r.mu.Lock()
	r.stale = r.stale || changed
	if r.running {
		r.again = true
		r.mu.Unlock()
		return
	}
	r.running = true
	r.mu.Unlock()
	n.schedule(r)
}

// schedule runs the resource off the goroutine that changed it, so that a change
// costs a REGISTER or MESSAGE nothing.
func (n *Notifier) schedule(r *resource) {
	if n.o.Store.Local() {
		n.o.Transport.Post(func() { n.turn(r) })
		return
	}
	n.o.Go(func() { n.turn(r) })
}

// turn is one run of a resource.
func (n *Notifier) turn(r *resource) {
	more := false
	n.contain(r, func() { more = n.tell(r) })
	r.mu.Lock()
	more = more || r.again
	r.again, r.running = false, more
	r.mu.Unlock()
	if more {
		n.schedule(r)
		return
	}
	n.settle(r)
}

// contain keeps a panic over one resource, as a document that nobody thought of may
// cause it, from ending the process: a turn runs on a goroutine that reads a socket.
func (n *Notifier) contain(r *resource, f func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			n.Counters.Failed.Add(1)
			n.o.Log.Error("panic over event state", zap.String("event", r.pack.spec.Name), zap.String("aor", r.aor.String()),
				zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
		}
	}()
	f()
	return true
}

// errPanic takes the place of what a package did not make.
var errPanic = errors.New("panic over event state")

// settle takes a resource that nobody watches out of the table.
func (n *Notifier) settle(r *resource) {
	sh := n.shardOf(r.aor.String())
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.subs) == 0 && !r.running && !r.gone {
		r.gone = true
		n.clock.set(r, time.Time{})
		delete(sh.resources, resourceKey{r.pack.spec.Name, r.aor})
	}
}

// perTurn bounds the NOTIFYs of one turn, so that a resource with many watchers
// does not hold up what else the goroutine does.
const perTurn = 128

// tell sends what is to be sent now; true: there is more at once.
func (n *Notifier) tell(r *resource) (more bool) {
	now := time.Now()
	r.mu.Lock()
	judge, aged := r.judge, !r.until.IsZero() && !now.Before(r.until)
	r.judge = false
	if aged {
		r.stale, r.until = true, time.Time{}
	}
	if r.stale || judge {
		r.made = nil
	}
	if r.stale { // all learn of it
		for _, s := range r.subs {
			s.behind()
		}
		r.stale = false
	}
	r.mu.Unlock()
	n.review(r, judge, now)

	r.mu.Lock()
	var due []*subscription
	for _, s := range r.subs {
		switch {
		case s.parent == nil && !now.Before(s.expires) && !s.ended:
			s.end("timeout")
		case !s.inFlight && s.silent(now):
			s.force = true
		}
		if at := s.dueAt(); !at.IsZero() && !at.After(now) {
			if len(due) == perTurn {
				more = true
				break
			}
			if s.force { // it asks for what is true now
				r.made = nil
			}
			s.inFlight, s.waiting = true, false
			due = append(due, s)
		}
	}
	v := r.made
	r.mu.Unlock()
	if v == nil {
		v = &views{n: n, r: r}
	}
	if len(due) > 0 {
		n.notifyAll(v, due)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made = nil
	if v.composed && v.err == nil && slices.ContainsFunc(r.subs, func(s *subscription) bool { return s.waiting }) {
		r.made = v
	}
	n.plan(r)
	return more
}

// behind notes that the watcher has not seen the latest state.
func (s *subscription) behind() { s.waiting = true }

// end makes the next NOTIFY the last one.
func (s *subscription) end(reason string) {
	s.ended, s.reason, s.force = true, reason, true
}

// dueAt is when the next NOTIFY may go out, zero if there is nothing to tell.
func (s *subscription) dueAt() time.Time {
	if s.inFlight || !s.force && !s.waiting {
		return time.Time{}
	}
	if s.suspended && !s.ended {
		return time.Time{}
	}
	at := s.retryAt
	if !s.force && s.minGap > 0 { // RFC 6446 §5.2: what SUBSCRIBE or an end asks for goes out at once
		if g := s.sentAt.Add(s.minGap); g.After(at) {
			at = g
		}
	}
	if at.IsZero() {
		return time.Unix(0, 0)
	}
	return at
}

// plan sets the clock to the earliest thing that is due. The lock is held.
func (n *Notifier) plan(r *resource) {
	at := r.until
	if len(r.subs) == 0 { // it leaves the table
		at = time.Time{}
	}
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, s := range r.subs {
		if !s.ended && s.parent == nil {
			earlier(s.expires)
			earlier(s.review)
			if gap := s.longest(); gap > 0 && !s.suspended && !s.inFlight {
				earlier(s.sentAt.Add(gap))
			}
		}
		earlier(s.dueAt())
	}
	n.clock.set(r, at)
}

// review judges watchers again whose verdict may have changed.
func (n *Notifier) review(r *resource, all bool, now time.Time) {
	r.mu.Lock()
	var list []*subscription
	for _, s := range r.subs {
		if !s.ended && (all || !s.review.IsZero() && !now.Before(s.review)) {
			list = append(list, s)
		}
	}
	if r.pack.isList() { // its members are judged in their own queues
		list = nil
	}
	r.mu.Unlock()
	for _, s := range list {
		v, err := Verdict{}, errPanic
		n.contain(r, func() { v, err = r.pack.Authorize(n.ctx, r.aor, Watcher{AOR: s.watcher, Event: s.event}) })
		if err != nil {
			v = Verdict{Standing: Refused, Rule: err.Error()}
		}
		r.mu.Lock()
		changed := v.Standing != s.standing
		s.rule, s.review = v.Rule, v.Until
		switch {
		case v.Standing == Refused:
			s.end("rejected") // RFC 6665 §4.1.3
		case changed || v.Class != s.view.Class:
			s.approved = s.approved || s.standing == Pending
			s.standing, s.view.Class, s.last, s.force = v.Standing, v.Class, nil, true
		}
		r.mu.Unlock()
		if changed && s.parent == nil {
			n.store(s)
			r.pack.tellObservers(r.aor)
		}
	}
}

// compose loads what was published and has the package compose it.
func (n *Notifier) compose(ctx context.Context, r *resource) (State, error) {
	pubs, err := n.publications(ctx, r.pack, r.aor, r.takeFresh())
	if err != nil {
		return State{}, err
	}
	state, err := r.pack.Compose(ctx, r.aor, pubs)
	for i := range pubs { // what expires changes the state by itself
		if e := pubs[i].Expires; !e.IsZero() && (state.Until.IsZero() || e.Before(state.Until)) {
			state.Until = e
		}
	}
	return state, err
}

func (r *resource) takeFresh() map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.fresh
	r.fresh = nil
	return f
}

// drop takes a subscription out. The resource's lock is not held.
func (n *Notifier) drop(s *subscription) {
	r := s.r
	r.mu.Lock()
	i := slices.Index(r.subs, s)
	if i >= 0 {
		r.subs = slices.Delete(r.subs, i, i+1)
	}
	waits := s.standing == Pending && s.reason == "timeout"
	weight := s.weight()
	r.mu.Unlock()
	if i < 0 {
		return
	}
	if waits {
		n.remember(r, s, s.told())
	}
	if s.list != nil {
		n.detach(s, s.members())
	}
	n.flows.move(s, s.flow, transport.Flow{})
	sh := n.shardOf(s.id())
	sh.mu.Lock()
	delete(sh.subs, s.id())
	sh.mu.Unlock()
	n.count(s.watcher, -weight)
	n.watchList(s, false)
	n.unstore(s)
	r.pack.tellObservers(r.aor)
	n.settle(r)
}
