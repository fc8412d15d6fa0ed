package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"rollcall/agent"
)

func (a *app) watch() *cobra.Command {
	var (
		flags   agentFlags
		expires time.Duration
		asJSON  bool
	)
	c := &cobra.Command{
		Use:   "watch FROM [TO…]",
		Short: "Register as an account and show messages and presence, until interrupted",
		Long: "Messages to FROM are shown as they arrive, and the presence of each TO now and when it changes: open, closed, or what\n" +
			"the person is doing, and the note. TO may be a list, such as sip:group-sales@example.com: then its members are shown.",
		Example: "  rollcall watch bob\n  rollcall watch bob alice carol\n  rollcall watch bob group-sales",
		Args:    args(1, -1, "FROM [TO…]"),
		RunE: func(c *cobra.Command, given []string) error {
			cfg, conf, err := a.agent(c, flags, given[0])
			if err != nil {
				return err
			}
			var presentities []string
			for _, s := range given[1:] {
				to, err := parseAOR(c, conf, s)
				if err != nil {
					return err
				}
				if !slices.Contains(presentities, to.String()) {
					presentities = append(presentities, to.String())
				}
			}
			cfg.Expires = expires
			enc := json.NewEncoder(a.stdout)
			enc.SetEscapeHTML(false)
			err = agent.Watch(c.Context(), cfg, func(e agent.Event) {
				if asJSON {
					_ = enc.Encode(eventJSON(e)) // a closed pipe ends the process by its signal
					return
				}
				line := e.String()
				if e.Kind != agent.Message && e.Kind != agent.State {
					line = a.color(dim, line)
				}
				_ = a.say("%s", line)
			}, presentities...)
			if err != nil {
				return fmt.Errorf("watch at %s: %w", cfg.Server, err)
			}
			return nil
		},
	}
	flags.add(c)
	c.Flags().DurationVar(&expires, "expires", time.Hour, "lifetime of the registration and the subscriptions to ask for")
	c.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each event")
	return c
}

// eventJSON is an event with the fields that its kind has.
func eventJSON(e agent.Event) map[string]any {
	m := map[string]any{"kind": e.Kind.String(), "time": e.Time.UTC().Format(time.RFC3339Nano)}
	for name, v := range map[string]string{
		"from": e.From, "to": e.To, "display": e.Display, "call_id": e.CallID, "content_type": e.ContentType,
		"text": e.Text, "message_id": e.MessageID, "reason": e.Reason, "basic": e.Presence.Basic, "note": e.Presence.Note,
	} {
		if v != "" {
			m[name] = v
		}
	}
	if len(e.Presence.Activities) > 0 {
		m["activities"] = e.Presence.Activities
	}
	if !e.Sent.IsZero() {
		m["sent"] = e.Sent.UTC().Format(time.RFC3339Nano)
	}
	if e.Expires > 0 {
		m["expires_s"] = int(e.Expires / time.Second)
	}
	if e.Status > 0 {
		m["status"] = e.Status
	}
	return m
}
