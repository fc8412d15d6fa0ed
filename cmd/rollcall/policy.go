package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/config"
	"rollcall/policy"
	"rollcall/server"
	"rollcall/sip"
)

func (a *app) policy() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Rules: check a file, and see what it would have done"}
	group(c)
	c.AddCommand(a.policyCheck(), a.policyTest())
	return c
}

func (a *app) policyCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with a policy file, with file and line",
		Args:  args(1, 1, "FILE"),
		RunE: func(_ *cobra.Command, given []string) error {
			rules, err := policy.Load(given[0], nil, nil, nil)
			var faults policy.Faults
			if errors.As(err, &faults) {
				for _, f := range faults {
					a.note("%v", f)
				}
				return errReported
			}
			if err != nil {
				return err
			}
			return a.say("%s is good: version %s", given[0], rules.Version())
		},
	}
}

// tested counts what a rule would have done.
type tested struct {
	Rule     string   `json:"rule"`
	Effect   string   `json:"effect"` // "refuse" or "flag"
	Messages int      `json:"messages"`
	Examples []string `json:"examples"` // IDs of records
}

// policyReport is what `policy test` prints.
type policyReport struct {
	Version  string    `json:"version"`
	Since    time.Time `json:"since"`
	Messages int       `json:"messages"`
	// Unreadable messages were judged without their content.
	Unreadable int `json:"unreadable"`
	// Changed would have been refused and were not, or the other way round.
	Changed int       `json:"changed"`
	Rules   []*tested `json:"rules"`
}

func (a *app) policyTest() *cobra.Command {
	var since string
	var asJSON bool
	c := &cobra.Command{
		Use:   "test FILE",
		Short: "Say what a policy file would have done to past messages",
		Long: "Every message of the time is judged by the rules of the file, with the groups and units that the accounts have now. Nothing\n" +
			"is changed, and nothing is sent.",
		Example: "  rollcall policy test --since 30d policy.toml",
		Args:    args(1, 1, "FILE"),
		RunE: func(c *cobra.Command, given []string) error {
			back, err := period(since)
			if err != nil {
				return usage(c, "--since %q: write 30d, or 12h", since)
			}
			r := policyReport{Since: time.Now().Add(-back).UTC(), Rules: []*tested{}}
			err = a.withUsers(c.Context(), func(cfg *config.Config, users api.Users) error {
				peers := map[string]string{}
				for _, p := range cfg.Peer {
					peers[p.Domain] = p.Name
				}
				rules, err := policy.Load(given[0], cfg.Domains, peers, cfg.Location())
				if err != nil {
					return err
				}
				r.Version = rules.Version()
				people := map[string]policy.Party{}
				err = users.List(c.Context(), func(u api.User) error {
					people[u.AOR] = policy.Party{AOR: u.AOR, Unit: u.Unit, Groups: u.Groups}
					return nil
				})
				if err != nil {
					return err
				}
				return a.judge(c.Context(), cfg, rules, people, &r)
			})
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(r)
			}
			rows := make([][]string, len(r.Rules))
			for i, t := range r.Rules {
				rows[i] = []string{t.Rule, t.Effect, fmt.Sprint(t.Messages), strings.Join(t.Examples, " ")}
			}
			a.note("%d messages since %s, %d would have been decided otherwise, %d judged without their content.",
				r.Messages, r.Since.Format(time.RFC3339), r.Changed, r.Unreadable)
			return a.table([]string{"RULE", "EFFECT", "MESSAGES", "EXAMPLES"}, rows)
		},
	}
	c.Flags().StringVar(&since, "since", "30d", "how far to go back, as `30d` or 12h")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// period reads a duration that may be in days.
func period(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 36500 {
			return 0, errors.New("not a number of days")
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err == nil && d < 0 {
		err = errors.New("negative")
	}
	return d, err
}

const policyExamples = 3

// judge runs past messages through the rules.
func (a *app) judge(ctx context.Context, cfg *config.Config, rules *policy.Rules, people map[string]policy.Party, r *policyReport) error {
	folder := archive.Folder{Dir: cfg.ArchiveDir()}
	if ring, err := server.ContentKeys(cfg.KeysDir); err == nil {
		folder.Keys = ring
	}
	party := func(aor string) (policy.Party, string) {
		p := people[aor]
		p.AOR = aor
		parsed, err := sip.ParseAORString(aor)
		if err != nil {
			return p, ""
		}
		return p, parsed.Domain()
	}
	byRule := map[string]*tested{}
	count := func(rule, effect string, id archive.ID) {
		t := byRule[effect+rule]
		if t == nil {
			t = &tested{Rule: rule, Effect: effect}
			byRule[effect+rule] = t
			r.Rules = append(r.Rules, t)
		}
		if t.Messages++; len(t.Examples) < policyExamples {
			t.Examples = append(t.Examples, id.String())
		}
	}
	err := folder.Search(ctx, archive.Query{After: r.Since}, func(rec *archive.Record, _ archive.Pos) error {
		m := policy.Message{UserAgent: rec.UserAgent, ContentType: rec.ContentType, Body: string(rec.Body()), At: rec.Received}
		m.From, m.FromDomain = party(rec.From)
		m.To, m.ToDomain = party(rec.To)
		d := rules.Message(&m)
		if r.Messages++; r.Messages%10_000 == 0 && isTerminal(a.stderr) {
			fmt.Fprintf(a.stderr, "\r%d messages", r.Messages)
		}
		if rec.Content != archive.Present {
			r.Unreadable++
		}
		if d.Refusal() != nil {
			count(d.Rule(), "refuse", rec.ID)
		}
		for _, flag := range strings.Fields(d.Flags()) {
			count(flag, "flag", rec.ID)
		}
		if d.String() != rec.Decision {
			r.Changed++
		}
		return nil
	})
	slices.SortStableFunc(r.Rules, func(x, y *tested) int { return y.Messages - x.Messages })
	return adviseVerify(err)
}
