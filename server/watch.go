package server

import (
	"context"
	"errors"
	"fmt"

	"rollcall/api"
	"rollcall/auth"
	"rollcall/event"
	"rollcall/presence"
	"rollcall/sip"
)

// viewer is the account of a token, which presence rules judge; the zero AOR is of one whom
// the administrator lets see all.
func viewer(t auth.Token) sip.AOR {
	aor, err := sip.ParseAORString(t.AOR)
	if err != nil {
		return sip.AOR{}
	}
	return aor
}

// SeePresence implements api.Watcher.
func (b backend) SeePresence(ctx context.Context, t auth.Token, aor string) (api.Presence, error) {
	watcher := viewer(t)
	if watcher.IsZero() {
		return b.Presence(ctx, aor)
	}
	a, err := b.account(ctx, aor)
	if err != nil {
		return api.Presence{}, err
	}
	if rule := b.apart(ctx, watcher, a); rule != "" {
		return api.Presence{}, fmt.Errorf("%w: rule %s", api.ErrForbidden, rule)
	}
	v, err := b.notifier.Judge(ctx, presence.Name, watcher, a)
	if err != nil {
		return api.Presence{}, err
	}
	switch v.Standing {
	case event.Active:
	case event.Pending:
		return api.Presence{}, fmt.Errorf("%w: %s has not answered yet", api.ErrPending, a)
	default:
		return api.Presence{}, fmt.Errorf("%w: %s has not allowed it", api.ErrForbidden, a)
	}
	body, _, err := b.notifier.Look(ctx, presence.Name, a, event.View{Type: presence.TypePIDF, Class: v.Class})
	if err != nil {
		return api.Presence{}, err
	}
	return api.Presence{AOR: a.String(), State: stateOf(body.Bytes), Document: string(body.Bytes), Publications: []api.Publication{}, Registrations: []api.Registration{}}, nil
}

// maxWatched bounds the accounts of one stream.
const maxWatched = 2000

// WatchPresence implements api.Watcher.
func (b backend) WatchPresence(ctx context.Context, t auth.Token, aors, groups []string, ready func(), f func(api.Watched) error) error {
	var list []sip.AOR
	seen := map[sip.AOR]bool{}
	add := func(a sip.AOR) {
		if !seen[a] {
			seen[a] = true
			list = append(list, a)
		}
	}
	for _, text := range aors {
		a, err := b.account(ctx, text)
		if err != nil {
			return err
		}
		add(a)
	}
	for _, name := range groups {
		members, err := b.membersOf(ctx, t, name)
		if err != nil {
			return err
		}
		for _, m := range members {
			add(m.AOR)
		}
	}
	if len(list) > maxWatched {
		return fmt.Errorf("%w: these are %d accounts, a stream has up to %d", api.ErrInvalid, len(list), maxWatched)
	}
	ready()
	err := b.notifier.Watch(ctx, presence.Name, viewer(t), list, func(seen []event.Seen) error {
		for i := range seen {
			if err := f(watchedOf(&seen[i])); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, event.ErrTooMany) {
		return fmt.Errorf("%w: too many subscriptions", api.ErrBusy)
	}
	return err
}

func watchedOf(s *event.Seen) api.Watched {
	w := api.Watched{AOR: s.AOR.String(), Standing: s.Standing.String()}
	if s.Standing == event.Refused {
		w.Standing = "refused"
	}
	if s.Standing == event.Active {
		w.State, w.Document = stateOf(s.Body.Bytes), string(s.Body.Bytes)
	}
	return w
}

// membersOf lists a group as the account of a token finds it.
func (b backend) membersOf(ctx context.Context, t auth.Token, name string) ([]auth.GroupMember, error) {
	c := companyLists{s: b.Server}
	address := auth.GroupAddress(name)
	var members []auth.GroupMember
	var err error
	if watcher := viewer(t); watcher.IsZero() {
		members, err = b.groups.Members(ctx, address)
	} else {
		members, err = c.group(ctx, address, watcher)
	}
	if err == nil && len(members) == 0 {
		err = fmt.Errorf("group %q: %w", name, api.ErrNotFound)
	}
	return members, err
}

// Groups implements api.Watcher.
func (b backend) Groups(ctx context.Context, t auth.Token) ([]api.Group, error) {
	names, err := b.groups.Names(ctx)
	if err != nil {
		return nil, err
	}
	var list []api.Group
	for _, name := range names {
		members, err := b.membersOf(ctx, t, name)
		if errors.Is(err, api.ErrNotFound) {
			continue // nobody in it whom this token finds
		}
		if err != nil {
			return nil, err
		}
		list = append(list, api.Group{Name: name, Address: b.groupAddress(name), Count: len(members)})
	}
	return list, nil
}

// groupAddress is that of a group's list of contacts, "" if there are none.
func (s *Server) groupAddress(name string) string {
	prefix := s.cfg.Load().Presence.GroupLists
	if prefix == "" {
		return ""
	}
	return "sip:" + prefix + auth.GroupAddress(name) + "@" + s.domains[0]
}

// Group implements api.Watcher.
func (b backend) Group(ctx context.Context, t auth.Token, name string, from, limit int) (api.Group, error) {
	members, err := b.membersOf(ctx, t, name)
	if err != nil {
		return api.Group{}, err
	}
	g := api.Group{Name: name, Address: b.groupAddress(name), Count: len(members)}
	members = members[min(from, len(members)):]
	if len(members) > limit {
		members, g.Next = members[:limit], from+limit
	}
	for _, m := range members {
		w := api.Watched{AOR: m.AOR.String(), Standing: event.Active.String()}
		p, err := b.SeePresence(ctx, t, w.AOR)
		switch {
		case errors.Is(err, api.ErrPending):
			w.Standing = event.Pending.String()
		case errors.Is(err, api.ErrForbidden):
			w.Standing = "refused"
		case err != nil:
			return g, err
		default:
			w.State = p.State
		}
		g.Members = append(g.Members, w)
	}
	return g, nil
}
