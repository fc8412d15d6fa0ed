package event

import (
	"context"
	"maps"
	"slices"
	"time"

	"rollcall/sip"
)

var _ Engine = (*Notifier)(nil)

// Changed implements Engine.
func (n *Notifier) Changed(pkg string, aor sip.AOR) {
	k := n.packs[pkg]
	if k == nil {
		return
	}
	if r := n.resource(k, aor, false); r != nil {
		n.wake(r, true)
	}
}

// Packages returns the names of the packages that are served.
func (n *Notifier) Packages() []string { return slices.Sorted(maps.Keys(n.packs)) }

// Rules implements Engine.
func (n *Notifier) Rules(pkg string, aor sip.AOR) {
	var list []*resource
	for i := range n.shards {
		sh := &n.shards[i]
		sh.mu.Lock()
		if aor.IsZero() {
			for k, r := range sh.resources {
				if k.pkg == pkg {
					list = append(list, r)
				}
			}
		} else if r := sh.resources[resourceKey{pkg, aor}]; r != nil {
			list = append(list, r)
		}
		sh.mu.Unlock()
	}
	for _, r := range list {
		r.mu.Lock()
		r.judge = true
		r.mu.Unlock()
		n.wake(r, false)
	}
	if k := n.packs[pkg]; k != nil && !aor.IsZero() {
		k.tellObservers(aor) // of who waits without a subscription
	}
}

// ObserveWatchers implements Engine. It is called at the start only.
func (n *Notifier) ObserveWatchers(pkg string, f func(sip.AOR)) {
	if k := n.packs[pkg]; k != nil {
		k.observe = append(k.observe, f)
	}
}

func (k *pack) tellObservers(aor sip.AOR) {
	for _, f := range k.observe {
		f(aor)
	}
}

// Watchers implements Engine.
func (n *Notifier) Watchers(pkg string, aor sip.AOR) []WatcherInfo {
	k := n.packs[pkg]
	if k == nil {
		return nil
	}
	var list []WatcherInfo
	if r := n.resource(k, aor, false); r != nil {
		list = r.watchers()
	}
	return append(list, n.waiting(n.ctx, k, aor, list)...)
}

func (r *resource) watchers() (list []WatcherInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.subs {
		w := WatcherInfo{ID: s.told(), AOR: s.watcher, Standing: s.standing, Event: "subscribe", Since: s.since, Expires: s.expires}
		switch {
		case s.ended:
			w.Standing, w.Event = Refused, s.reason
		case s.approved:
			w.Event = "approved"
		}
		list = append(list, w)
	}
	return list
}

// told is the id that watcher information has for the subscription. A list has a
// resource once.
func (s *subscription) told() string {
	if s.parent != nil {
		return s.parent.id()
	}
	return s.id()
}

// Publications implements Engine.
func (n *Notifier) Publications(ctx context.Context, pkg string, aor sip.AOR) ([]Publication, error) {
	k := n.packs[pkg]
	if k == nil {
		return nil, nil
	}
	return n.publications(ctx, k, aor, nil)
}

// SubscriptionInfo is one subscription as operators see it.
type SubscriptionInfo struct {
	ID        string
	Event     string
	Resource  sip.AOR
	Watcher   sip.AOR
	Device    string
	Flow      string
	Type      string
	Standing  Standing
	Rule      string
	Suspended bool
	Since     time.Time
	Expires   time.Time
	Notified  uint32 // number of the last NOTIFY
	CallID    string
}

// Subscriptions lists the subscriptions that this server holds, sorted by
// resource; those to or of one account if aor is not zero. It is for operators.
func (n *Notifier) Subscriptions(aor sip.AOR) []SubscriptionInfo {
	var all []*subscription
	for i := range n.shards {
		sh := &n.shards[i]
		sh.mu.Lock()
		for _, s := range sh.subs {
			all = append(all, s)
		}
		sh.mu.Unlock()
	}
	var list []SubscriptionInfo
	for _, s := range all {
		if !aor.IsZero() && s.r.aor != aor && s.watcher != aor {
			continue
		}
		s.r.mu.Lock()
		list = append(list, SubscriptionInfo{
			ID: s.id(), Event: s.r.pack.spec.Name, Resource: s.r.aor, Watcher: s.watcher, Device: s.device, Flow: s.flow.String(), Type: s.view.Type,
			Standing: s.standing, Rule: s.rule, Suspended: s.suspended, Since: s.since, Expires: s.expires, Notified: s.number, CallID: s.dialog.CallID,
		})
		s.r.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b SubscriptionInfo) int {
		if a.Resource != b.Resource {
			return cmpText(a.Resource.String(), b.Resource.String())
		}
		return cmpText(a.Watcher.String()+a.ID, b.Watcher.String()+b.ID)
	})
	return list
}

func cmpText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Look returns what a view of a resource shows now, and the state behind it. It is
// for operators and other applications.
func (n *Notifier) Look(ctx context.Context, pkg string, aor sip.AOR, v View) (Body, []Publication, error) {
	k := n.packs[pkg]
	if k == nil {
		return Body{}, nil, ErrNoPackage
	}
	pubs, err := n.publications(ctx, k, aor, nil)
	if err != nil {
		return Body{}, nil, err
	}
	state, err := k.Compose(ctx, aor, pubs)
	if err != nil {
		return Body{}, nil, err
	}
	if v.Type == "" {
		v.Type = k.spec.Types[0]
	}
	b, err := k.Body(ctx, aor, state, v)
	return b, pubs, err
}

// Judge returns what authorization says of a watcher.
func (n *Notifier) Judge(ctx context.Context, pkg string, watcher, aor sip.AOR) (Verdict, error) {
	k := n.packs[pkg]
	if k == nil {
		return Verdict{}, ErrNoPackage
	}
	return k.Authorize(ctx, aor, Watcher{AOR: watcher, Event: pkg})
}
