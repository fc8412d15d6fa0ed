package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"rollcall/agent"
	"rollcall/api"
)

// ask runs f with the running server. Its arguments are names of accounts, made whole.
func (a *app) ask(c *cobra.Command, names []string, f func(ctx context.Context, client *api.Client, aors []string) error) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	var aors []string
	for _, name := range names {
		aor, err := ownAOR(c, cfg, name)
		if err != nil {
			return err
		}
		aors = append(aors, aor.String())
	}
	client, err := api.Dial(c.Context(), cfg.Socket())
	if err != nil {
		return fmt.Errorf("%w; start it with `rollcall serve`", err)
	}
	defer client.Close()
	return adviseList(f(c.Context(), client, aors))
}

func (a *app) presence() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "presence AOR…",
		Short:   "Show the presence of accounts, composed of what their devices published and registered",
		Example: "  rollcall presence alice bob",
		Args:    args(1, -1, "AOR…"),
		RunE: func(c *cobra.Command, given []string) error {
			return a.ask(c, given, func(ctx context.Context, client *api.Client, aors []string) error {
				list := []api.Presence{}
				for _, aor := range aors {
					p, err := client.Presence(ctx, aor)
					if err != nil {
						return err
					}
					list = append(list, p)
				}
				if asJSON {
					return a.json(list)
				}
				rows := make([][]string, len(list))
				for i, p := range list {
					rows[i] = []string{p.AOR, wordOf(p.State), p.Note, fmt.Sprint(len(p.Publications)), fmt.Sprint(len(p.Registrations))}
				}
				return a.table([]string{"AOR", "STATE", "NOTE", "PUBLICATIONS", "REGISTRATIONS"}, rows)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the documents and what they are composed of")
	return c
}

func (a *app) subscriptions() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "subscriptions [AOR]",
		Short: "List the subscriptions that the server holds, to and of one account or all",
		Args:  args(0, 1, "at most one AOR"),
		RunE: func(c *cobra.Command, given []string) error {
			return a.ask(c, given, func(ctx context.Context, client *api.Client, aors []string) error {
				aor := ""
				if len(aors) == 1 {
					aor = aors[0]
				}
				subs, err := client.Subscriptions(ctx, aor)
				if err != nil {
					return err
				}
				if asJSON {
					return a.json(subs)
				}
				rows := make([][]string, len(subs))
				for i, s := range subs {
					rows[i] = []string{s.Watcher, s.Resource, s.Event, standingOf(s), lasts(time.Until(s.Expires)), fmt.Sprint(s.Notified), s.Flow, s.Rule}
				}
				return a.table([]string{"WATCHER", "WATCHES", "EVENT", "STATE", "EXPIRES IN", "NOTIFY", "FLOW", "RULE"}, rows)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) explain() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain WATCHER PRESENTITY",
		Short: "Say what one account sees of the presence of another, and why",
		Long: "Prints what a NOTIFY would tell the watcher now, the rule that decides, the publications and registrations that the\n" +
			"presence is composed of, and the watcher's subscriptions. It answers for a watcher who does not watch, too.",
		Example: "  rollcall explain bob alice",
		Args:    args(2, 2, "WATCHER PRESENTITY"),
		RunE: func(c *cobra.Command, given []string) error {
			return a.ask(c, given, func(ctx context.Context, client *api.Client, aors []string) error {
				x, err := client.Explain(ctx, aors[0], aors[1])
				if err != nil {
					return err
				}
				if asJSON {
					return a.json(x)
				}
				rows := explanation(x)
				if isTerminal(a.stdout) {
					for i := range rows {
						rows[i][0] = a.color(bold, fmt.Sprintf("%-10s", rows[i][0]))
					}
				}
				return a.lines(rows)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the documents")
	return c
}

// explanation is x in lines: what is seen, the rule, and each source and subscription.
func explanation(x api.Explanation) [][]string {
	var rows [][]string
	add := func(what, format string, args ...any) {
		rows = append(rows, []string{what, printable(fmt.Sprintf(format, args...))})
	}
	whole := stateText(x.Presence.State)
	switch {
	case x.Standing == "pending":
		add("sees", "nothing until %s allows it", x.Presentity)
	case x.Sees == nil:
		add("sees", "nothing: %s is refused", x.Watcher)
	case x.Class == "offline":
		add("sees", "%s, as of one who never published; in truth %s", stateText(x.Sees.State), whole)
	case x.Sees.Whole:
		add("sees", "%s", stateText(x.Sees.State))
	default:
		add("sees", "%s; the rule leaves out a part of what there is: %s", stateText(x.Sees.State), whole)
	}
	add("rule", "%s", x.Rule)
	if x.Until != nil {
		add("until", "%s", x.Until.Format(time.RFC3339))
	}
	says := false // a publication tells open or closed
	for _, p := range x.Presence.Publications {
		text := fmt.Sprintf("%s; %s ago by %s, for %s", stateText(p.State), lasts(time.Since(p.Changed)), p.Publisher, lasts(time.Until(p.Expires)))
		if p.Lost {
			text += "; its connection is gone, so it ends unless it is refreshed"
		}
		says = says || p.Basic != ""
		add("published", "%s", text)
	}
	if p := x.Presence.Permanent; p != nil {
		add("permanent", "%s; gives way to what is published", stateText(p.State))
	}
	for _, r := range x.Presence.Registrations {
		text := "counts as open, as no publication says open or closed"
		if says {
			text = "does not count, as a publication says open or closed"
		}
		add("registered", "%s; %s", r.Contact, text)
	}
	if len(x.Presence.Publications)+len(x.Presence.Registrations) == 0 && x.Presence.Permanent == nil {
		add("source", "none: nothing is published and no device is registered")
	}
	for _, s := range x.Subscriptions {
		add("watches", "%s; for %s, %s left, last NOTIFY %d, over %s", standingOf(s), lasts(time.Since(s.Since)), lasts(time.Until(s.Expires)), s.Notified, s.Flow)
	}
	if len(x.Subscriptions) == 0 {
		add("watches", "no: it has no subscription of its own")
	}
	return rows
}

func lasts(d time.Duration) string { return max(d, 0).Round(time.Second).String() }

func wordOf(s api.State) string {
	return agent.Presence{Basic: s.Basic, Activities: s.Activities}.Word()
}

func stateText(s api.State) string {
	if s.Note == "" {
		return wordOf(s)
	}
	return wordOf(s) + ": " + s.Note
}

func standingOf(s api.Subscription) string {
	if s.Suspended {
		return s.Standing + ", connection lost"
	}
	return s.Standing
}
