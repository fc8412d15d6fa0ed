package main

import (
	"context"
	"fmt"
	"time"

	"rollcall/bench"
)

// one runs a load on a server, and again if something else used the machine
// meanwhile.
func (p *plan) one(ctx context.Context, s *server, part, transport string, o bench.Options) (run, error) {
	load := bench.Register
	if part == "message" {
		load = bench.Message
	}
	o.Challenge = part == challenged
	const tries = 3
	for try := 1; ; try++ {
		before, err := takeShare()
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
		fmt.Fprintf(p.log, "%-10s %-8s %s: %.0f/s, server %.2f µs, generator %.2f µs, p99 %.2f ms, others %.0f %%%s\n",
			part, s.name, transport, r.Load.Rate, r.Load.ServerCPU, r.Load.GeneratorCPU, r.Load.Latency.P99, others*100, troubles(r))
		if p.verbose {
			if err := r.Text(p.log); err != nil {
				return run{}, err
			}
		}
		if noisy := others > p.noise; !noisy || try == tries {
			return run{Report: r, Others: others, Noisy: noisy}, nil
		}
		fmt.Fprintf(p.log, "something else used %.0f %% of the machine; once more\n", others*100)
	}
}

// troubles names what makes a run's figures doubtful.
func troubles(r *bench.Report) string {
	s := ""
	if n := r.Load.Errors + r.Load.Timeouts; n > 0 {
		s += fmt.Sprintf(", %d failed", n)
	}
	if n := r.Load.Retransmissions; n > 0 {
		s += fmt.Sprintf(", %d retransmissions", n)
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
	before, err := bench.SettledMemory(ctx, s.pids)
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
	after, err := bench.SettledMemory(ctx, s.pids)
	if err != nil {
		return memory{}, err
	}
	m := memory{Server: s.name, Users: int(report.Setup.OK), Before: before, After: after, Setup: report.Setup}
	fmt.Fprintf(p.log, "memory     %s: %d users, %.1f MB before, %.1f MB after\n", s.name, m.Users, float64(before)/1e6, float64(after)/1e6)
	return m, nil
}

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
	return p.turns(ctx, []*server{s}, part, "udp", row)
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
