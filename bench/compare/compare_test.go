package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/bench"
	"rollcall/config"
	"rollcall/policy"
)

func runsOf(cpu ...float64) []run {
	var all []run
	for i, c := range cpu {
		all = append(all, run{Report: &bench.Report{Load: &bench.Phase{ServerCPU: c, Rate: 1000 * float64(i+1), Latency: bench.Latency{P99: 2}}}})
	}
	return all
}

func TestRatioIsTheMedianOfThePairs(t *testing.T) {
	c := comparison{Runs: map[string][]run{
		kamailioName: runsOf(10, 20, 10),
		rollcallName: runsOf(5, 20, 8),
	}}
	if got, ok := c.ratio(); !ok || got != 0.8 {
		t.Errorf("ratio %v %v, want 0.8", got, ok)
	}
	delete(c.Runs, kamailioName)
	if got, ok := c.ratio(); ok {
		t.Errorf("ratio %v of one server", got)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 2}, 2}} {
		if got, ok := median(test.values); !ok || got != test.want {
			t.Errorf("median of %v is %v", test.values, got)
		}
	}
	if _, ok := median(nil); ok {
		t.Error("nothing has a median")
	}
}

func TestTable(t *testing.T) {
	kamailio := runsOf(10, 10)
	kamailio[1].Report.Load.Timeouts = 3
	kamailio[0].Noisy = true
	r := results{
		Comparisons: []comparison{{Operation: "register", Transport: "udp", Runs: map[string][]run{kamailioName: kamailio, rollcallName: runsOf(7, 7)}}},
		Memory:      []memory{{Server: rollcallName, Users: 1000, Before: 1e6, After: 2e6}},
		Start:       &startTime{Accounts: 100, Import: 1.5, Ready: 0.25},
		Held: []held{{Server: rollcallName, run: run{Report: &bench.Report{
			MemoryStart: 1e6, MemoryEnd: 3e6, MemoryEach: 1000, MemoryMore: 900, Notifications: &bench.Notifications{Subscriptions: 2000}}}}},
		Storms: []stormRow{{Server: kamailioName, run: run{Report: &bench.Report{Storm: &bench.Storm{
			Subscribe: &bench.Phase{OK: 20000, Elapsed: 1.25, Retransmissions: 7, Errors: 1, Timeouts: 2},
			Register:  &bench.Phase{OK: 900, Latency: bench.Latency{P50: 1, P99: 20, Max: 30}}}}}}},
	}
	var out strings.Builder
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"register udp 10.0 7.0 0.70 1500 1500 2.00 2.00 3 failed, 1 runs beside other load",
		"rollcall 1000 1.0 2.0 1000 2000",
		"rollcall 2000 1.0 3.0 1000 900",
		"kamailio 20000 1.25 7 3 900 1.00 20.00 30.00",
		"start 100 accounts imported in 1.50 s ready in 0.25 s",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestPlanIsChecked(t *testing.T) {
	good := plan{parts: allParts, servers: []string{kamailioName}, transports: []string{"udp"}, rounds: 1, users: 2, many: 2, accounts: 2, window: 1, held: 1, stormed: 20, duration: time.Second}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for _, spoil := range []func(*plan){
		func(p *plan) { p.parts = []string{"voicemail"} },
		func(p *plan) { p.servers = []string{"opensips"} },
		func(p *plan) { p.transports = []string{"tls"} },
		func(p *plan) { p.rounds = 0 },
		func(p *plan) { p.held = 0 },
		func(p *plan) { p.stormed = 19 },
	} {
		bad := good
		spoil(&bad)
		if bad.check() == nil {
			t.Errorf("no error for %+v", bad)
		}
	}
}

func TestAccounts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "accounts.csv")
	if err := writeAccounts(file, 2); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const want = "aor,password,display_name,email,unit,groups\n" +
		"sip:u000000@bench.example,u000000,,,,\n" +
		"sip:u000001@bench.example,u000001,,,,\n"
	if string(data) != want {
		t.Errorf("accounts\n%swant\n%s", data, want)
	}
}

func TestProcess(t *testing.T) {
	dir := t.TempDir()
	p, err := start(dir, "echo", "/bin/sh", "-c", "echo trouble; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	err = p.await(t.Context(), 5*time.Second, func() bool { return false })
	if err == nil || !strings.Contains(err.Error(), "trouble") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
	p.stop()
	if p, err = start(dir, "sleep", "/bin/sh", "-c", "sleep 60 & wait"); err != nil {
		t.Fatal(err)
	}
	if err := p.await(t.Context(), 50*time.Millisecond, func() bool { return false }); err == nil {
		t.Error("no error though it was never ready")
	}
	began := time.Now()
	p.stop()
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("stopping took %v", d)
	}
}

func TestNeed(t *testing.T) {
	if path, err := need(t.Context(), os.Stderr, "sh", "dash"); err != nil || filepath.Base(path) != "sh" {
		t.Errorf("sh is at %q, %v", path, err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := need(t.Context(), os.Stderr, "no-such-program", "no-such-package"); err == nil || !strings.Contains(err.Error(), "no apt-get") {
		t.Errorf("error %v", err)
	}
}

func TestRollcallConfigurationIsGood(t *testing.T) {
	for _, store := range []string{"embedded:", "redis://127.0.0.1:6379/0"} {
		c, err := config.Parse("rollcall.toml", new(plan).configure("127.0.0.1:5060", "127.0.0.1:8080", t.TempDir(), store))
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Listen) != 2 || c.Archive.Durability != "fsync" || c.Store.URL != store {
			t.Errorf("configuration %+v", c)
		}
	}
}

// TestRecordPolicyIsGood: the rules of the record part are so many, and a server takes them.
func TestRecordPolicyIsGood(t *testing.T) {
	text := recordPolicy()
	if n := strings.Count(text, "[["); n != recordRules {
		t.Errorf("%d rules", n)
	}
	if n := strings.Count(text, " of many\""); n != recordPhrases {
		t.Errorf("%d phrases", n)
	}
	if _, err := policy.Parse("policy.toml", []byte(text), []string{domain}, nil, nil); err != nil {
		t.Error(err)
	}
}
