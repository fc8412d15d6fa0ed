package event

import (
	"context"
	"strings"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/store"
)

// Recover brings back what the last process served. Each watcher is told the
// state, since what happened meanwhile is not known. Those of connections wait
// until their watcher comes back.
func (n *Notifier) Recover(ctx context.Context) error {
	for owner, err := range n.o.Store.Keys(ctx, kindSubscription) {
		if err != nil {
			return err
		}
		set, err := n.o.Store.Load(ctx, store.Key{Kind: kindSubscription, Owner: owner})
		if err != nil {
			return err
		}
		for _, item := range set.Items {
			s, pkg, aor, members, err := decodeSubscription(item)
			k := n.packs[strings.TrimSuffix(pkg, listSuffix)]
			if err != nil || k == nil {
				continue
			}
			in := k
			if s.list != nil {
				in = k.list
				n.enroll(ctx, k, s, members)
			}
			s.force, s.suspended = true, s.flow.Proto.Stream()
			if n.enter(in, aor, s) == nil {
				if s.list != nil {
					n.attach(k, s.list.members)
				}
				s.r.mu.Lock()
				s.r.judge = true
				s.r.mu.Unlock()
			}
		}
	}
	return nil
}

// Resume tells the watchers that Recover brought back, and looks for what was
// published over connections of the last process. It is called when the sockets are
// open.
func (n *Notifier) Resume() {
	if n.o.Store.Local() { // of another server's connections nothing is known
		n.o.Go(n.losePublications)
	}
	for i := range n.shards {
		sh := &n.shards[i]
		sh.mu.Lock()
		var all []*resource
		for _, r := range sh.resources {
			all = append(all, r)
		}
		sh.mu.Unlock()
		for _, r := range all {
			n.wake(r, false)
		}
	}
}

// losePublications marks what was published over connections that ended with the last
// process.
func (n *Notifier) losePublications() {
	for owner, err := range n.o.Store.Keys(n.ctx, kindPublication) {
		if err != nil {
			n.o.Log.Warn("look for publications of closed connections", zap.Error(err))
			return
		}
		pkg, at, _ := strings.Cut(owner, " ")
		aor, err := sip.ParseAORString(at)
		if err != nil {
			continue
		}
		list, _, err := n.load(n.ctx, pkg, aor)
		if err != nil {
			continue
		}
		for i := range list {
			if f := list[i].flow; f.Proto.Stream() && !n.o.Transport.Alive(f) {
				n.losePublication(n.ctx, publishedAt{resourceKey{pkg, aor}, list[i].ID}, f)
			}
		}
	}
}
