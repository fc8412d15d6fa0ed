package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"rollcall/api"
)

// userReport says who uses the system.
func (a *app) userReport() *cobra.Command {
	var asJSON, asCSV, unused bool
	var days int
	c := &cobra.Command{
		Use:   "report",
		Short: "Say who uses the system, from where and with what, and who does not",
		Long: "The running server reads its record and its registrations. An account is unused when it sent and took no message, watched\n" +
			"nobody and did not register for so many days, and is older than that. What tokens act as an account tells what it is for\n" +
			"when it is no person's. Asking is an act in the record.",
		Example: "  rollcall user report --unused --days 90 --csv",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if days < 1 {
				return usage(c, "--days wants 1 or more")
			}
			return a.ask(c, nil, func(ctx context.Context, client *api.Client, _ []string) error {
				report, err := client.NameReport(ctx, days)
				if err != nil {
					return err
				}
				if unused {
					report.Accounts = slices.DeleteFunc(report.Accounts, func(n api.NameUse) bool { return !n.Unused })
				}
				switch {
				case asJSON:
					return a.json(report)
				case asCSV:
					return report.WriteCSV(a.stdout)
				}
				cfg, err := a.load()
				if err != nil {
					return err
				}
				rows := make([][]string, len(report.Accounts))
				for i := range report.Accounts {
					rows[i] = report.Accounts[i].Line(cfg.Location())
				}
				return a.table(upper(api.NameHeader), rows)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&asCSV, "csv", false, "print CSV")
	c.Flags().BoolVar(&unused, "unused", false, "only accounts that are unused")
	c.Flags().IntVar(&days, "days", 90, "how far back to look")
	return c
}
