package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run measured. Durations are in milliseconds or, where the
// name says so, microseconds; rates are for each second.
type Report struct {
	Operation   string    `json:"operation"` // "register", "message" or "presence"
	Server      string    `json:"server"`
	Transport   string    `json:"transport"`
	Domain      string    `json:"domain"`
	Algorithm   string    `json:"algorithm,omitempty"` // of the first challenge answered
	Users       int       `json:"users"`
	Window      int       `json:"window"`
	WantedRate  float64   `json:"wanted_rate,omitempty"` // of the open loop
	Challenged  bool      `json:"challenged"`            // no nonce was used twice
	Sockets     int       `json:"sockets"`               // or connections
	Started     time.Time `json:"started"`
	Setup       *Phase    `json:"setup"`                // registrations, or subscriptions
	Load        *Phase    `json:"load,omitempty"`       // nil with SetupOnly
	Deliveries  *Delivery `json:"deliveries,omitempty"` // of a message load
	MemoryStart uint64    `json:"memory_start_bytes,omitempty"`
	MemoryEnd   uint64    `json:"memory_end_bytes,omitempty"`

	// Of a presence load.
	Presentities  int            `json:"presentities,omitempty"`
	Watchers      int            `json:"watchers,omitempty"` // of each presentity
	Notifications *Notifications `json:"notifications,omitempty"`
	Storm         *Storm         `json:"storm,omitempty"` // with Options.Storm

	// With Options.Hold: the server's memory for each subscription, all told,
	// and for each of the last three quarters, when what transactions took at
	// their highest is there already; and its memory before these.
	MemoryEach float64 `json:"memory_subscription_bytes,omitempty"`
	MemoryMore float64 `json:"memory_more_bytes,omitempty"`
	MemoryMid  uint64  `json:"memory_mid_bytes,omitempty"`
}

// Phase is what one part of a run measured: the registration of every user,
// or the load after the warm-up.
type Phase struct {
	// Operations is how many ended, OK how many of them with a 2xx, Errors
	// how many with another final answer, Timeouts how many without one.
	Operations uint64            `json:"operations"`
	OK         uint64            `json:"ok"`
	Errors     uint64            `json:"errors"`
	Timeouts   uint64            `json:"timeouts"`
	Statuses   map[string]uint64 `json:"statuses"`
	// Retransmissions are requests sent again by Timer E, Challenges the 401
	// and 407 answered, Stale those of them that ended the use of a nonce,
	// Strays the answers that nobody waited for (mostly to retransmissions).
	Retransmissions uint64 `json:"retransmissions"`
	Challenges      uint64 `json:"challenges"`
	Stale           uint64 `json:"stale"`
	Strays          uint64 `json:"strays"`
	// Elapsed is the measured time in seconds, Rate the operations that
	// ended in it with a 2xx, for each second. The answers awaited after it
	// are counted above, but not here.
	Elapsed float64 `json:"elapsed_seconds"`
	Rate    float64 `json:"rate"`
	Latency Latency `json:"latency_ms"`
	// Late is how long after its time an operation of the open loop began because the generator did not run
	// then; those that waited for the server are not counted. As much of Latency is the machine's.
	Late *Latency `json:"late_ms,omitempty"`
	// GeneratorCPU and ServerCPU are user and system time in microseconds
	// for each operation that Rate counts.
	GeneratorCPU float64 `json:"generator_cpu_us"`
	ServerCPU    float64 `json:"server_cpu_us,omitempty"`
}

// Latency is the distribution of operations that ended with a final answer,
// in milliseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

func (l Latency) String() string {
	return fmt.Sprintf("p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f", l.P50, l.P90, l.P99, l.P999, l.Max)
}

// Delivery is what the receivers of a message load saw, warm-up included.
type Delivery struct {
	Sent            uint64 `json:"sent"`
	Delivered       uint64 `json:"delivered"`       // arrived at least once
	Duplicates      uint64 `json:"duplicates"`      // arrived again, by a new branch
	Retransmissions uint64 `json:"retransmissions"` // arrived again, by the same branch
	Lost            uint64 `json:"lost"`            // answered with 200, never arrived
	Strays          uint64 `json:"strays"`          // not of this run
}

// Notifications is what the watchers of a presence load saw, from the first
// SUBSCRIBE to the end of the load.
type Notifications struct {
	Subscriptions   int    `json:"subscriptions"`   // in force at the end
	Received        uint64 `json:"received"`        // NOTIFYs, each once
	Retransmissions uint64 `json:"retransmissions"` // that came again
	Disordered      uint64 `json:"disordered"`      // that came after a newer one
	Regressed       uint64 `json:"regressed"`       // in order, but with an older state than one before
	Ended           uint64 `json:"ended"`           // subscriptions that the server ended
	Lost            uint64 `json:"lost"`            // watchers without the last accepted state of their presentity
	Strays          uint64 `json:"strays"`          // requests to no subscription of this run
	// PerPublish is the NOTIFYs for each accepted PUBLISH: a server that
	// leaves states out has fewer than there are watchers.
	PerPublish float64 `json:"per_publish,omitempty"`
}

// Storm is what happened while subscriptions were refreshed all at once:
// Subscribe.Elapsed is the time until all were answered and notified.
type Storm struct {
	Subscribe *Phase `json:"subscribe"`
	Register  *Phase `json:"register"` // the registrations refreshed beside, in the open loop
}

// tally counts while a phase runs. It has one owner.
type tally struct {
	operations, ok, errors, timeouts           uint64
	retransmissions, challenges, stale, strays uint64
	statuses                                   [700]uint64
	latency, late                              histogram
}

// ended counts the end of an operation; status 0 is a timeout.
func (t *tally) ended(status int, took time.Duration) {
	t.operations++
	if status == 0 {
		return
	}
	t.statuses[status]++
	t.latency.add(took)
	if status < 300 {
		t.ok++
	} else {
		t.errors++
	}
}

func (t *tally) phase() *Phase {
	p := &Phase{
		Operations: t.operations, OK: t.ok, Errors: t.errors, Timeouts: t.timeouts,
		Retransmissions: t.retransmissions, Challenges: t.challenges, Stale: t.stale, Strays: t.strays,
		Statuses: map[string]uint64{},
		Latency:  t.latency.latency(),
	}
	if t.late.count > 0 {
		late := t.late.latency()
		p.Late = &late
	}
	for status, n := range t.statuses {
		if n > 0 {
			p.Statuses[fmt.Sprint(status)] = n
		}
	}
	return p
}

// latency is the distribution in milliseconds.
func (h *histogram) latency() Latency {
	return Latency{
		Mean: ms(h.mean()), P50: ms(h.quantile(0.50)), P90: ms(h.quantile(0.90)),
		P99: ms(h.quantile(0.99)), P999: ms(h.quantile(0.999)), Max: ms(h.max),
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Text writes the report as a table for people.
func (r *Report) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(t, name+"\t"+format+"\n", args...)
	}
	loop := fmt.Sprintf("closed loop, window %d", r.Window)
	if r.WantedRate > 0 {
		loop = fmt.Sprintf("open loop, %.0f/s", r.WantedRate)
	}
	if r.Challenged {
		loop += ", challenged each time"
	}
	line(r.Operation, "%s over %s, %d users, %d sockets, %s", r.Server, r.Transport, r.Users, r.Sockets, loop)
	if r.Watchers > 0 {
		line("watched", "%d users, each by %d", r.Presentities, r.Watchers)
	}
	if r.Algorithm != "" {
		line("digest", "%s", r.Algorithm)
	}
	if s := r.Setup; s != nil {
		done := "registered"
		if r.Watchers > 0 {
			done = "subscribed"
		}
		line(done, "%d of %d in %.2f s (%.0f/s)%s", s.OK, s.Operations, s.Elapsed, s.Rate, s.faults())
		if r.Load == nil && s.ServerCPU > 0 {
			line("server CPU", "%.2f µs for each that "+done, s.ServerCPU)
		}
	}
	if p := r.Load; p != nil {
		line("operations", "%d in %.2f s%s", p.Operations, p.Elapsed, p.faults())
		line("rate", "%.0f/s", p.Rate)
		line("latency ms", "%v", p.Latency)
		if p.Late != nil {
			line("generator late ms", "%v", *p.Late)
		}
		line("retransmissions", "%d", p.Retransmissions)
		line("challenges", "%d, %d of them for a stale nonce", p.Challenges, p.Stale)
		line("generator CPU", "%.2f µs for each operation", p.GeneratorCPU)
		if p.ServerCPU > 0 {
			line("server CPU", "%.2f µs for each operation", p.ServerCPU)
		}
	}
	if d := r.Deliveries; d != nil {
		line("deliveries", "%d of %d sent, %d lost, %d duplicates, %d retransmissions", d.Delivered, d.Sent, d.Lost, d.Duplicates, d.Retransmissions)
	}
	if st := r.Storm; st != nil {
		p := st.Subscribe
		line("storm", "%d subscriptions refreshed in %.2f s, %d retransmissions%s", p.Operations, p.Elapsed, p.Retransmissions, p.faults())
		p = st.Register
		line("registrations beside", "%d, p50 %.2f ms  p99 %.2f ms  max %.2f ms%s", p.Operations, p.Latency.P50, p.Latency.P99, p.Latency.Max, p.faults())
	}
	if n := r.Notifications; n != nil {
		line("notifications", "%d to %d subscriptions, %d retransmissions, %d out of order, %d with an older state",
			n.Received, n.Subscriptions, n.Retransmissions, n.Disordered, n.Regressed)
		if n.PerPublish > 0 {
			line("for each PUBLISH", "%.2f NOTIFYs", n.PerPublish)
		}
		line("last states lost", "%d; %d subscriptions ended by the server", n.Lost, n.Ended)
	}
	if r.MemoryEach > 0 {
		line("server memory", "%.0f bytes for each subscription, %.0f for each of the last three quarters", r.MemoryEach, r.MemoryMore)
	}
	if r.MemoryEnd > 0 {
		line("server memory", "%.1f MB before, %.1f MB after", float64(r.MemoryStart)/1e6, float64(r.MemoryEnd)/1e6)
	}
	return t.Flush()
}

// faults names what did not end in a 2xx.
func (p *Phase) faults() string {
	var parts []string
	for status, n := range p.Statuses {
		if status != "200" {
			parts = append(parts, fmt.Sprintf("%d × %s", n, status))
		}
	}
	slices.Sort(parts)
	if p.Timeouts > 0 {
		parts = append(parts, fmt.Sprintf("%d timeouts", p.Timeouts))
	}
	if parts == nil {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}
