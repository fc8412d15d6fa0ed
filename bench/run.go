package bench

import (
	"context"
	"fmt"
	"time"
)

// Register registers every user, each challenged once, and then refreshes
// registrations of users chosen at random for the measured time. It returns
// an error, and no report, if the load could not be put on the server;
// answers other than 2xx are in the report.
func Register(ctx context.Context, o Options) (*Report, error) {
	return load(ctx, o, "register", kindRegister)
}

// Message registers every user and then sends MESSAGEs between users chosen
// at random for the measured time. Receivers answer with 200 at once; each
// body has a number, by which deliveries, duplicates and losses are counted.
func Message(ctx context.Context, o Options) (*Report, error) {
	return load(ctx, o, "message", kindMessage)
}

func load(ctx context.Context, o Options, operation string, k kind) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e, err := newEngine(&o)
	if err != nil {
		return nil, err
	}
	defer e.w.close()

	r := e.newReport(operation)
	if r.MemoryStart, err = Memory(o.ServerPID); err != nil {
		return nil, err
	}
	setup := phase{name: "setup", kind: kindRegister, window: o.Window, count: o.Users, inOrder: true}
	if r.Setup, err = e.measure(ctx, setup); err != nil {
		return nil, err
	}
	if r.Setup.OK == 0 {
		return nil, fmt.Errorf("bench: no user could be registered%s", r.Setup.faults())
	}
	if !o.SetupOnly {
		if o.Warmup > 0 {
			warm := phase{name: "warm-up", kind: k, window: o.Window, rate: o.Rate, duration: o.Warmup}
			if err := e.run(ctx, warm, new(tally), nil); err != nil {
				return nil, err
			}
		}
		main := phase{name: operation, kind: k, window: o.Window, rate: o.Rate, duration: o.Duration, count: o.Count}
		if r.Load, err = e.measure(ctx, main); err != nil {
			return nil, err
		}
	}
	r.Algorithm = e.alg
	if r.MemoryEnd, err = Memory(o.ServerPID); err != nil {
		return nil, err
	}
	if k == kindMessage && !o.SetupOnly {
		if err := e.linger(ctx); err != nil {
			return nil, err
		}
		b := e.inbox
		r.Deliveries = &Delivery{
			Sent: uint64(len(b.entries)), Delivered: b.delivered, Duplicates: b.duplicates,
			Retransmissions: b.retransmissions, Lost: b.lost(), Strays: b.strays,
		}
	}
	if !o.Keep {
		if err := e.wipe(ctx); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// newReport returns a report that says what the load is.
func (e *engine) newReport(operation string) *Report {
	o := e.o
	r := &Report{
		Operation: operation, Server: o.Server, Transport: o.Transport, Domain: o.Domain,
		Users: o.Users, Window: min(o.Window, o.Users), WantedRate: o.Rate, Challenged: o.Challenge,
		Sockets: o.Sockets, Started: time.Now().UTC(),
	}
	if !e.udp {
		r.Sockets = o.Connections
	}
	return r
}

// measure runs a phase and reports it. Rate and CPU time are those of the
// time in which operations began: what is awaited afterwards is too little
// load to say anything.
func (e *engine) measure(ctx context.Context, p phase) (*Phase, error) {
	t := new(tally)
	server, err := CPUTime(e.o.ServerPID)
	if err != nil {
		return nil, err
	}
	own := ownCPU()
	began := time.Now()
	var elapsed, serverUsed, ownUsed time.Duration
	var ok uint64
	var cpuErr error
	stop := func() {
		elapsed = time.Since(began)
		ownUsed = ownCPU() - own
		ok = t.ok
		var used time.Duration
		used, cpuErr = CPUTime(e.o.ServerPID)
		serverUsed = used - server
	}
	atEnd := p.count > 0 && p.duration == 0
	closed := stop
	if atEnd {
		closed = nil
	}
	if err := e.run(ctx, p, t, closed); err != nil {
		return nil, err
	}
	if atEnd {
		stop()
	}
	if cpuErr != nil {
		return nil, cpuErr
	}
	r := t.phase()
	r.Elapsed = elapsed.Seconds()
	if ok > 0 {
		r.Rate = float64(ok) / elapsed.Seconds()
		r.GeneratorCPU = float64(ownUsed) / 1e3 / float64(ok)
		r.ServerCPU = float64(serverUsed) / 1e3 / float64(ok)
	}
	return r, nil
}

// lingering bounds the wait for deliveries that come after their answer.
const lingering = 2 * time.Second

// linger goes on receiving until every message has arrived, or nothing has
// for a while.
func (e *engine) linger(ctx context.Context) error {
	e.tally = new(tally)
	for until := time.Now().Add(lingering); time.Now().Before(until) && e.inbox.lost() > 0; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("bench: late deliveries: %w", err)
		}
		for range 20 {
			if err := e.take(int64(scanTime)); err != nil {
				return err
			}
			if err := e.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}
