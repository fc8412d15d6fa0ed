package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/archive/retain"
)

// custody are the flags of commands that act on the record of a running server.
type custody struct {
	as, reason string
}

func (f *custody) flags(c *cobra.Command, reason bool) {
	c.Flags().StringVar(&f.as, "as", "", "person for whom it is done, recorded beside the user who runs the command")
	if reason {
		c.Flags().StringVar(&f.reason, "reason", "", "why; it is recorded")
	}
}

// onRecord runs f with the running server.
func (a *app) onRecord(c *cobra.Command, as string, names []string, f func(ctx context.Context, client *api.Client, aors []string) error) error {
	return a.ask(c, names, func(ctx context.Context, client *api.Client, aors []string) error {
		client.As = as
		return f(ctx, client, aors)
	})
}

// reads records that somebody reads the record, if a server keeps it. Who can
// read the files and the keys can do so without; then nothing is recorded.
func (a *app) reads(c *cobra.Command, dir string, act api.Act, as string) error {
	if dir != "" {
		return nil // a copy
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	client, err := api.Dial(c.Context(), cfg.Socket())
	if errors.Is(err, api.ErrNoServer) {
		return nil
	}
	if err != nil {
		return err
	}
	defer client.Close()
	client.As = as
	_, err = client.Act(c.Context(), act)
	return err
}

func (a *app) archiveHold() *cobra.Command {
	var f custody
	var custodians []string
	var query, after, before string
	var asJSON bool
	c := &cobra.Command{
		Use:   "hold [NAME]",
		Short: "Keep what a case needs from being purged or erased; without NAME, list the holds",
		Long: "A hold covers what its custodians wrote or received, what a query finds, and a period: all that is given must be met.\n" +
			"Nothing that it covers is purged or erased until two people have released it.",
		Example: "  rollcall archive hold case-42 --custodian alice --custodian bob --after 2026-01-01 --reason 'litigation 42'\n  rollcall archive hold",
		Args:    args(0, 1, "[NAME]"),
		RunE: func(c *cobra.Command, given []string) error {
			if len(given) == 0 {
				return a.holds(c, asJSON)
			}
			h := retain.Hold{Name: given[0], Query: query, Reason: f.reason}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			for _, day := range []struct {
				text string
				to   *time.Time
				flag string
			}{{after, &h.After, "after"}, {before, &h.Before, "before"}} {
				if day.text == "" {
					continue
				}
				if *day.to, err = time.ParseInLocation(time.DateOnly, day.text, cfg.Location()); err != nil {
					return usage(c, "--%s wants a day as 2026-11-23", day.flag)
				}
			}
			return a.onRecord(c, f.as, custodians, func(ctx context.Context, client *api.Client, aors []string) error {
				h.Custodians = aors
				placed, err := client.PlaceHold(ctx, h)
				if err != nil {
					return err
				}
				if asJSON {
					return a.json(placed)
				}
				return a.say("%s is in force, placed by %s", placed.Name, placed.By)
			})
		},
	}
	f.flags(c, true)
	c.Flags().StringArrayVar(&custodians, "custodian", nil, "`AOR` of a person whose messages are covered (repeat for several)")
	c.Flags().StringVar(&query, "query", "", "`QUERY` of archive search that covers")
	c.Flags().StringVar(&after, "after", "", "first `DAY` of the period")
	c.Flags().StringVar(&before, "before", "", "`DAY` at whose beginning the period ends")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) holds(c *cobra.Command, asJSON bool) error {
	return a.onRecord(c, "", nil, func(ctx context.Context, client *api.Client, _ []string) error {
		list, err := client.Holds(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return a.json(list)
		}
		rows := make([][]string, len(list))
		for i, h := range list {
			release := ""
			if h.ReleaseBy != "" {
				release = "asked for by " + h.ReleaseBy
			}
			rows[i] = []string{h.Name, strings.Join(h.Custodians, " "), h.Query, h.By, h.Placed.Format(time.RFC3339), release, h.Reason}
		}
		return a.table([]string{"NAME", "CUSTODIANS", "QUERY", "BY", "PLACED", "RELEASE", "REASON"}, rows)
	})
}

func (a *app) archiveRelease() *cobra.Command {
	var f custody
	var asJSON bool
	c := &cobra.Command{
		Use:   "release NAME",
		Short: "End a hold: one person asks for it, another confirms",
		Args:  args(1, 1, "NAME"),
		RunE: func(c *cobra.Command, given []string) error {
			return a.onRecord(c, f.as, nil, func(ctx context.Context, client *api.Client, _ []string) error {
				rel, err := client.ReleaseHold(ctx, given[0], f.reason)
				switch {
				case err != nil:
					return err
				case asJSON:
					return a.json(rel)
				case rel.Released:
					return a.say("%s is released", given[0])
				}
				return a.say("%s is still in force: %s asked for its release, somebody else must confirm with the same command", given[0], rel.Hold.ReleaseBy)
			})
		},
	}
	f.flags(c, true)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) archiveErase() *cobra.Command {
	var f custody
	var from, to string
	var asJSON bool
	c := &cobra.Command{
		Use:   "erase AOR",
		Short: "Make unreadable for ever what somebody wrote, by destroying the keys",
		Long: "Keys are kept for each person and month, so a period is given in months. The erasure is refused with its reason while\n" +
			"the retention of any of the messages runs or a hold covers one; the refusal is recorded too. The envelopes, and what\n" +
			"others wrote, stay.",
		Example: "  rollcall archive erase carol --to 2026-06 --reason 'request of 2 November'",
		Args:    args(1, 1, "AOR"),
		RunE: func(c *cobra.Command, given []string) error {
			e := api.EraseRequest{Reason: f.reason}
			for _, m := range []struct {
				text, flag string
				to         *time.Time
				add        int
			}{{from, "from", &e.From, 0}, {to, "to", &e.To, 1}} {
				if m.text == "" {
					continue
				}
				t, err := time.Parse("2006-01", m.text)
				if err != nil {
					return usage(c, "--%s wants a month as 2026-11", m.flag)
				}
				*m.to = t.AddDate(0, m.add, 0)
			}
			return a.onRecord(c, f.as, given, func(ctx context.Context, client *api.Client, aors []string) error {
				e.Author = aors[0]
				erased, err := client.Erase(ctx, e)
				if err != nil {
					return err
				}
				if asJSON {
					return a.json(erased)
				}
				return a.say("%d messages of %s are erased, keys destroyed: %s", erased.Messages, erased.Author, strings.Join(erased.Months, " "))
			})
		},
	}
	f.flags(c, true)
	c.Flags().StringVar(&from, "from", "", "first `MONTH` (default: the first there is)")
	c.Flags().StringVar(&to, "to", "", "last `MONTH` (default: this one)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) archiveReview() *cobra.Command {
	var f custody
	var since, comment string
	var all, asJSON bool
	c := &cobra.Command{
		Use:   "review [ID STEP]",
		Short: "Messages that supervisors are to see; with ID and STEP, review one",
		Long: "Without arguments it lists the messages that a lexicon flagged or chance chose and that nobody approved yet. STEP is claim,\n" +
			"comment, approve or escalate; all but claim need --comment. Each step is a record.",
		Example: "  rollcall archive review\n  rollcall archive review 01KDYHZJ7EAAAAAAAAAAAAAAAA approve --comment 'a joke' --as dora",
		Args:    args(0, 2, "[ID STEP]"),
		RunE: func(c *cobra.Command, given []string) error {
			if len(given) == 1 {
				return usage(c, "name a step: claim, comment, approve or escalate")
			}
			back, err := period(since)
			if err != nil {
				return usage(c, "--since %q: write 30d, or 12h", since)
			}
			return a.onRecord(c, f.as, nil, func(ctx context.Context, client *api.Client, _ []string) error {
				if len(given) == 2 {
					id, err := archive.ParseID(given[0])
					if err != nil {
						return usage(c, "%q is not a record ID", given[0])
					}
					rev, err := client.Review(ctx, id, api.ReviewStep{Step: given[1], Comment: comment})
					if err != nil {
						return err
					}
					if asJSON {
						return a.json(rev)
					}
					return a.say("%s is %s", rev.ID, rev.Status)
				}
				list, err := client.Reviews(ctx, time.Now().Add(-back))
				if err != nil {
					return err
				}
				if asJSON {
					return a.json(list)
				}
				var rows [][]string
				for _, r := range list.List {
					if r.Status == "approved" && !all {
						continue
					}
					why := r.Flags
					if why == "" {
						why = "sample"
					}
					text := r.Text
					if r.Content != "" {
						text = "(" + r.Content + ")"
					}
					rows = append(rows, []string{r.ID.String(), r.Status, why, r.From, r.To, text})
				}
				s := list.Stats
				a.note("%d flagged, %d sampled: %d open, %d claimed, %d escalated, %d approved.", s.Flagged, s.Sampled, s.Open, s.Claimed, s.Escalated, s.Approved)
				return a.table([]string{"ID", "STATUS", "WHY", "FROM", "TO", "TEXT"}, rows)
			})
		},
	}
	f.flags(c, false)
	c.Flags().StringVar(&comment, "comment", "", "what the supervisor found")
	c.Flags().StringVar(&since, "since", "30d", "how far to go back, as `30d` or 12h")
	c.Flags().BoolVar(&all, "all", false, "list what was approved too")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) archivePurge() *cobra.Command {
	var f custody
	var asJSON bool
	c := &cobra.Command{
		Use:   "purge",
		Short: "Take out now what is over its retention, as the server does each day",
		Args:  args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.onRecord(c, f.as, nil, func(ctx context.Context, client *api.Client, _ []string) error {
				done, err := client.Purge(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return a.json(done)
				}
				rows := make([][]string, len(done))
				for i, p := range done {
					rows[i] = []string{p.File, fmt.Sprint(p.Contents), fmt.Sprint(p.Held)}
				}
				return a.table([]string{"FILE", "PURGED", "HELD"}, rows)
			})
		},
	}
	f.flags(c, false)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
