package main

import (
	"context"
	"fmt"

	"rollcall/bench"
)

// starter starts a server of its own for one run.
type starter func(ctx context.Context) (*server, error)

// fresh makes a run on a server that is started for it and stopped after it,
// and again on another if something else used the machine meanwhile. Kamailio
// wants that: subscriptions made again in the same process get no more
// NOTIFYs there.
func (p *plan) fresh(ctx context.Context, begin starter, transport string, set func(*bench.Options)) (run, error) {
	for try := 1; ; try++ {
		s, err := begin(ctx)
		if err != nil {
			return run{}, err
		}
		o := p.options(s, transport)
		o.Keep = true
		set(&o)
		got, err := p.once(ctx, s, "presence", transport, o)
		s.stop()
		if err != nil || !got.Noisy || try == tries {
			return got, err
		}
	}
}

// starters are those of the servers of the plan, to be used in turn.
func (p *plan) starters(kamailio, rollcall starter) (names []string, begin map[string]starter) {
	return p.servers, map[string]starter{kamailioName: kamailio, rollcallName: rollcall}
}

// inMemory is Kamailio with its state in memory, and rollcall with the
// embedded store, whose state is on disk within a second.
func (p *plan) inMemory(accounts int, prealloc bool) (names []string, begin map[string]starter) {
	return p.starters(
		func(ctx context.Context) (*server, error) { return p.startKamailioPresence(ctx, prealloc) },
		func(ctx context.Context) (*server, error) {
			s, _, err := p.startRollcall(ctx, "embedded:", accounts)
			return s, err
		})
}

// durable is Kamailio on MariaDB and rollcall on Redis, the databases
// included.
func (p *plan) durable(accounts int) (names []string, begin map[string]starter) {
	return p.starters(p.startKamailioMariaDB, func(ctx context.Context) (*server, error) {
		redis, url, err := p.startRedis(ctx)
		if err != nil {
			return nil, err
		}
		s, _, err := p.startRollcall(ctx, url, accounts)
		if err != nil {
			redis.stop()
			return nil, err
		}
		s.pids = append(s.pids, redis.cmd.Process.Pid)
		s.procs = append([]*process{redis}, s.procs...)
		return s, nil
	})
}

// rows makes the runs of one comparison in turn: A B A B.
func (p *plan) rows(ctx context.Context, r *results, operation, transport string, names []string, begin map[string]starter, set func(*bench.Options)) error {
	row := comparison{Operation: operation, Transport: transport, Runs: map[string][]run{}}
	err := func() error {
		for range p.rounds {
			for _, name := range names {
				got, err := p.fresh(ctx, begin[name], transport, set)
				if err != nil {
					return err
				}
				row.Runs[name] = append(row.Runs[name], got)
			}
		}
		return nil
	}()
	r.Comparisons = append(r.Comparisons, row)
	return err
}

// watched are the loads of the presence part: so many subscriptions that they
// do not all fit the processor's cache.
var watched = []struct{ watchers, presentities int }{{1, 5000}, {5, 2000}, {50, 400}}

// maxNotifies is how many NOTIFYs are under way at most.
const maxNotifies = 1600

// tcpWatchers is the number of watchers measured over TCP.
const tcpWatchers = 5

// presence measures PUBLISH with its NOTIFYs; over TCP with 5 watchers alone.
func (p *plan) presence(ctx context.Context, r *results) error {
	for _, transport := range p.transports {
		for _, w := range watched {
			if transport == "tcp" && w.watchers != tcpWatchers {
				continue
			}
			names, begin := p.inMemory(w.presentities, true)
			operation := fmt.Sprintf("PUBLISH with %d NOTIFY", w.watchers)
			err := p.rows(ctx, r, operation, transport, names, begin, func(o *bench.Options) {
				o.Users, o.Watchers = w.presentities, w.watchers
				// More NOTIFYs under way than that only fill receive buffers.
				o.Window = min(o.Window, maxNotifies/w.watchers)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// presenceDurable does with a database what presence does with 5 watchers.
func (p *plan) presenceDurable(ctx context.Context, r *results) error {
	w := watched[1]
	names, begin := p.durable(w.presentities)
	return p.rows(ctx, r, fmt.Sprintf("PUBLISH with %d NOTIFY, MariaDB / Redis", w.watchers), "udp", names, begin, func(o *bench.Options) {
		o.Users, o.Watchers = w.presentities, w.watchers
	})
}

// presenceLatency measures the time from a PUBLISH to the last of 1,000
// NOTIFYs, one PUBLISH at a time.
func (p *plan) presenceLatency(ctx context.Context, r *results) error {
	const watchers = 1000
	names, begin := p.inMemory(watchers+1, true)
	return p.rows(ctx, r, fmt.Sprintf("PUBLISH with %d NOTIFY, one at a time", watchers), "udp", names, begin, func(o *bench.Options) {
		o.Users, o.Presentities, o.Watchers = watchers+1, 1, watchers
	})
}

// holdRate is at how many a second subscriptions to hold are made: slow enough
// that what transactions take is little beside them.
const holdRate = 5000

// presenceMemory makes many subscriptions and looks at what the servers hold
// then.
func (p *plan) presenceMemory(ctx context.Context, r *results) error {
	names, begin := p.inMemory(p.users, false)
	for _, name := range names {
		got, err := p.fresh(ctx, begin[name], "udp", func(o *bench.Options) { o.Hold, o.Rate = p.held, holdRate })
		if err != nil {
			return err
		}
		r.Held = append(r.Held, held{Server: name, run: got})
	}
	return nil
}

// stormWatchers is how many watch each presentity in a storm.
const stormWatchers = 20

// storm has subscriptions refreshed all at once, each by another user, beside
// registrations.
func (p *plan) storm(ctx context.Context, r *results) error {
	names, begin := p.inMemory(p.stormed, true)
	for range p.rounds {
		for _, name := range names {
			got, err := p.fresh(ctx, begin[name], "udp", func(o *bench.Options) {
				o.Users, o.Watchers, o.Presentities, o.Storm = p.stormed, stormWatchers, p.stormed/stormWatchers, p.stormed
			})
			if err != nil {
				return err
			}
			r.Storms = append(r.Storms, stormRow{Server: name, run: got})
		}
	}
	return nil
}
