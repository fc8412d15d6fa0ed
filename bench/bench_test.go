package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/bench"
)

// small is a load that takes a fraction of a second.
func small(r *responder, transport string) bench.Options {
	o := bench.DefaultOptions(r.addr)
	o.Transport = transport
	o.Domain = "example.com"
	o.Users = 50
	o.Window = 10
	o.Count = 500
	o.Duration = 0
	o.Warmup = 0
	o.Sockets = 3
	o.Connections = 4
	o.T1 = 30 * time.Millisecond
	return o
}

func register(t *testing.T, o bench.Options) *bench.Report {
	t.Helper()
	report, err := bench.Register(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func message(t *testing.T, o bench.Options) *bench.Report {
	t.Helper()
	report, err := bench.Message(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// wantAll checks that every operation ended well.
func wantAll(t *testing.T, p *bench.Phase, n uint64) {
	t.Helper()
	if p.Operations != n || p.OK != n || p.Statuses["200"] != n || p.Errors != 0 || p.Timeouts != 0 {
		t.Errorf("operations %d, ok %d, statuses %v, timeouts %d; want %d, all 200", p.Operations, p.OK, p.Statuses, p.Timeouts, n)
	}
}

func TestRegister(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			r := newResponder(t, nil)
			report := register(t, small(r, transport))
			wantAll(t, report.Setup, 50)
			wantAll(t, report.Load, 500)
			if report.Setup.Challenges != 50 || report.Load.Challenges != 0 {
				t.Errorf("challenges %d and %d, want one for each user, then none", report.Setup.Challenges, report.Load.Challenges)
			}
			if report.Algorithm != "MD5" {
				t.Errorf("algorithm %q", report.Algorithm)
			}
			l := report.Load.Latency
			if l.P50 <= 0 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max {
				t.Errorf("latency %+v does not rise", l)
			}
			if report.Load.Rate <= 0 || report.Load.Elapsed <= 0 {
				t.Errorf("rate %v in %v s", report.Load.Rate, report.Load.Elapsed)
			}
			if n := len(r.bound()); n != 0 {
				t.Errorf("%d registrations are left", n)
			}
		})
	}
}

func TestKeepAndSetupOnly(t *testing.T) {
	r := newResponder(t, nil)
	o := small(r, "udp")
	o.Keep, o.SetupOnly, o.First = true, true, 7
	report := register(t, o)
	wantAll(t, report.Setup, 50)
	if report.Load != nil {
		t.Error("a load was run")
	}
	if b := r.bound(); len(b) != 50 || b["u000007"] == "" || b["u000056"] == "" {
		t.Errorf("bindings %v", b)
	}
}

func TestDuration(t *testing.T) {
	r := newResponder(t, nil)
	o := small(r, "udp")
	o.Count, o.Duration, o.Warmup = 0, 200*time.Millisecond, 50*time.Millisecond
	report := register(t, o)
	if e := report.Load.Elapsed; e < 0.2 || e > 1 {
		t.Errorf("took %v s, want 0.2", e)
	}
	wantAll(t, report.Load, report.Load.Operations)
}

func TestAlgorithms(t *testing.T) {
	tests := []struct {
		offered []string
		ask     string
		noQop   bool
		want    string
	}{
		{[]string{"SHA-256", "MD5"}, "auto", false, "SHA-256"},
		{[]string{"SHA-256", "MD5"}, "MD5", false, "MD5"},
		{[]string{"SHA-512", "AKAv1-MD5", "MD5", "SHA-256"}, "auto", false, "MD5"},
		{[]string{"MD5"}, "auto", true, "MD5"},
	}
	for _, test := range tests {
		r := newResponder(t, func(r *responder) { r.algorithms, r.noQop = test.offered, test.noQop })
		o := small(r, "udp")
		o.Count, o.Algorithm = 100, test.ask
		report := register(t, o)
		wantAll(t, report.Load, 100)
		if report.Algorithm != test.want {
			t.Errorf("offered %v, asked for %s: %s, want %s", test.offered, test.ask, report.Algorithm, test.want)
		}
	}
}

func TestChallengeEachTime(t *testing.T) {
	r := newResponder(t, nil)
	o := small(r, "udp")
	o.Challenge = true
	report := register(t, o)
	wantAll(t, report.Load, 500)
	if report.Load.Challenges != 500 || report.Load.Stale != 0 {
		t.Errorf("challenges %d, stale %d; want 500, 0", report.Load.Challenges, report.Load.Stale)
	}
}

func TestStaleNonceIsFollowed(t *testing.T) {
	r := newResponder(t, func(r *responder) { r.nonceUses = 5 })
	report := register(t, small(r, "udp"))
	wantAll(t, report.Load, 500)
	// Each user uses a nonce five times: 550 uses need at least 110 nonces.
	if n := report.Load.Stale; n < 60 || n != report.Load.Challenges {
		t.Errorf("stale %d of %d challenges", n, report.Load.Challenges)
	}
}

func TestWrongPassword(t *testing.T) {
	r := newResponder(t, nil)
	o := small(r, "udp")
	o.Password = func(string) string { return "wrong" }
	_, err := bench.Register(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "50 × 401") {
		t.Errorf("error %v, want 50 × 401", err)
	}
	if n := r.taken(); n != 100 {
		t.Errorf("%d requests, want two for each user", n)
	}
}

func TestRefusal(t *testing.T) {
	r := newResponder(t, func(r *responder) { r.status = 503 })
	_, err := bench.Register(t.Context(), small(r, "tcp"))
	if err == nil || !strings.Contains(err.Error(), "50 × 503") {
		t.Errorf("error %v, want 50 × 503", err)
	}
}

func TestLostAnswersAreAskedForAgain(t *testing.T) {
	r := newResponder(t, func(r *responder) { r.dropFirst = 25 })
	report := register(t, small(r, "udp"))
	wantAll(t, report.Load, 500)
	if n := report.Load.Retransmissions; n < 15 || n > 60 {
		t.Errorf("%d retransmissions for about 20 lost answers", n)
	}
	if report.Load.Latency.Max < 30 {
		t.Errorf("latency max %v ms, but a lost answer takes 30 ms", report.Load.Latency.Max)
	}
}

func TestSilentServer(t *testing.T) {
	var silent atomic.Bool
	r := newResponder(t, func(r *responder) { r.silent = silent.Load })
	o := small(r, "udp")
	o.T1 = 5 * time.Millisecond
	o.Count = 10
	o.Keep = true
	o.Password = func(user string) string {
		// The last challenge of the setup is answered; then silence.
		if user == "u000049" {
			time.AfterFunc(100*time.Millisecond, func() { silent.Store(true) })
		}
		return user
	}
	o.Warmup = 300 * time.Millisecond
	report := register(t, o)
	p := report.Load
	if p.Timeouts != 10 || p.OK != 0 || p.Operations != 10 {
		t.Errorf("operations %d, ok %d, timeouts %d; want 10 timeouts", p.Operations, p.OK, p.Timeouts)
	}
	// Timer E: after 5, 15, 35, 75 ms, then each 40 ms, until 320 ms.
	if p.Retransmissions < 40 || p.Retransmissions > 110 {
		t.Errorf("%d retransmissions of 10 requests, want about 100", p.Retransmissions)
	}
}

func TestNobodyListens(t *testing.T) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := c.LocalAddr().String()
	c.Close()
	for _, transport := range []string{"udp", "tcp"} {
		o := bench.DefaultOptions(addr)
		o.Transport = transport
		began := time.Now()
		if _, err := bench.Register(t.Context(), o); err == nil {
			t.Errorf("%s: no error", transport)
		}
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("%s: the error took %v", transport, d)
		}
	}
}

func TestCancel(t *testing.T) {
	r := newResponder(t, nil)
	o := small(r, "udp")
	o.Count, o.Duration = 0, time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := bench.Register(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// A server that holds still for a while makes every request late that was due
// meanwhile, not only those that were under way.
func TestOpenLoopCountsFromTheDueTime(t *testing.T) {
	r := newResponder(t, func(r *responder) { r.stall = 400 * time.Millisecond })
	o := small(r, "udp")
	o.Users, o.Count, o.Rate, o.T1 = 20, 400, 500, 2*time.Second
	report := register(t, o)
	wantAll(t, report.Load, 400)
	// 40 requests come before the stall; of the 200 due in it the first waits
	// 400 ms, so a quarter of all wait for more than 200 ms.
	l := report.Load.Latency
	if l.P90 < 150 || l.Max < 350 {
		t.Errorf("latency %+v, want p90 over 150 ms", l)
	}
	if report.Load.Rate > 560 {
		t.Errorf("rate %v, wanted 500", report.Load.Rate)
	}
	// With 20 users nobody could begin for most of the stall, and that is not the generator's.
	if late := report.Load.Late; late == nil || late.P90 > l.P90/2 {
		t.Errorf("generator late %+v at latency %+v", late, l)
	}
}

func TestMessage(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			r := newResponder(t, nil)
			report := message(t, small(r, transport))
			wantAll(t, report.Load, 500)
			if d := *report.Deliveries; d != (bench.Delivery{Sent: 500, Delivered: 500}) {
				t.Errorf("deliveries %+v", d)
			}
			if n := report.Load.Challenges; n == 0 || n > 50 {
				t.Errorf("%d challenges of 50 senders", n)
			}
		})
	}
}

func TestMessageFaults(t *testing.T) {
	r := newResponder(t, func(r *responder) { r.swallow, r.double, r.repeat = 10, 7, 9 })
	o := small(r, "udp")
	o.BodySize = 1000
	report := message(t, o)
	wantAll(t, report.Load, 500)
	var want bench.Delivery
	for i := 1; i <= 500; i++ {
		want.Sent++
		if i%10 == 0 {
			want.Lost++
			continue
		}
		want.Delivered++
		if i%7 == 0 {
			want.Duplicates++
		}
		if i%9 == 0 {
			want.Retransmissions++
		}
	}
	if d := *report.Deliveries; d != want {
		t.Errorf("deliveries %+v, want %+v", d, want)
	}
}

func TestMessageChallengedWith401(t *testing.T) {
	r := newResponder(t, func(r *responder) { r.askAsUAS = true })
	report := message(t, small(r, "tcp"))
	wantAll(t, report.Load, 500)
}

func TestReport(t *testing.T) {
	r := newResponder(t, nil)
	o := small(r, "udp")
	var progress bytes.Buffer
	o.Progress = &progress
	report := message(t, o)
	var text bytes.Buffer
	if err := report.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"p99.9", "500 of 500 sent", "0 lost", "retransmissions", "generator CPU", "50 users"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	data, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var back bench.Report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if back.Load.OK != 500 || back.Load.Latency != report.Load.Latency || *back.Deliveries != *report.Deliveries {
		t.Errorf("the report changed in JSON:\n%s", data)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	tests := []struct {
		set  func(*bench.Options)
		want string
	}{
		{func(o *bench.Options) { o.Server = "" }, "no server"},
		{func(o *bench.Options) { o.Transport = "sctp" }, "transport"},
		{func(o *bench.Options) { o.Users = -1 }, "users"},
		{func(o *bench.Options) { o.Window = -1 }, "window"},
		{func(o *bench.Options) { o.Rate = -1 }, "negative"},
		{func(o *bench.Options) { o.BodySize = 5 }, "body"},
		{func(o *bench.Options) { o.UserFormat = "user" }, "user format"},
		{func(o *bench.Options) { o.UserFormat = "a b%d" }, "user format"},
		{func(o *bench.Options) { o.Algorithm = "ROT13" }, "algorithm"},
		{func(o *bench.Options) { o.Server = "127.0.0.1" }, "address"},
		{func(o *bench.Options) { o.ServerPID = []int{1 << 30} }, "no process"},
	}
	for _, test := range tests {
		o := bench.DefaultOptions("127.0.0.1:5060")
		test.set(&o)
		if _, err := bench.Register(t.Context(), o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want one about %q", err, test.want)
		}
	}
}

func ExampleReport_Text() {
	report := bench.Report{
		Operation: "register", Server: "127.0.0.1:5060", Transport: "udp", Users: 100, Window: 10, Sockets: 8,
		Setup: &bench.Phase{Operations: 100, OK: 99, Timeouts: 1, Elapsed: 0.5, Rate: 198},
	}
	var b strings.Builder
	_ = report.Text(&b)
	fmt.Print(b.String())
	// Output:
	// register    127.0.0.1:5060 over udp, 100 users, 8 sockets, closed loop, window 10
	// registered  99 of 100 in 0.50 s (198/s): 1 timeouts
}
