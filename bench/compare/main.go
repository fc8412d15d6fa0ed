package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"rollcall/bench"
)

// domain is the domain and digest realm of all accounts.
const domain = "bench.example"

// plan is what the command line asks for.
type plan struct {
	parts      []string
	servers    []string
	transports []string
	dir        string
	json       string
	algorithm  string
	duration   time.Duration
	rounds     int
	users      int
	window     int
	many       int     // users of the memory part
	accounts   int     // of the start time
	documents  int     // that users of rollcall keep at it, besides
	held       int     // subscriptions of the presence-memory part
	stormed    int     // subscriptions of the storm part
	noise      float64 // share of the machine that others may use in a run
	binary     string
	archive    string // more lines of rollcall's [archive]
	more       string // more tables of rollcall's configuration
	log        io.Writer
	verbose    bool
}

// allParts are run if none is named; challenged, a REGISTER that is challenged
// each time, only if it is.
var allParts = []string{
	"register", "message", "latency", "record", "memory", "redis",
	"presence", "presence-durable", "presence-latency", "presence-memory", "storm",
}

const challenged = "challenged"

func main() {
	p := plan{log: os.Stderr}
	var only, servers, transports string
	flag.StringVar(&only, "only", "", "parts to run, parted by commas: "+strings.Join(allParts, ", ")+" (default these), "+challenged)
	flag.StringVar(&servers, "servers", "kamailio,rollcall", "servers to measure")
	flag.StringVar(&transports, "transports", "udp,tcp", "transports to measure")
	flag.StringVar(&p.dir, "dir", ".bench", "folder for the servers' files, on a real disk")
	flag.StringVar(&p.json, "json", "", "also write all reports to this file")
	flag.StringVar(&p.algorithm, "algorithm", "MD5", "digest algorithm of the load; Kamailio takes MD5")
	flag.StringVar(&p.binary, "rollcall", "", "rollcall binary (default: built from this source tree)")
	flag.DurationVar(&p.duration, "duration", 10*time.Second, "measured time of each run")
	flag.IntVar(&p.rounds, "rounds", 3, "runs on each server; ratios are medians of the pairs")
	flag.IntVar(&p.users, "users", 20000, "users of the load")
	flag.IntVar(&p.window, "window", 128, "operations under way at once")
	flag.IntVar(&p.many, "memory-users", 200_000, "registered users of the memory part")
	flag.IntVar(&p.accounts, "start-accounts", 100_000, "accounts of which the start time is measured")
	flag.IntVar(&p.documents, "documents", 0, "documents of 1 KB that users of rollcall keep at it, besides, in every part")
	flag.IntVar(&p.held, "subscriptions", 200_000, "subscriptions of the presence-memory part")
	flag.IntVar(&p.stormed, "storm", 20_000, "subscriptions of the storm part")
	flag.Float64Var(&p.noise, "noise", 0.08, "share of the machine that other programs may use before a run is made again")
	flag.BoolVar(&p.verbose, "v", false, "print the report of each run")
	flag.Parse()

	p.parts, p.servers, p.transports = list(only, allParts), list(servers, nil), list(transports, nil)
	if err := p.check(); err != nil || flag.NArg() > 0 {
		if err == nil {
			err = fmt.Errorf("unexpected argument %q", flag.Arg(0))
		}
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := p.run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		stop()
		os.Exit(1)
	}
}

func list(s string, all []string) []string {
	if s == "" {
		return all
	}
	return strings.Split(s, ",")
}

func (p *plan) check() error {
	for _, part := range p.parts {
		if !slices.Contains(allParts, part) && part != challenged {
			return fmt.Errorf("no part %q; there are %s, %s", part, strings.Join(allParts, ", "), challenged)
		}
	}
	for _, s := range p.servers {
		if s != kamailioName && s != rollcallName {
			return fmt.Errorf("no server %q; there are %s and %s", s, kamailioName, rollcallName)
		}
	}
	for _, t := range p.transports {
		if t != "udp" && t != "tcp" {
			return fmt.Errorf("no transport %q; there are udp and tcp", t)
		}
	}
	if p.rounds < 1 || p.users < 2 || p.many < 2 || p.accounts < 2 || p.window < 1 || p.duration <= 0 || p.held < 1 || p.stormed < stormWatchers {
		return fmt.Errorf("rounds, users, subscriptions, window and duration are above zero, and a storm is at least of %d", stormWatchers)
	}
	return nil
}

// run measures part after part. Results so far are printed even if a later
// part fails.
func (p *plan) run(ctx context.Context, out io.Writer) (err error) {
	dir, err := filepath.Abs(p.dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if p.dir, err = os.MkdirTemp(dir, "run-"); err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(p.dir)
		} else {
			fmt.Fprintf(p.log, "the servers' files and logs are in %s\n", p.dir)
		}
	}()
	if err := p.prepare(ctx); err != nil {
		return err
	}
	var r results
	for _, part := range p.parts {
		if err = p.part(ctx, part, &r); err != nil {
			err = fmt.Errorf("%s: %w", part, err)
			break
		}
	}
	if e := r.print(out); err == nil {
		err = e
	}
	if p.json != "" {
		data, e := json.MarshalIndent(&r, "", "  ")
		if e == nil {
			e = os.WriteFile(p.json, append(data, '\n'), 0o644)
		}
		if err == nil {
			err = e
		}
	}
	return err
}

// prepare finds, installs or builds what the parts need.
func (p *plan) prepare(ctx context.Context) error {
	if slices.Contains(p.servers, kamailioName) {
		if _, err := need(ctx, p.log, "kamailio", "kamailio"); err != nil {
			return err
		}
	}
	ofPresence := func(part string) bool { return part == "storm" || strings.HasPrefix(part, "presence") }
	if slices.Contains(p.servers, kamailioName) && slices.ContainsFunc(p.parts, ofPresence) {
		if err := needFile(ctx, p.log, kamailioModules+"/presence_xml.so", "kamailio-presence-modules"); err != nil {
			return err
		}
	}
	if slices.Contains(p.servers, kamailioName) && slices.Contains(p.parts, "presence-durable") {
		if err := needFile(ctx, p.log, kamailioModules+"/db_mysql.so", "kamailio-mysql-modules"); err != nil {
			return err
		}
		if _, err := need(ctx, p.log, "mariadbd", "mariadb-server"); err != nil {
			return err
		}
	}
	if slices.Contains(p.parts, "redis") || slices.Contains(p.parts, "presence-durable") {
		if _, err := need(ctx, p.log, "redis-server", "redis-server"); err != nil {
			return err
		}
	}
	if slices.Contains(p.servers, rollcallName) && p.binary == "" {
		p.binary = filepath.Join(p.dir, "rollcall")
		return build(ctx, p.binary)
	}
	return nil
}

func (p *plan) part(ctx context.Context, part string, r *results) error {
	switch part {
	case "register", "message", challenged:
		return p.compare(ctx, part, r)
	case "latency":
		return p.latency(ctx, r)
	case "record":
		return p.record(ctx, r)
	case "memory":
		return p.memory(ctx, r)
	case "presence":
		return p.presence(ctx, r)
	case "presence-durable":
		return p.presenceDurable(ctx, r)
	case "presence-latency":
		return p.presenceLatency(ctx, r)
	case "presence-memory":
		return p.presenceMemory(ctx, r)
	case "storm":
		return p.storm(ctx, r)
	default:
		return p.redis(ctx, r)
	}
}

// options is the load that every part begins with.
func (p *plan) options(s *server, transport string) bench.Options {
	o := bench.DefaultOptions(s.addr)
	o.Transport = transport
	o.Domain = domain
	o.Users = p.users
	o.Window = p.window
	o.Duration = p.duration
	o.Algorithm = p.algorithm
	o.ServerPID = s.pids
	return o
}
