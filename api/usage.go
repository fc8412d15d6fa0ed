package api

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"rollcall/archive"
)

// Prices are what units are charged, in thousandths of the currency. Without a
// currency nothing is.
type Prices struct {
	Currency string
	Message  int
	Megabyte int // of bodies, a million bytes
	User     int // that wrote in the month
	Day      int // of a subscription: 24 of its hours
}

// Charged is the use of a unit or an account with what it costs.
type Charged struct {
	archive.Use
	Charge   float64 `json:"charge,omitempty"`
	Currency string  `json:"currency,omitempty"`
}

// UsageReport is the use of a month, by unit or by account.
type UsageReport struct {
	Month string    `json:"month"` // 2026-11
	Rows  []Charged `json:"rows"`
	Total Charged   `json:"total"`

	byUser bool
}

// Charge puts prices on the use of a month, with a row for each unit or, byUser,
// for each account.
func Charge(u *archive.Usage, p Prices, byUser bool) *UsageReport {
	list := u.Units
	if byUser {
		list = u.Users
	}
	r := &UsageReport{Month: u.Month, Rows: make([]Charged, len(list)), Total: p.charge(u.Total), byUser: byUser}
	for i, use := range list {
		r.Rows[i] = p.charge(use)
	}
	return r
}

func (p Prices) charge(u archive.Use) Charged {
	c := Charged{Use: u}
	if p.Currency != "" {
		c.Currency = p.Currency
		c.Charge = (float64(u.Messages)*float64(p.Message) + float64(u.Bytes)/1e6*float64(p.Megabyte) +
			float64(u.Users)*float64(p.User) + float64(u.Hours)/24*float64(p.Day)) / 1000
	}
	return c
}

// Header names the columns of CSV.
func (r *UsageReport) Header() []string {
	h := []string{"month", "unit"}
	if r.byUser {
		h = append(h, "user")
	}
	return append(h, "active_users", "messages", "bytes", "refused", "stored_bytes", "charge", "currency", "subscription_hours")
}

// Line is a row as CSV has it.
func (r *UsageReport) Line(c *Charged) []string {
	line := []string{r.Month, c.Unit}
	if r.byUser {
		line = append(line, c.User)
	}
	price := ""
	if c.Currency != "" {
		price = strconv.FormatFloat(c.Charge, 'f', 2, 64)
	}
	for _, n := range [...]uint64{c.Users, c.Messages, c.Bytes, c.Refused, c.Stored} {
		line = append(line, strconv.FormatUint(n, 10))
	}
	return append(line, price, c.Currency, strconv.FormatUint(c.Hours, 10))
}

// WriteCSV writes a header and the rows, without the total. A name that a
// spreadsheet would take for a formula is not one: names come from accounts.
func (r *UsageReport) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(r.Header()); err != nil {
		return err
	}
	for i := range r.Rows {
		if err := out.Write(noFormulas(r.Line(&r.Rows[i]))); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// ParseMonth reads a month as 2026-11, or the one of now for "", and returns its
// beginning and its end: ErrInvalid.
func ParseMonth(text string, now time.Time) (from, to time.Time, err error) {
	from = now
	if text != "" {
		if from, err = time.ParseInLocation("2006-01", text, now.Location()); err != nil {
			return from, to, fmt.Errorf("%w: a month is written as 2026-11", ErrInvalid)
		}
	}
	from = time.Date(from.Year(), from.Month(), 1, 0, 0, 0, 0, now.Location())
	return from, from.AddDate(0, 1, 0), nil
}

// Administration is what administrators ask about the running server.
type Administration interface {
	// Usage adds up a month, written as 2026-11: ErrInvalid.
	Usage(ctx context.Context, month string, byUser bool) (*UsageReport, error)
	// Audit lists acts, in order, and records that it does: ErrInvalid.
	Audit(ctx context.Context, actor string, q AuditQuery) (*AuditPage, error)
	// Policy describes the rules in force.
	Policy(ctx context.Context) (PolicyState, error)
}

func administrationRoutes(mux *http.ServeMux, b Administration) {
	mux.HandleFunc("GET /api/v1/usage", func(w http.ResponseWriter, r *http.Request) {
		extend(w)
		q := r.URL.Query()
		byUser := q.Get("by") == "user"
		if by := q.Get("by"); !byUser && by != "" && by != "unit" {
			reply(w, nil, fmt.Errorf("%w: by is unit or user", ErrInvalid))
			return
		}
		u, err := b.Usage(r.Context(), q.Get("month"), byUser)
		if err != nil || !wantsCSV(r) {
			reply(w, u, err)
			return
		}
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		_ = u.WriteCSV(w) // a reader that went away needs no answer
	})
	mux.HandleFunc("GET /api/v1/audit", func(w http.ResponseWriter, r *http.Request) {
		extend(w)
		q, err := auditQuery(r)
		if err != nil {
			reply(w, nil, err)
			return
		}
		page, err := b.Audit(r.Context(), actorOf(r), q)
		reply(w, page, err)
	})
	mux.HandleFunc("GET /api/v1/policy", func(w http.ResponseWriter, r *http.Request) {
		p, err := b.Policy(r.Context())
		reply(w, p, err)
	})
}

// wantsCSV reports whether a reader wants CSV rather than JSON.
func wantsCSV(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for kind := range strings.SplitSeq(accept, ",") {
			kind, _, _ = strings.Cut(kind, ";")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "text/csv":
				return true
			case "application/json":
				return false
			}
		}
	}
	return false
}
