package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/server"
)

func (a *app) usage() *cobra.Command {
	var month string
	var asCSV, asJSON, byUser bool
	c := &cobra.Command{
		Use:   "usage",
		Short: "What business units used in a month, and what it costs them",
		Long: "The numbers come from the record: messages are charged to the unit that the sender belonged to when he wrote, refused ones\n" +
			"are not charged, and the sums are those of the record. Of presence the subscriptions in force are counted at each full\n" +
			"hour; they are charged to the unit of the watcher. Prices stand in [prices] of the configuration.",
		Example: "  rollcall usage --month 2026-11 --csv",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			from, to, err := api.ParseMonth(month, time.Now().In(cfg.Location()))
			if err != nil {
				return usage(c, "--month wants a month as 2026-11")
			}
			u, err := archive.Folder{Dir: cfg.ArchiveDir()}.Usage(c.Context(), from, to)
			if err != nil {
				return adviseVerify(err)
			}
			report := api.Charge(u, server.PricesOf(cfg), byUser)
			switch {
			case asJSON:
				return a.json(report)
			case asCSV:
				return report.WriteCSV(a.stdout)
			}
			report.Total.Unit = "total"
			rows := make([][]string, 0, len(report.Rows)+1)
			for _, row := range append(report.Rows, report.Total) {
				rows = append(rows, report.Line(&row))
			}
			return a.table(upper(report.Header()), rows)
		},
	}
	c.Flags().StringVar(&month, "month", "", "`MONTH` as 2026-11 (default: this one)")
	c.Flags().BoolVar(&asCSV, "csv", false, "print CSV")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&byUser, "users", false, "a line for each account, not for each unit")
	return c
}

// upper is a header of CSV as a table shows it.
func upper(names []string) (out []string) {
	for _, n := range names {
		out = append(out, strings.ToUpper(strings.ReplaceAll(n, "_", " ")))
	}
	return out
}
