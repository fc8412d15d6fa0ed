package api

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Names says who uses the system.
type Names interface {
	// NameReport reads the record back to since, and records that it does.
	NameReport(ctx context.Context, actor string, days int) (*NameReport, error)
}

// NameReport is the name space: each account with its use, and the aliases.
type NameReport struct {
	// Since is from when on the record was read. Who did nothing since is unused.
	Since    time.Time `json:"since"`
	Accounts []NameUse `json:"accounts"`
	Aliases  []Alias   `json:"aliases"`
}

// NameUse is an account with its use.
type NameUse struct {
	AOR      string    `json:"aor"`
	Name     string    `json:"display_name,omitempty"`
	Email    string    `json:"email,omitempty"`
	Unit     string    `json:"unit,omitempty"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
	// Programs are the tokens that act as the account, by name: what it is for, when it is no person's.
	Programs []string `json:"programs,omitempty"`
	// Aliases are its further addresses, each with its purpose behind it in parentheses.
	Aliases []string `json:"aliases,omitempty"`
	// Unused: it was there all the time, and neither registered nor did anything.
	Unused bool `json:"unused"`
	// Last is when it sent or took a message, watched somebody at a full hour, or registered; absent: not since then.
	Last     time.Time `json:"last,omitzero"`
	Sent     uint64    `json:"sent"`
	Received uint64    `json:"received"`
	Devices  int       `json:"devices"` // registered now
	// Source and Client are of the device that registered last or, without one, of the last message: "udp 192.0.2.1:5060",
	// "Linphone/5.2".
	Source string `json:"source,omitempty"`
	Client string `json:"client,omitempty"`
}

// NameHeader names the columns of a line.
var NameHeader = []string{"aor", "display_name", "email", "unit", "state", "last", "sent", "received", "devices", "source", "client", "programs", "aliases", "created"}

// State is "disabled", "unused" or "used".
func (n *NameUse) State() string {
	switch {
	case n.Disabled:
		return "disabled"
	case n.Unused:
		return "unused"
	}
	return "used"
}

// Line is the account as a line of CSV, with times in a zone.
func (n *NameUse) Line(zone *time.Location) []string {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.In(zone).Format(time.RFC3339)
	}
	return []string{n.AOR, n.Name, n.Email, n.Unit, n.State(), at(n.Last), strconv.FormatUint(n.Sent, 10), strconv.FormatUint(n.Received, 10),
		strconv.Itoa(n.Devices), n.Source, n.Client, strings.Join(n.Programs, ";"), strings.Join(n.Aliases, ";"), at(n.Created)}
}

// WriteCSV writes a header and a line for each account.
func (r *NameReport) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(NameHeader); err != nil {
		return err
	}
	for i := range r.Accounts {
		if err := out.Write(noFormulas(r.Accounts[i].Line(time.UTC))); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// noFormulas puts ' before what a spreadsheet would take for a formula.
func noFormulas(line []string) []string {
	for i, s := range line {
		if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
			line[i] = "'" + s
		}
	}
	return line
}

// reportDays is how far back a report looks when nobody says, and reportMost at most.
const (
	reportDays = 90
	reportMost = 3660
)

func nameRoutes(mux *http.ServeMux, b Names) {
	mux.HandleFunc("GET /api/v1/users/report", func(w http.ResponseWriter, r *http.Request) {
		extend(w)
		days := reportDays
		if text := r.URL.Query().Get("days"); text != "" {
			var err error
			if days, err = strconv.Atoi(text); err != nil || days < 1 || days > reportMost {
				reply(w, nil, fmt.Errorf("%w: days is 1 to %d", ErrInvalid, reportMost))
				return
			}
		}
		report, err := b.NameReport(r.Context(), actorOf(r), days)
		if err != nil || !wantsCSV(r) {
			reply(w, report, err)
			return
		}
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		_ = report.WriteCSV(w) // a reader that went away needs no answer
	})
}

// NameReport calls Names.NameReport as the user who runs this process.
func (c *Client) NameReport(ctx context.Context, days int) (r *NameReport, err error) {
	err = c.call(ctx, http.MethodGet, "/api/v1/users/report?"+url.Values{"days": {strconv.Itoa(days)}}.Encode(), nil, &r)
	return r, err
}
