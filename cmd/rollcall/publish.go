package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/agent"
)

// states are what `publish` takes for a state: the words of PIDF, and activities of somebody who can be reached.
var states = []string{"open", "closed", "busy", "away"}

func (a *app) publish() *cobra.Command {
	var (
		flags   agentFlags
		expires time.Duration
		asJSON  bool
	)
	c := &cobra.Command{
		Use:   "publish AOR open|closed|busy|away [NOTE]",
		Short: "Publish the presence of an account and print the answer",
		Long: "busy and away are open, with the activity. Nothing is refreshed: what was published ends after --expires, or when\n" +
			"the next publish takes its place. Any answer but 2xx is exit code 1. A server may end what came over TCP when the\n" +
			"connection is gone, which it is with the command (this one does after [presence] flow_grace); a long note is sent over TCP.",
		Example:   "  rollcall publish alice busy \"in a meeting\"",
		Args:      args(2, 3, "AOR open|closed|busy|away [NOTE]"),
		ValidArgs: states,
		RunE: func(c *cobra.Command, given []string) error {
			if !slices.Contains(states, given[1]) {
				return usage(c, "%q is none of %s", given[1], strings.Join(states, ", "))
			}
			if expires < time.Second {
				return usage(c, "--expires %s is less than a second", expires)
			}
			p := agent.Presence{Basic: given[1]}
			if given[1] == "busy" || given[1] == "away" {
				p = agent.Presence{Basic: "open", Activities: given[1:2]}
			}
			if len(given) > 2 {
				p.Note = given[2]
			}
			cfg, _, err := a.agent(c, flags, given[0])
			if err != nil {
				return err
			}
			pub, err := agent.Publish(c.Context(), cfg, p, expires)
			if err != nil {
				return fmt.Errorf("publish at %s: %w", cfg.Server, err)
			}
			if asJSON {
				m := resultJSON(pub.Result)
				m["etag"], m["expires_s"] = pub.ETag, int(pub.Expires/time.Second)
				err = a.json(m)
			} else {
				err = a.answer(pub.Result)
			}
			if err == nil && !pub.Accepted() {
				return a.refused(pub.Result, "there is no such account; `rollcall user list` shows those there are")
			}
			return err
		},
	}
	flags.add(c)
	c.Flags().DurationVar(&expires, "expires", time.Hour, "how long it holds")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
