package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Presence measures PUBLISH with the NOTIFYs that follow it. First every
// watcher subscribes and gets its first NOTIFY, then every presentity
// publishes, and then presentities chosen at random change what they
// published, for the measured time. An operation is a PUBLISH, its answer,
// and a NOTIFY with this state or a newer one at each watcher; latency counts
// to the last of them. A presentity has one operation under way at a time.
//
// With Hold it only makes subscriptions, and reports the memory that the
// server holds for each; Setup is then the last three quarters of them. With Storm it has subscriptions refreshed all at
// once in place of the publishing, while registrations are refreshed beside.
func Presence(ctx context.Context, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := o.checkPresence(); err != nil {
		return nil, err
	}
	e, err := newEngine(&o)
	if err != nil {
		return nil, err
	}
	defer e.w.close()
	e.uas = true // until a challenge with 407
	e.presence = newPresence(o.Users, o.Presentities, o.Watchers, e.slots)

	r := e.newReport("presence")
	r.Presentities, r.Watchers = o.Presentities, o.Watchers
	if r.MemoryStart, err = e.memory(ctx, 0); err != nil {
		return nil, err
	}
	setup := phase{name: "subscribe", kind: kindSubscribe, rate: o.holdRate(), window: o.Window, count: len(e.presence.subs), inOrder: true}
	if o.Hold > 0 {
		setup.skip = o.Hold / holdShare
		setup.count = o.Hold - setup.skip
		if r.MemoryMid, err = e.holdFirst(ctx, setup); err != nil {
			return nil, err
		}
	}
	if r.Setup, err = e.measure(ctx, setup); err != nil {
		return nil, err
	}
	if r.Setup.OK == 0 {
		return nil, fmt.Errorf("bench: no watcher could subscribe%s", r.Setup.faults())
	}
	switch {
	case o.SetupOnly || o.Hold > 0:
	case o.Storm > 0:
		err = e.storm(ctx, r)
	default:
		err = e.publish(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	if err := e.lastStates(ctx); err != nil {
		return nil, err
	}
	r.Algorithm = e.alg
	if r.MemoryEnd, err = e.memory(ctx, TransactionLife); err != nil {
		return nil, err
	}
	p := e.presence
	r.Notifications = &Notifications{
		Subscriptions: p.active(), Received: p.received, Retransmissions: p.retransmissions,
		Disordered: p.disordered, Regressed: p.regressed, Ended: p.ended, Lost: p.lost(), Strays: p.strays,
	}
	if p.published > 0 {
		r.Notifications.PerPublish = float64(p.received-p.before) / float64(p.published)
	}
	if o.Hold > 0 {
		r.MemoryEach = (float64(r.MemoryEnd) - float64(r.MemoryStart)) / float64(max(r.Notifications.Subscriptions, 1))
		r.MemoryMore = (float64(r.MemoryEnd) - float64(r.MemoryMid)) / float64(r.Setup.OK)
	}
	if !o.Keep {
		if err := e.leave(ctx); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// holdShare: the first quarter of the subscriptions to hold is made before the
// memory of more of them is looked at, because a server keeps what the
// transactions of that time took.
const holdShare = 4

// holdFirst makes the subscriptions that the setup will leave out, and
// returns the server's memory then.
func (e *engine) holdFirst(ctx context.Context, setup phase) (uint64, error) {
	if setup.count, setup.skip = setup.skip, 0; setup.count > 0 {
		if err := e.run(ctx, setup, new(tally), nil); err != nil {
			return 0, err
		}
	}
	return e.memory(ctx, TransactionLife)
}

// memory is that of the server; where each subscription's share of it is
// wanted, once it is at rest, after some time at least.
func (e *engine) memory(ctx context.Context, after time.Duration) (uint64, error) {
	if e.o.Hold > 0 && len(e.o.ServerPID) > 0 {
		return SettledMemory(ctx, e.o.ServerPID, after)
	}
	return Memory(e.o.ServerPID)
}

// publish runs the measured part: a first PUBLISH of every presentity, a
// warm-up, and the load.
func (e *engine) publish(ctx context.Context, r *Report) (err error) {
	o := e.o
	e.presence.before = e.presence.received
	first := phase{name: "publish", kind: kindPublish, window: o.Window, count: o.Presentities, inOrder: true}
	p, err := e.measure(ctx, first)
	if err != nil {
		return err
	}
	if p.OK == 0 {
		return fmt.Errorf("bench: nobody could publish%s", p.faults())
	}
	if o.Warmup > 0 {
		warm := phase{name: "warm-up", kind: kindPublish, window: o.Window, rate: o.Rate, duration: o.Warmup}
		if err := e.run(ctx, warm, new(tally), nil); err != nil {
			return err
		}
	}
	load := phase{name: "presence", kind: kindPublish, window: o.Window, rate: o.Rate, duration: o.Duration, count: o.Count}
	r.Load, err = e.measure(ctx, load)
	return err
}

// stormUsers is how many users refresh their registrations beside a storm,
// and stormLead how long before it they begin.
const (
	stormUsers = 1000
	stormLead  = 300 * time.Millisecond
)

// storm has subscriptions refreshed all at once. The registrations beside
// have a thread of their own, so that their latency is the server's.
func (e *engine) storm(ctx context.Context, r *Report) error {
	side := *e.o
	side.Users, side.Rate = min(side.Users, stormUsers), side.StormRate
	side.Storm, side.ServerPID, side.Progress = 0, nil, nil
	side.Sockets, side.Connections = min(side.Sockets, side.Users), min(side.Connections, side.Users)
	beside, err := newEngine(&side)
	if err != nil {
		return err
	}
	defer beside.w.close()
	join := phase{name: "register", kind: kindRegister, window: side.Window, count: side.Users, inOrder: true}
	if err := beside.run(ctx, join, new(tally), nil); err != nil {
		return err
	}
	// Watchers may be told of the registrations.
	if err := e.quiet(ctx); err != nil {
		return err
	}

	var halt atomic.Bool
	var registers *Phase
	var sideErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		load := phase{name: "register", kind: kindRegister, rate: side.Rate, duration: time.Hour, halt: &halt}
		registers, sideErr = beside.measure(ctx, load)
	}()
	err = e.idle(ctx, stormLead)
	if err == nil {
		p := phase{name: "storm", kind: kindSubscribe, window: e.o.Storm, count: e.o.Storm, inOrder: true}
		r.Storm = &Storm{}
		r.Storm.Subscribe, err = e.measure(ctx, p)
	}
	halt.Store(true)
	<-done
	if err = errors.Join(err, sideErr); err != nil {
		return err
	}
	r.Storm.Register = registers
	if !e.o.Keep {
		return beside.wipe(ctx)
	}
	return nil
}

// idle answers what arrives for a while.
func (e *engine) idle(ctx context.Context, d time.Duration) error {
	e.tally = new(tally)
	for until := time.Now().Add(d); time.Now().Before(until); {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		if err := e.take(int64(scanTime)); err != nil {
			return err
		}
		if err := e.flush(); err != nil {
			return err
		}
	}
	return nil
}

// quietTime without a NOTIFY counts as quiet.
const quietTime = 100 * time.Millisecond

// quiet answers what arrives until no NOTIFY does, for two seconds at most.
func (e *engine) quiet(ctx context.Context) error {
	for until := time.Now().Add(lingering); time.Now().Before(until); {
		before := e.presence.received
		if err := e.idle(ctx, quietTime); err != nil {
			return err
		}
		if e.presence.received == before {
			break
		}
	}
	return nil
}

// lastStates waits until every watcher has the last state, for two seconds at
// most.
func (e *engine) lastStates(ctx context.Context) error {
	for until := time.Now().Add(lingering); time.Now().Before(until) && e.presence.lost() > 0; {
		if err := e.idle(ctx, quietTime); err != nil {
			return err
		}
	}
	return nil
}

// leave ends the subscriptions and removes the publications. Answers do not
// matter.
func (e *engine) leave(ctx context.Context) error {
	subs := phase{name: "leave", kind: kindUnsubscribe, window: e.o.Window, count: len(e.presence.subs), inOrder: true}
	if e.o.Hold > 0 {
		subs.count = e.o.Hold
	}
	if err := e.run(ctx, subs, new(tally), nil); err != nil {
		return err
	}
	if e.presence.presentities[0].number > 0 {
		p := phase{name: "leave", kind: kindUnpublish, window: e.o.Window, count: len(e.presence.presentities), inOrder: true}
		if err := e.run(ctx, p, new(tally), nil); err != nil {
			return err
		}
	}
	return e.quiet(ctx)
}
