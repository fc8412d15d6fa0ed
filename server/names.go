package server

import (
	"context"
	"time"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/registrar"
)

// actNames is the action of the act of who asks for the use of all accounts.
const actNames = "name-report"

// NameReport implements api.Names.
func (b backend) NameReport(ctx context.Context, actor string, days int) (*api.NameReport, error) {
	since := time.Now().UTC().AddDate(0, 0, -days)
	if _, err := b.act(ctx, actor, actNames, "since "+since.Format(time.RFC3339), "", nil); err != nil {
		return nil, err
	}
	use, err := archive.Folder{Dir: b.cfg.Load().ArchiveDir(), Keys: b.ring}.Activity(ctx, since)
	if err != nil {
		return nil, err
	}
	tokens, err := b.tokens.List(ctx)
	if err != nil {
		return nil, err
	}
	programs := map[string][]string{}
	for _, t := range tokens {
		if t.AOR != "" {
			programs[t.AOR] = append(programs[t.AOR], t.Name)
		}
	}
	r := &api.NameReport{Since: since, Accounts: []api.NameUse{}}
	if r.Aliases, err = b.Users().Aliases(ctx); err != nil {
		return nil, err
	}
	aliases := map[string][]string{}
	for _, a := range r.Aliases {
		aliases[a.Owner] = append(aliases[a.Owner], a.AOR+" ("+a.Purpose+")")
	}
	for a, err := range b.directory.List(ctx) {
		if err != nil {
			return nil, err
		}
		aor := a.AOR.String()
		n := api.NameUse{AOR: aor, Name: a.DisplayName, Email: a.Email, Unit: a.Unit, Disabled: a.Disabled, Created: a.Created, Programs: programs[aor], Aliases: aliases[aor]}
		if u := use[aor]; u != nil {
			n.Last, n.Sent, n.Received, n.Source, n.Client = u.Last, u.Sent, u.Received, u.Source, u.UserAgent
		}
		bindings, err := b.registrar.Lookup(ctx, a.AOR)
		if err != nil {
			return nil, err
		}
		noteDevices(&n, bindings)
		n.Unused = n.Last.IsZero() && n.Created.Before(since)
		r.Accounts = append(r.Accounts, n)
	}
	return r, nil
}

// noteDevices adds what the devices say that are registered now.
func noteDevices(n *api.NameUse, bindings []registrar.Binding) {
	devices := map[string]bool{}
	var newest time.Time
	for i := range bindings {
		d := &bindings[i]
		devices[d.Device()] = true
		if d.Updated.After(newest) {
			newest, n.Source, n.Client = d.Updated, d.Flow.String(), d.UserAgent
		}
	}
	n.Devices = len(devices)
	if newest.After(n.Last) {
		n.Last = newest
	}
}
