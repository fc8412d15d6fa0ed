package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/config"
)

// PricesOf are the prices of a configuration.
func PricesOf(c *config.Config) api.Prices {
	p := c.Prices
	return api.Prices{Currency: p.Currency, Message: p.Message, Megabyte: p.Megabyte, User: p.User, Day: p.SubscriptionDay}
}

// Usage implements api.Administration.
func (b backend) Usage(ctx context.Context, month string, byUser bool) (*api.UsageReport, error) {
	cfg := b.cfg.Load()
	from, to, err := api.ParseMonth(month, time.Now().In(cfg.Location()))
	if err != nil {
		return nil, err
	}
	u, err := archive.Folder{Dir: cfg.ArchiveDir()}.Usage(ctx, from, to)
	if err != nil {
		return nil, err
	}
	return api.Charge(u, PricesOf(cfg), byUser), nil
}

// actAudit is the action of the act of who reads the acts.
const actAudit = "audit"

// Audit implements api.Administration.
func (b backend) Audit(ctx context.Context, actor string, q api.AuditQuery) (*api.AuditPage, error) {
	text := "type:act"
	for _, bound := range [...]struct{ name, value string }{{"after", q.After}, {"before", q.Before}} {
		switch {
		case bound.value == "":
		case strings.ContainsAny(bound.value, " \t\""):
			return nil, fmt.Errorf("%w: %s is a day as 2026-11-23, or RFC 3339", api.ErrInvalid, bound.name)
		default:
			text += " " + bound.name + ":" + bound.value
		}
	}
	cfg := b.cfg.Load()
	query, err := archive.ParseQuery(text, cfg.Location())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	object := strings.TrimPrefix(text, "type:act")
	if q.Actor != "" {
		object += " actor:" + q.Actor
	}
	for _, a := range q.Actions {
		object += " action:" + a
	}
	if _, err := b.act(ctx, actor, actAudit, strings.TrimSpace(object), q.Reason, nil); err != nil {
		return nil, err
	}
	page := &api.AuditPage{Acts: []api.Audited{}}
	name := strings.ToLower(q.Actor)
	each := func(r *archive.Record) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if r.Type != archive.TypeAct || r.Seq < q.From || !query.Matches(r) || len(q.Actions) > 0 && !slices.Contains(q.Actions, r.Action) ||
			!strings.Contains(strings.ToLower(r.Actor), name) {
			return nil
		}
		if len(page.Acts) == q.Limit {
			page.Next = r.Seq
			return errEnough
		}
		page.Acts = append(page.Acts, audited(r, q.Contents))
		return nil
	}
	folder := archive.Folder{Dir: cfg.ArchiveDir()}
	if q.From > 0 {
		err = folder.ScanFrom(q.From, each)
	} else {
		err = folder.Search(ctx, query, func(r *archive.Record, _ archive.Pos) error { return each(r) })
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return page, err
}

// audited is an act as an audit shows it. What a supervisor wrote about a
// message is for those who may read messages.
func audited(r *archive.Record, contents bool) api.Audited {
	a := api.Audited{Seq: r.Seq, ID: r.ID, At: r.Received, Actor: r.Actor, Action: r.Action, Object: r.Object, Reason: r.Reason, Rule: r.Rule}
	if !r.Cites.IsZero() {
		a.Cites = &r.Cites
	}
	if r.Comments() && !contents {
		a.Reason = ""
	}
	return a
}

// policyState is what is known of the policy besides the rules.
type policyState struct {
	since time.Time
	fault *api.PolicyFault // of the file as it was last read
}

// noteFault keeps why the file is not in force, or with nil that it is.
func (s *Server) noteFault(err error) {
	next := policyState{since: s.policy.Load().since}
	if err != nil {
		next.fault = &api.PolicyFault{At: time.Now().UTC(), Error: err.Error()}
	}
	s.policy.Store(&next)
}

// Policy implements api.Administration.
func (b backend) Policy(context.Context) (api.PolicyState, error) {
	rules, state := b.rules.Load(), b.policy.Load()
	return api.PolicyState{Version: rules.Version(), Since: state.since, File: b.cfg.Load().Policy.File, Rules: rules.Text(), Fault: state.fault}, nil
}
