package event

import (
	"context"
	"time"

	"rollcall/sip"
)

// Seen is what a local watcher learns of a resource.
type Seen struct {
	AOR      sip.AOR
	Standing Standing // Refused: it may not be seen, or not any more
	Body     Body     // while Standing is Active
}

// Watch tells f what somebody who is no user agent sees of resources: first of all of
// them, then of those that changed, the latest state alone, until ctx ends or f returns an
// error. The watcher is judged as by SUBSCRIBE, and counted; the zero AOR stands for
// somebody whom the administrator lets see all. F runs on the caller's goroutine and may
// be slow.
func (n *Notifier) Watch(ctx context.Context, pkg string, watcher sip.AOR, resources []sip.AOR, f func([]Seen) error) error {
	k := n.packs[pkg]
	if k == nil {
		return ErrNoPackage
	}
	now := time.Now()
	woken := make(chan struct{}, 1)
	s := &subscription{
		watcher: watcher, event: pkg, view: View{Type: k.spec.Types[0]}, standing: Active, since: now.UTC(), expires: now.Add(k.spec.Max),
		list: &list{},
	}
	s.dialog.LocalTag = newTag()
	s.r = &resource{pack: k.list, aor: watcher, subs: []*subscription{s}, woken: woken}
	for _, aor := range resources {
		as := *s // a member's own watcher
		if watcher.IsZero() {
			as.watcher = aor
		}
		e := n.member(ctx, k, &as, Member{AOR: aor.Clone()})
		e.sub.parent = s
		s.list.members = append(s.list.members, e)
	}
	if !n.count(watcher, s.weight()) {
		return ErrTooMany
	}
	n.attach(k, s.list.members)
	defer func() {
		n.detach(s, s.list.members)
		n.count(watcher, -s.weight())
	}()
	for _, e := range s.list.members {
		n.catchUp(s.r, e)
	}
	for {
		if list := s.seen(); len(list) > 0 {
			if err := f(list); err != nil {
				return err
			}
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// seen takes what has changed.
func (s *subscription) seen() (list []Seen) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	for _, e := range s.list.members {
		if e.changed && (e.standing != Active || len(e.body.Bytes) > 0) {
			e.changed = false
			list = append(list, Seen{e.aor, e.standing, e.body})
		}
	}
	return list
}
