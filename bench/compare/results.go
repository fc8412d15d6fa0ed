package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"rollcall/bench"
)

// results is everything that was measured; it is what --json writes.
type results struct {
	Comparisons []comparison `json:"comparisons"`
	// Records are of rollcall with all that makes the record, beside rollcall with a plain journal.
	Records []comparison `json:"records,omitempty"`
	Memory  []memory     `json:"memory,omitempty"`
	Start   *startTime   `json:"start,omitempty"`
	// Of presence.
	Held   []held     `json:"subscriptions_held,omitempty"`
	Storms []stormRow `json:"storms,omitempty"`
}

// comparison is one row: the runs of one operation by server, in the order in
// which they were made.
type comparison struct {
	Operation string           `json:"operation"`
	Transport string           `json:"transport"`
	Runs      map[string][]run `json:"runs"`
}

type run struct {
	Report *bench.Report `json:"report"`
	Others float64       `json:"others"` // share of the machine that other programs used
	Noisy  bool          `json:"noisy"`  // more than the plan allows, and so in all tries
	// SlowSyncs counts, from setup to end, how often the disk took more than 10 ms.
	SlowSyncs uint64 `json:"slow_syncs"`
}

type memory struct {
	Server string       `json:"server"`
	Users  int          `json:"users"`
	Before uint64       `json:"before_bytes"`
	After  uint64       `json:"after_bytes"`
	Setup  *bench.Phase `json:"setup"`
}

type startTime struct {
	Accounts int     `json:"accounts"`
	Import   float64 `json:"import_seconds"`
	Ready    float64 `json:"ready_seconds"`
}

// held is the memory of subscriptions.
type held struct {
	Server string `json:"server"`
	run
}

// stormRow is a run in which subscriptions were refreshed all at once.
type stormRow struct {
	Server string `json:"server"`
	run
}

// median of a figure over runs; false if there are none.
func median(values []float64) (float64, bool) {
	if len(values) == 0 {
		return 0, false
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2, true
	}
	return s[len(s)/2], true
}

func of(runs []run, f func(*bench.Phase) float64) []float64 {
	var v []float64
	for _, r := range runs {
		v = append(v, f(r.Report.Load))
	}
	return v
}

func serverCPU(p *bench.Phase) float64 { return p.ServerCPU }
func rate(p *bench.Phase) float64      { return p.Rate }
func p99(p *bench.Phase) float64       { return p.Latency.P99 }

// ratio is the median of rollcall's CPU over Kamailio's, pair by pair.
func (c comparison) ratio() (float64, bool) { return c.ratioTo(kamailioName) }

// ratioTo is the median of rollcall's CPU over another's, pair by pair.
func (c comparison) ratioTo(other string) (float64, bool) {
	a, b := of(c.Runs[other], serverCPU), of(c.Runs[rollcallName], serverCPU)
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if a[i] > 0 {
			ratios = append(ratios, b[i]/a[i])
		}
	}
	return median(ratios)
}

// remarks names what makes the row's figures doubtful.
func (c comparison) remarks() string {
	var failed, lost, duplicates uint64
	var slow uint64
	noisy := 0
	for _, runs := range c.Runs {
		for _, r := range runs {
			failed += r.Report.Load.Errors + r.Report.Load.Timeouts
			if d := r.Report.Deliveries; d != nil {
				lost += d.Lost
				duplicates += d.Duplicates
			}
			if n := r.Report.Notifications; n != nil {
				lost += n.Lost
			}
			slow += r.SlowSyncs
			if r.Noisy {
				noisy++
			}
		}
	}
	s := ""
	add := func(n uint64, what string) {
		if n > 0 {
			if s != "" {
				s += ", "
			}
			s += fmt.Sprintf("%d %s", n, what)
		}
	}
	add(failed, "failed")
	add(lost, "lost")
	add(duplicates, "duplicates")
	add(uint64(noisy), "runs beside other load")
	add(slow, "times the disk took over 10 ms")
	return s
}

// cell writes a figure, or a dash where there is none.
func cell(format string) func(v float64, ok bool) string {
	return func(v float64, ok bool) string {
		if !ok {
			return "-"
		}
		return fmt.Sprintf(format, v)
	}
}

// print writes the tables.
func (r *results) print(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(r.Comparisons) > 0 {
		micros, perSecond, factor := cell("%.1f"), cell("%.0f"), cell("%.2f")
		fmt.Fprintln(t, "operation\ttransport\tKamailio µs/op\trollcall µs/op\tratio\tKamailio /s\trollcall /s\tKamailio p99 ms\trollcall p99 ms\tremarks")
		for _, c := range r.Comparisons {
			a, b := c.Runs[kamailioName], c.Runs[rollcallName]
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Operation, c.Transport,
				micros(median(of(a, serverCPU))), micros(median(of(b, serverCPU))), factor(c.ratio()),
				perSecond(median(of(a, rate))), perSecond(median(of(b, rate))),
				factor(median(of(a, p99))), factor(median(of(b, p99))), c.remarks())
		}
		fmt.Fprintln(t)
	}
	if len(r.Records) > 0 {
		micros, perSecond, factor := cell("%.1f"), cell("%.0f"), cell("%.2f")
		fmt.Fprintln(t, "record\ttransport\tplain journal µs/op\twith tree, sealing, index and policy\tratio\tplain /s\tall /s\tremarks")
		for _, c := range r.Records {
			a, b := c.Runs[plainName], c.Runs[rollcallName]
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Operation, c.Transport, micros(median(of(a, serverCPU))), micros(median(of(b, serverCPU))),
				factor(c.ratioTo(plainName)), perSecond(median(of(a, rate))), perSecond(median(of(b, rate))), c.remarks())
		}
		fmt.Fprintln(t)
	}
	if len(r.Memory) > 0 {
		fmt.Fprintln(t, "memory\tusers\tbefore MB\tregistered MB\tbytes for each registration\tbytes for each user, all told")
		for _, m := range r.Memory {
			users := float64(max(m.Users, 1))
			fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.0f\t%.0f\n", m.Server, m.Users, float64(m.Before)/1e6, float64(m.After)/1e6,
				(float64(m.After)-float64(m.Before))/users, float64(m.After)/users)
		}
		fmt.Fprintln(t)
	}
	if len(r.Held) > 0 {
		fmt.Fprintln(t, "memory\tsubscriptions\tbefore MB\tafter MB\tbytes for each, all told\tfor each of the last three quarters")
		for _, h := range r.Held {
			fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.0f\t%.0f\n", h.Server, h.Report.Notifications.Subscriptions,
				float64(h.Report.MemoryStart)/1e6, float64(h.Report.MemoryEnd)/1e6, h.Report.MemoryEach, h.Report.MemoryMore)
		}
		fmt.Fprintln(t)
	}
	if len(r.Storms) > 0 {
		fmt.Fprintln(t, "storm\tsubscriptions\tseconds until all are notified\tretransmissions\tfailed\tREGISTER beside\tp50 ms\tp99 ms\tmax ms")
		for _, row := range r.Storms {
			st := row.Report.Storm
			fmt.Fprintf(t, "%s\t%d\t%.2f\t%d\t%d\t%d\t%.2f\t%.2f\t%.2f\n", row.Server, st.Subscribe.OK, st.Subscribe.Elapsed,
				st.Subscribe.Retransmissions, st.Subscribe.Errors+st.Subscribe.Timeouts, st.Register.OK,
				st.Register.Latency.P50, st.Register.Latency.P99, st.Register.Latency.Max)
		}
		fmt.Fprintln(t)
	}
	if s := r.Start; s != nil {
		fmt.Fprintf(t, "start\t%d accounts\timported in %.2f s\tready in %.2f s\n", s.Accounts, s.Import, s.Ready)
	}
	return t.Flush()
}
