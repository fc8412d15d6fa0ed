package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// plainName is rollcall with a plain journal: records are durable before the relay, and nothing more. It is a build of
// its own, which nobody else gets.
const plainName = "rollcall, plain journal"

// Rules of the record part: so many, and so many phrases in all.
const (
	recordRules   = 200
	recordPhrases = 10_000
)

// recordPolicy is a policy file with barriers between groups that nobody of the load is in, and lexica whose phrases
// nobody writes: each message is held against all of them.
func recordPolicy() string {
	const barriers = 50
	lexica := recordRules - barriers
	var b strings.Builder
	for i := range barriers {
		fmt.Fprintf(&b, "[[barrier]]\nname = \"wall-%d\"\nbetween = [\"research %d\", \"trading %d\"]\n\n", i, i, i)
	}
	n := 0
	for i := range lexica {
		fmt.Fprintf(&b, "[[lexicon]]\nname = \"words-%d\"\naction = \"flag\"\nphrases = [", i)
		for ; n < recordPhrases*(i+1)/lexica; n++ {
			fmt.Fprintf(&b, "\"phrase %d of many\", ", n)
		}
		b.WriteString("]\n\n")
	}
	return b.String()
}

// record measures what tree, sealed content, index and policy cost a MESSAGE: rollcall with all of them beside rollcall
// with a plain journal.
func (p *plan) record(ctx context.Context, r *results) error {
	if p.binary == "" {
		return nil
	}
	plain := *p
	plain.binary, plain.archive = filepath.Join(p.dir, "rollcall-plain"), "index = false"
	if err := build(ctx, plain.binary, "-tags", "plainjournal"); err != nil {
		return err
	}
	file := filepath.Join(p.dir, "policy.toml")
	if err := os.WriteFile(file, []byte(recordPolicy()), 0o644); err != nil {
		return err
	}
	whole := *p
	whole.more = fmt.Sprintf("[policy]\nfile = %q\n", file)
	for _, transport := range p.transports {
		var servers []*server
		for _, q := range []*plan{&plain, &whole} {
			s, _, err := q.startRollcall(ctx, "embedded:", p.users)
			if err != nil {
				closeAll(servers)
				return err
			}
			servers = append(servers, s)
		}
		servers[0].name = plainName
		row := comparison{Operation: "message", Transport: transport, Runs: map[string][]run{}}
		err := p.turns(ctx, servers, "message", transport, &row)
		closeAll(servers)
		r.Records = append(r.Records, row)
		if err != nil {
			return err
		}
	}
	return nil
}
