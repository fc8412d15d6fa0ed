package main

import (
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/archive"
	"rollcall/config"
)

// charged is the use of a unit or an account with what it costs.
type charged struct {
	archive.Use
	Charge   float64 `json:"charge,omitempty"`
	Currency string  `json:"currency,omitempty"`
}

func (a *app) usage() *cobra.Command {
	var month string
	var asCSV, asJSON, byUser bool
	c := &cobra.Command{
		Use:   "usage",
		Short: "What business units used in a month, and what it costs them",
		Long: "The numbers come from the record: messages are charged to the unit that the sender belonged to when he wrote, refused ones\n" +
			"are not charged, and the sums are those of the record. Prices stand in [prices] of the configuration.",
		Example: "  rollcall usage --month 2026-11 --csv",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			from := time.Now().In(cfg.Location())
			if month != "" {
				if from, err = time.ParseInLocation("2006-01", month, cfg.Location()); err != nil {
					return usage(c, "--month wants a month as 2026-11")
				}
			}
			from = time.Date(from.Year(), from.Month(), 1, 0, 0, 0, 0, cfg.Location())
			u, err := archive.Folder{Dir: cfg.ArchiveDir()}.Usage(c.Context(), from, from.AddDate(0, 1, 0))
			if err != nil {
				return adviseVerify(err)
			}
			list := u.Units
			if byUser {
				list = u.Users
			}
			rows := make([]charged, 0, len(list)+1)
			for _, use := range list {
				rows = append(rows, charge(use, &cfg.Prices))
			}
			total := charge(u.Total, &cfg.Prices)
			switch {
			case asJSON:
				return a.json(map[string]any{"month": u.Month, "rows": rows, "total": total})
			case asCSV:
				w := csv.NewWriter(a.stdout)
				for _, row := range append([][]string{usageHeader(byUser)}, usageRows(u.Month, rows, byUser)...) {
					if err := w.Write(row); err != nil {
						return err
					}
				}
				w.Flush()
				return w.Error()
			}
			total.Unit = "total"
			return a.table(upper(usageHeader(byUser)), usageRows(u.Month, append(rows, total), byUser))
		},
	}
	c.Flags().StringVar(&month, "month", "", "`MONTH` as 2026-11 (default: this one)")
	c.Flags().BoolVar(&asCSV, "csv", false, "print CSV")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&byUser, "users", false, "a line for each account, not for each unit")
	return c
}

func charge(u archive.Use, p *config.Prices) charged {
	c := charged{Use: u}
	if p.Currency != "" {
		c.Currency = p.Currency
		c.Charge = (float64(u.Messages)*float64(p.Message) + float64(u.Bytes)/1e6*float64(p.Megabyte) + float64(u.Users)*float64(p.User)) / 1000
	}
	return c
}

func usageHeader(byUser bool) []string {
	h := []string{"month", "unit"}
	if byUser {
		h = append(h, "user")
	}
	return append(h, "active_users", "messages", "bytes", "refused", "stored_bytes", "charge", "currency")
}

func usageRows(month string, list []charged, byUser bool) [][]string {
	rows := make([][]string, len(list))
	for i, c := range list {
		row := []string{month, c.Unit}
		if byUser {
			row = append(row, c.User)
		}
		price := ""
		if c.Currency != "" {
			price = strconv.FormatFloat(c.Charge, 'f', 2, 64)
		}
		rows[i] = append(row, fmt.Sprint(c.Users), fmt.Sprint(c.Messages), fmt.Sprint(c.Bytes), fmt.Sprint(c.Refused), fmt.Sprint(c.Stored), price, c.Currency)
	}
	return rows
}

// upper is a header of CSV as a table shows it.
func upper(names []string) (out []string) {
	for _, n := range names {
		out = append(out, strings.ToUpper(strings.ReplaceAll(n, "_", " ")))
	}
	return out
}
