package event

import (
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"rollcall/sip"
)

// watchList notes that a watcher has a subscription to a list, or no more.
func (n *Notifier) watchList(s *subscription, on bool) {
	if s.list == nil {
		return
	}
	n.countMu.Lock()
	defer n.countMu.Unlock()
	of := n.lists[s.watcher]
	switch {
	case !on:
		if delete(of, s); len(of) == 0 {
			delete(n.lists, s.watcher)
		}
	case of == nil:
		n.lists[s.watcher] = map[*subscription]struct{}{s: {}}
	default:
		of[s] = struct{}{}
	}
}

// relist looks again at the lists that somebody watches, of everybody for the zero AOR.
// It does not wait.
func (n *Notifier) relist(watcher sip.AOR) {
	n.countMu.Lock()
	var subs []*subscription
	add := func(of map[*subscription]struct{}) {
		for s := range of {
			if !s.list.inBody {
				subs = append(subs, s)
			}
		}
	}
	if watcher.IsZero() {
		for _, of := range n.lists {
			add(of)
		}
	} else {
		add(n.lists[watcher])
	}
	n.countMu.Unlock()
	if len(subs) > 0 {
		n.o.Go(func() {
			for _, s := range subs {
				n.renew(s)
			}
		})
	}
}

// renew gives a subscription the members that its list has now; full state follows,
// which replaces what the watcher had (RFC 4662 §4.6). What can't be had, or is too much, leaves it as it is.
func (n *Notifier) renew(s *subscription) {
	r := s.r
	k := n.packs[strings.TrimSuffix(r.pack.spec.Name, listSuffix)]
	members, found, err := n.o.Lists.Members(n.ctx, r.aor, s.watcher)
	if err != nil || !found || len(members) == 0 || len(members) > MaxMembers {
		return
	}
	old := s.members()
	if slices.EqualFunc(old, members, func(e *member, m Member) bool { return e.aor == m.AOR && e.name == m.Name }) {
		return
	}
	gone := map[sip.AOR]*member{}
	for _, e := range old {
		gone[e.aor] = e
	}
	next := make([]*member, 0, len(members))
	var fresh []*member
	for _, m := range members {
		e := gone[m.AOR]
		if e == nil || e.name != m.Name {
			e = n.member(n.ctx, k, s, m)
			fresh = append(fresh, e)
		} else {
			delete(gone, m.AOR)
		}
		next = append(next, e)
	}
	r.mu.Lock()
	if s.ended || !slices.Contains(r.subs, s) || !n.count(s.watcher, len(next)-len(s.list.members)) {
		r.mu.Unlock()
		n.o.Log.Debug("a list stays as it was", zap.String("aor", r.aor.String()))
		return
	}
	s.list.members, s.list.told, s.waiting = next, false, true
	r.mu.Unlock()
	n.detach(s, slices.Collect(maps.Values(gone)))
	n.attach(k, fresh)
	r.mu.Lock()
	over := !slices.Contains(r.subs, s)
	r.mu.Unlock()
	if over { // it ended meanwhile, and took out what was there then
		n.detach(s, fresh)
		return
	}
	n.store(s)
	n.wake(r, false)
}
