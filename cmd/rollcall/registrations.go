package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/api"
)

func (a *app) registrations() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "registrations [AOR]",
		Short: "List the bindings in force, of one account or of all",
		Args:  args(0, 1, "at most one AOR"),
		RunE: func(c *cobra.Command, given []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			aor := ""
			if len(given) == 1 {
				own, err := ownAOR(c, cfg, given[0])
				if err != nil {
					return err
				}
				aor = own.String()
			}
			client, err := api.Dial(c.Context(), cfg.Socket())
			if err != nil {
				return fmt.Errorf("%w; start it with `rollcall serve`", err)
			}
			defer client.Close()
			regs, err := client.Registrations(c.Context(), aor)
			if err != nil {
				if aor != "" {
					err = fmt.Errorf("%s: %w", aor, err)
				}
				return adviseList(err)
			}
			if asJSON {
				return a.json(regs)
			}
			rows := make([][]string, len(regs))
			for i, r := range regs {
				left := time.Until(r.Expires).Round(time.Second)
				rows[i] = []string{r.AOR, r.Contact, left.String(), fmt.Sprintf("%.3g", r.Q), r.Flow, r.Instance, strings.TrimSpace(r.UserAgent)}
			}
			return a.table([]string{"AOR", "CONTACT", "EXPIRES IN", "Q", "FLOW", "INSTANCE", "USER AGENT"}, rows)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
