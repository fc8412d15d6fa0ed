package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/api"
	"rollcall/archive"
)

// finder finds records for commands: by the running server, or in the files.
type finder struct {
	*app
	open  func() (record, error)
	reads reader
	// server returns a client of the server that keeps the archive, nil when there is none.
	server func(c *cobra.Command) (*api.Client, *time.Location, error)
}

// recordServer returns a client of the configured server, and the zone of its times; nil when none runs.
func (a *app) recordServer(c *cobra.Command) (*api.Client, *time.Location, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, nil, nil //nolint:nilerr // it is told where the files are opened
	}
	client, err := api.Dial(c.Context(), cfg.Socket())
	if errors.Is(err, api.ErrNoServer) {
		return nil, nil, nil
	}
	return client, cfg.Location(), err
}

// found says of an answer of the server that it may not be all.
func (a *app) found(s api.Searched) {
	if s.Behind > 0 {
		a.note("The index is %d records behind (%s): the newest may be missing.", s.Behind, s.Age.Round(100*time.Millisecond))
	}
}

// find calls f with what a query finds. The search is recorded if a server keeps the archive.
func (f finder) find(c *cobra.Command, r api.SearchRequest, as string, each func(v archive.View, zone *time.Location) error) error {
	client, zone, err := f.server(c)
	if err != nil {
		return err
	}
	if client != nil {
		defer client.Close()
		client.As = as
		if _, err := archive.ParseQuery(r.Query, zone); err != nil {
			return usage(c, "%v", err)
		}
		return client.Search(c.Context(), r, f.found, func(v archive.View) error { return each(v, zone) })
	}
	at, err := f.open()
	if err != nil {
		return err
	}
	q, err := archive.ParseQuery(r.Query, at.zone)
	if err != nil {
		return usage(c, "%v", err)
	}
	if err := f.reads(c, api.Act{Action: "search", Object: r.Query, Reason: r.Reason}, as); err != nil {
		return err
	}
	n := 0
	enough := errors.New("enough")
	err = at.Search(c.Context(), q, func(rec *archive.Record, _ archive.Pos) error {
		if err := each(rec.View(false), at.zone); err != nil {
			return err
		}
		if n++; n == r.Limit {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		return nil
	}
	return adviseVerify(err)
}

func (a *app) archiveSearch(find finder) *cobra.Command {
	var f custody
	var asJSON bool
	r := api.SearchRequest{}
	c := &cobra.Command{
		Use:   "search QUERY",
		Short: "Find records by words, parties, time and outcome",
		Long: "QUERY has words and \"phrases\", which must all stand in the body, the subject or the sender's name, and the\n" +
			"fields from: to: with: conversation: unit: group: flagged: has: after: before: type: disposition:. Words match in any\n" +
			"case and without accents. A party is an address, a user or a domain; conversation:alice,bob is what they wrote to each\n" +
			"other. flagged: names a rule that wants a review, has: is attachment, link, flag or comment. A time is a day in the\n" +
			"configured time_zone, or RFC 3339. type: is message (if not given), outcome, act or all; disposition: is\n" +
			"delivered, stored, refused, expired, failed, interrupted or dropped.",
		Example: "  rollcall archive search 'with:alice after:2026-11-01 \"quarterly figures\"'",
		Args:    args(1, -1, "a QUERY"),
		RunE: func(c *cobra.Command, given []string) error {
			r.Query, r.Reason = strings.Join(given, " "), f.reason
			list := a.list(asJSON)
			err := find.find(c, r, f.as, list.add)
			var wrong *usageError
			if errors.As(err, &wrong) {
				return err
			}
			if err := errors.Join(err, list.end()); err != nil {
				return err
			}
			if list.n == 0 && isTerminal(a.stdout) {
				a.note("No record matches.")
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().IntVar(&r.Limit, "limit", 0, "stop after so many (default: all)")
	f.flags(c, true)
	return c
}

func (a *app) archiveConversation(find finder) *cobra.Command {
	var f custody
	var asJSON bool
	var after, before string
	var limit int
	gap := archive.ThreadGap
	c := &cobra.Command{
		Use:   "conversation PARTY PARTY…",
		Short: "Read what two or more people wrote to each other, in threads",
		Long: "Each PARTY is an address or a user; with a single one, such as a group's address, all its messages are read. After a\n" +
			"silence of --gap or longer a new thread begins.",
		Example: "  rollcall archive conversation alice bob --after 2026-11-01 --reason 'inquiry 7' --as dora",
		Args:    args(1, -1, "PARTY PARTY…"),
		RunE: func(c *cobra.Command, given []string) error {
			if gap <= 0 {
				return usage(c, "--gap wants a time such as 1h or 30m")
			}
			if limit < 1 {
				return usage(c, "--limit is a number of messages")
			}
			narrow := ""
			for _, bound := range []struct{ field, day string }{{"after", after}, {"before", before}} {
				if bound.day != "" {
					narrow += " " + bound.field + `:"` + bound.day + `"`
				}
			}
			query, err := api.ConversationQuery(given, narrow)
			if err != nil {
				return usage(c, "%s", strings.TrimPrefix(err.Error(), api.ErrInvalid.Error()+": "))
			}
			var list []archive.View
			zone := time.UTC
			err = find.find(c, api.SearchRequest{Query: query, Reason: f.reason, Limit: limit + 1}, f.as, func(v archive.View, z *time.Location) error {
				zone = z
				list = append(list, v)
				return nil
			})
			if err != nil {
				return err
			}
			more := len(list) > limit
			threads := archive.Threads(list[:min(len(list), limit)], gap)
			if asJSON {
				return a.json(api.Conversation{Threads: threads, More: more})
			}
			if more {
				a.note("There is more: these are the first %d messages; --after goes on.", limit)
			}
			if len(list) == 0 && isTerminal(a.stdout) {
				a.note("They wrote nothing to each other.")
			}
			return archive.WriteThreads(a.stdout, threads, zone)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&after, "after", "", "first `DAY`, or a time")
	c.Flags().StringVar(&before, "before", "", "`DAY` at whose beginning it ends, or a time")
	c.Flags().DurationVar(&gap, "gap", gap, "silence after which a thread begins")
	c.Flags().IntVar(&limit, "limit", 100_000, "read so many messages at most")
	f.flags(c, true)
	return c
}

// list prints records one by one, as lines or as a JSON array.
type list struct {
	*app
	asJSON bool
	n      int
}

func (a *app) list(asJSON bool) *list { return &list{app: a, asJSON: asJSON} }

func (l *list) add(v archive.View, zone *time.Location) error {
	l.n++
	if l.asJSON {
		open := ","
		if l.n == 1 {
			open = "["
		}
		if _, err := fmt.Fprint(l.stdout, open); err != nil {
			return err
		}
		return l.json(v)
	}
	return l.line(v, zone)
}

func (l *list) end() error {
	switch {
	case !l.asJSON:
		return nil
	case l.n == 0:
		return l.say("[]")
	}
	return l.say("]")
}

// line prints a record for people, or, in a pipe, its ID, time, parties and text parted by tabs.
func (a *app) line(v archive.View, zone *time.Location) error {
	if !v.Received.IsZero() {
		v.Received = v.Received.In(zone)
	}
	v.Archived = v.Archived.In(zone)
	if isTerminal(a.stdout) {
		return a.say("%s", v.Line())
	}
	at, text := v.Time(), v.Body
	switch {
	case v.Content != "":
		text = "(" + v.Content + ")"
	case v.Type == archive.TypeAct.String():
		text = strings.TrimSpace(v.Actor + " " + v.Action + " " + v.Object + " " + v.Reason)
	case v.Type != archive.TypeMessage.String():
		text = strings.TrimSpace(v.Type + " " + v.Disposition)
		if v.Status != 0 {
			text = strings.TrimSpace(fmt.Sprintf("%s %d %s", text, v.Status, v.Reason))
		}
	case v.BodyOmitted:
		text = "(body not kept)"
	case len(v.BodyBytes) > 0:
		text = fmt.Sprintf("(%d bytes)", len(v.BodyBytes))
	}
	return a.table(nil, [][]string{{v.ID.String(), at.Format("2006-01-02T15:04:05.000Z07:00"), v.From, v.To, text}})
}
