package main

import (
	"context"
	"fmt"
	"time"

	"rollcall/bench"
)

// tries is how often a run is made while something else uses the machine.
const tries = 3

// one runs a load on a server, and again if something else used the machine
// meanwhile.
func (p *plan) one(ctx context.Context, s *server, part, transport string, o bench.Options) (run, error) {
	for try := 1; ; try++ {
		got, err := p.once(ctx, s, part, transport, o)
		if err != nil || !got.Noisy || try == tries {
			return got, err
		}
	}
}

// once runs a load on a server.
func (p *plan) once(ctx context.Context, s *server, part, transport string, o bench.Options) (run, error) {
	load := bench.Register
	switch part {
	case "message":
		load = bench.Message
	case "presence":
		load = bench.Presence
	}
	o.Challenge = part == challenged
	before, err := takeShare()
	if err != nil {
		return run{}, err
	}
	slow, err := s.slowSyncs(ctx)
	if err != nil {
		return run{}, err
	}
	r, err := load(ctx, o)
	if err != nil {
		return run{}, fmt.Errorf("%s over %s on %s: %w", part, transport, s.name, err)
	}
	others, err := before.others()
	if err != nil {
		return run{}, err
	}
	now, err := s.slowSyncs(ctx)
	if err != nil {
		return run{}, err
	}
	slow = now - slow
	fmt.Fprintf(p.log, "%-10s %-8s %s: %s, others %.0f %%%s", part, s.name, transport, summary(r), others*100, troubles(r))
	if slow > 0 {
		fmt.Fprintf(p.log, ", the disk took over 10 ms %d times", slow)
	}
	fmt.Fprintln(p.log)
	if p.verbose {
		if err := r.Text(p.log); err != nil {
			return run{}, err
		}
	}
	noisy := others > p.noise
	if noisy {
		fmt.Fprintf(p.log, "something else used %.0f %% of the machine\n", others*100)
	}
	return run{Report: r, Others: others, Noisy: noisy, SlowSyncs: slow}, nil
}

// summary is a run's figures in a line.
func summary(r *bench.Report) string {
	if st := r.Storm; st != nil {
		return fmt.Sprintf("%d refreshed in %.2f s, %.0f REGISTER/s beside with p99 %.2f ms",
			st.Subscribe.OK, st.Subscribe.Elapsed, st.Register.Rate, st.Register.Latency.P99)
	}
	if r.Load == nil {
		return fmt.Sprintf("%d subscriptions, %.0f bytes each, %.0f for each of the last three quarters",
			r.Notifications.Subscriptions, r.MemoryEach, r.MemoryMore)
	}
	s := fmt.Sprintf("%.0f/s, server %.2f µs, generator %.2f µs, p99 %.2f ms",
		r.Load.Rate, r.Load.ServerCPU, r.Load.GeneratorCPU, r.Load.Latency.P99)
	if late := r.Load.Late; late != nil {
		s += fmt.Sprintf(" (generator late %.2f ms)", late.P99)
	}
	return s
}

// troubles names what makes a run's figures doubtful.
func troubles(r *bench.Report) string {
	s := ""
	load := r.Load
	switch {
	case r.Storm != nil:
		load = r.Storm.Subscribe
	case load == nil:
		load = r.Setup
	}
	if n := load.Errors + load.Timeouts; n > 0 {
		s += fmt.Sprintf(", %d failed", n)
	}
	if n := load.Retransmissions; n > 0 {
		s += fmt.Sprintf(", %d retransmissions", n)
	}
	if n := r.Notifications; n != nil && n.Lost+n.Ended+n.Regressed > 0 {
		s += fmt.Sprintf(", %d last states lost, %d subscriptions ended, %d NOTIFYs with an older state", n.Lost, n.Ended, n.Regressed)
	}
	if d := r.Deliveries; d != nil && d.Lost+d.Duplicates > 0 {
		s += fmt.Sprintf(", %d lost, %d duplicates", d.Lost, d.Duplicates)
	}
	return s
}

// open starts the servers of the plan, to be used in turn.
func (p *plan) open(ctx context.Context, accounts int) ([]*server, error) {
	var all []*server
	for _, name := range p.servers {
		var s *server
		var err error
		if name == kamailioName {
			s, err = p.startKamailio(ctx, true)
		} else {
			s, _, err = p.startRollcall(ctx, "embedded:", accounts)
		}
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func closeAll(all []*server) {
	for _, s := range all {
		s.stop()
	}
}

// pause lets a server finish what it does after a load.
const pause = time.Second

// compare puts the same load on both servers in turn: A B A B.
func (p *plan) compare(ctx context.Context, part string, r *results) error {
	for _, transport := range p.transports {
		servers, err := p.open(ctx, p.users)
		if err != nil {
			return err
		}
		name := part
		if part == challenged {
			name = "register, challenged"
		}
		row := comparison{Operation: name, Transport: transport, Runs: map[string][]run{}}
		err = p.turns(ctx, servers, part, transport, &row)
		closeAll(servers)
		r.Comparisons = append(r.Comparisons, row)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) turns(ctx context.Context, servers []*server, part, transport string, row *comparison) error {
	for range p.rounds {
		for _, s := range servers {
			got, err := p.one(ctx, s, part, transport, p.options(s, transport))
			if err != nil {
				return err
			}
			row.Runs[s.name] = append(row.Runs[s.name], got)
			if err := sleep(ctx, pause); err != nil {
				return err
			}
		}
	}
	return nil
}

// latency measures MESSAGE at half of each server's own highest rate, in the
// open loop.
func (p *plan) latency(ctx context.Context, r *results) error {
	for _, transport := range p.transports {
		servers, err := p.open(ctx, p.users)
		if err != nil {
			return err
		}
		row := comparison{Operation: "message at half load", Transport: transport, Runs: map[string][]run{}}
		err = p.halves(ctx, servers, transport, &row)
		closeAll(servers)
		r.Comparisons = append(r.Comparisons, row)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) halves(ctx context.Context, servers []*server, transport string, row *comparison) error {
	for _, s := range servers {
		o := p.options(s, transport)
		highest, err := p.one(ctx, s, "message", transport, o)
		if err != nil {
			return err
		}
		o.Rate = highest.Report.Load.Rate / 2
		for range p.rounds {
			if err := sleep(ctx, pause); err != nil {
				return err
			}
			got, err := p.one(ctx, s, "message", transport, o)
			if err != nil {
				return err
			}
			row.Runs[s.name] = append(row.Runs[s.name], got)
		}
	}
	return nil
}

// memory registers many users and looks at what the servers hold then; and it
// measures how long rollcall takes to start with many accounts.
func (p *plan) memory(ctx context.Context, r *results) error {
	for _, name := range p.servers {
		var s *server
		var err error
		if name == kamailioName {
			s, err = p.startKamailio(ctx, false)
		} else {
			s, _, err = p.startRollcall(ctx, "embedded:", p.many)
		}
		if err != nil {
			return err
		}
		m, err := p.hold(ctx, s)
		s.stop()
		if err != nil {
			return err
		}
		r.Memory = append(r.Memory, m)
		if name != rollcallName {
			continue
		}
		s, imported, err := p.startRollcall(ctx, "embedded:", p.accounts)
		if err != nil {
			return err
		}
		r.Start = &startTime{Accounts: p.accounts, Import: imported.Seconds(), Ready: s.ready.Seconds()}
		s.stop()
		fmt.Fprintf(p.log, "start      rollcall: %d accounts imported in %.2f s, ready in %.2f s\n", p.accounts, imported.Seconds(), s.ready.Seconds())
	}
	return nil
}

// hold registers the users and waits until the server's memory is at rest.
func (p *plan) hold(ctx context.Context, s *server) (memory, error) {
	before, err := bench.SettledMemory(ctx, s.pids, 0)
	if err != nil {
		return memory{}, err
	}
	o := p.options(s, "udp")
	o.Users = p.many
	o.SetupOnly, o.Keep = true, true
	report, err := bench.Register(ctx, o)
	if err != nil {
		return memory{}, err
	}
	after, err := bench.SettledMemory(ctx, s.pids, bench.TransactionLife)
	if err != nil {
		return memory{}, err
	}
	m := memory{Server: s.name, Users: int(report.Setup.OK), Before: before, After: after, Setup: report.Setup}
	fmt.Fprintf(p.log, "memory     %s: %d users, %.1f MB before, %.1f MB after\n", s.name, m.Users, float64(before)/1e6, float64(after)/1e6)
	return m, nil
}

// redisWindow is how many times the operations under way are on Redis: each waits for a round trip, in which others
// can be done, and with few the rate is that of the waiting.
const redisWindow = 4

// redis measures rollcall with its state in Redis, the CPU of Redis included.
func (p *plan) redis(ctx context.Context, r *results) error {
	if p.binary == "" {
		return nil
	}
	for _, part := range []string{"register", "message"} {
		row := comparison{Operation: part + " on Redis", Transport: "udp", Runs: map[string][]run{}}
		err := p.onRedis(ctx, part, &row)
		r.Comparisons = append(r.Comparisons, row)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) onRedis(ctx context.Context, part string, row *comparison) error {
	proc, url, err := p.startRedis(ctx)
	if err != nil {
		return err
	}
	defer proc.stop()
	s, _, err := p.startRollcall(ctx, url, p.users)
	if err != nil {
		return err
	}
	defer s.stop()
	s.pids = append(s.pids, proc.cmd.Process.Pid)
	of := *p
	of.window *= redisWindow
	return of.turns(ctx, []*server{s}, part, "udp", row)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
