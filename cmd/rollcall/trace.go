package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"rollcall/api"
	"rollcall/sip"
)

func (a *app) trace() *cobra.Command {
	var q api.TraceQuery
	var asJSON, headers bool
	c := &cobra.Command{
		Use:   "trace [--aor AOR] [--call-id ID]",
		Short: "Show SIP messages as the server receives and sends them, until interrupted",
		Long: "Each message is a line: who was heard (-->) or sent to (<--), what was said, and of which call. --headers shows the\n" +
			"header fields too, without credentials. Bodies are hidden but with --bodies, which is recorded, as whoever\n" +
			"sees them reads what people write.",
		Example: "  rollcall trace --aor alice\n  rollcall trace --call-id a84b4c76e66710 --headers",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			if q.AOR != "" {
				aor, err := parseAOR(c, cfg, q.AOR) // of another domain too: messages come from there
				if err != nil {
					return err
				}
				q.AOR = aor.String()
			}
			if q.Reason != "" && !q.Bodies {
				return usage(c, "--reason goes with --bodies")
			}
			client, err := api.Dial(c.Context(), cfg.Socket())
			if err != nil {
				return fmt.Errorf("%w; start it with `rollcall serve`", err)
			}
			defer client.Close()
			lines := json.NewEncoder(a.stdout)
			lines.SetEscapeHTML(false)
			err = client.Trace(c.Context(), q, func(t api.Traced) error {
				if asJSON {
					return lines.Encode(t)
				}
				return a.ladder(t, headers || q.Bodies)
			})
			if c.Context().Err() != nil { // interrupted, which is how it ends
				return nil
			}
			if errors.Is(err, api.ErrForbidden) || errors.Is(err, api.ErrInvalid) {
				return err
			}
			return fmt.Errorf("%w; the server has ended", err)
		},
	}
	f := c.Flags()
	f.StringVar(&q.AOR, "aor", "", "messages from or to `AOR`, or for it")
	f.StringVar(&q.CallID, "call-id", "", "messages of the call or dialog with this `ID`")
	f.BoolVar(&headers, "headers", false, "print header fields")
	f.BoolVar(&q.Bodies, "bodies", false, "print header fields and bodies; this is recorded")
	f.StringVar(&q.Reason, "reason", "", "why bodies are read; it is recorded")
	f.BoolVar(&asJSON, "json", false, "print JSON, a value for each message, one a line")
	return c
}

// peerWidth is that of transport and address in a ladder: those of IPv4 fit, longer ones move their line.
const peerWidth = 26

// ladder prints a message as a line, and below it what else is wanted.
func (a *app) ladder(t api.Traced, whole bool) error {
	if t.Lost > 0 {
		a.note("%d messages were left out: there are more than can be shown", t.Lost)
	}
	arrow, code := "-->", green
	if t.Sent {
		arrow, code = "<--", ""
	}
	start := strings.TrimSuffix(strings.TrimPrefix(t.Start, "SIP/2.0 "), " SIP/2.0")
	if start != t.Start && strings.HasPrefix(t.Start, "SIP/2.0 ") { // of which request, of those under way
		if challenge := strings.HasPrefix(start, "401 ") || strings.HasPrefix(start, "407 "); start >= "3" && !challenge {
			code = red
		}
		if _, method, ok := strings.Cut(t.CSeq, " "); ok {
			start += " (" + method + ")"
		}
	}
	cells := []string{t.At.Local().Format("15:04:05.000"), printable(t.Flow), arrow, printable(start), partyName(t.From) + " > " + partyName(t.To), printable(t.CallID)}
	if !isTerminal(a.stdout) {
		if err := a.say("%s", strings.Join(cells, "\t")); err != nil {
			return err
		}
	} else {
		pad := strings.Repeat(" ", max(peerWidth-utf8.RuneCountInString(cells[1]), 0))
		if code != "" {
			cells[3] = a.color(code, cells[3])
		}
		if err := a.say("%s  %s%s %s %s  %s  %s", a.color(dim, cells[0]), cells[1], pad, arrow, cells[3], cells[4], a.color(dim, cells[5])); err != nil {
			return err
		}
	}
	if !whole {
		return nil
	}
	text := t.Head
	switch {
	case t.Body != "":
		text += "\r\n\r\n" + t.Body
	case t.Length > 0:
		text += fmt.Sprintf("\r\n\r\n(%s)", bytesText(int64(t.Length)))
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\n") {
		if err := a.say("    %s", printable(strings.TrimSuffix(line, "\r"))); err != nil {
			return err
		}
	}
	return nil
}

// partyName is who an AOR is of, as a ladder has room for it.
func partyName(aor string) string {
	if a, err := sip.ParseAORString(aor); err == nil {
		return printable(a.User())
	}
	return "?"
}
