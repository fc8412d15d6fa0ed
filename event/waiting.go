package event

import (
	"context"
	"time"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/store"
)

// kindWaiting holds the subscriptions that ended before anybody decided about them
// (RFC 3857 §4.7.1): the owner is package and resource, an item a watcher.
var kindWaiting = store.NewKind("waiting", store.Soft, store.Hot)

// maxWaiting bounds the watchers whom nobody has let in and who are remembered for
// one resource; more are forgotten at once.
const maxWaiting = 100

const waitingVersion = 1

func waitingKey(pkg string, aor sip.AOR) store.Key {
	return store.Key{Kind: kindWaiting, Owner: pkg + " " + aor.String()}
}

// remember keeps a pending subscription that has timed out for the one it is about,
// who may not have been there to decide. The resource's lock is not held.
func (n *Notifier) remember(r *resource, s *subscription, id string) {
	if len(r.pack.observe) == 0 { // nobody could learn of it
		return
	}
	key := waitingKey(r.pack.spec.Name, r.aor)
	set, err := n.o.Store.Load(n.ctx, key)
	if err == nil && len(set.Items) < maxWaiting {
		b := appendText([]byte{waitingVersion}, id)
		b = appendTime(appendText(b, s.event), s.since)
		_, err = n.o.Store.Apply(n.ctx, key, store.Any, store.Put(store.Item{ID: s.watcher.String(), Value: b, Expires: time.Now().Add(n.settings.Load().GiveUp)}))
	}
	if err != nil { // soft state, as subscriptions are
		n.o.Log.Debug("store a watcher that waits", zap.Error(err))
	}
}

// waiting lists the remembered subscriptions to a resource that still wait for a
// decision, and forgets the others: somebody decided meanwhile, or the watcher is
// back.
func (n *Notifier) waiting(ctx context.Context, k *pack, aor sip.AOR, live []WatcherInfo) []WatcherInfo {
	key := waitingKey(k.spec.Name, aor)
	set, err := n.o.Store.Load(ctx, key)
	if err != nil || len(set.Items) == 0 {
		return nil
	}
	back := map[sip.AOR]bool{}
	for i := range live {
		back[live[i].AOR] = true
	}
	var list []WatcherInfo
	var over []store.Change
	for _, item := range set.Items {
		w, event, ok := decodeWaiting(item)
		if ok && !back[w.AOR] {
			v, err := k.Authorize(ctx, aor, Watcher{AOR: w.AOR, Event: event})
			if err != nil || v.Standing == Pending {
				list = append(list, w)
				continue
			}
		}
		over = append(over, store.Delete(item.ID))
	}
	if len(over) > 0 {
		if _, err := n.o.Store.Apply(ctx, key, store.Any, over...); err != nil {
			n.o.Log.Debug("forget a watcher that waits", zap.Error(err))
		}
	}
	return list
}

func decodeWaiting(i store.Item) (w WatcherInfo, event string, ok bool) {
	if len(i.Value) == 0 || i.Value[0] != waitingVersion {
		return w, "", false
	}
	aor, err := sip.ParseAORString(i.ID)
	r := reader{b: i.Value[1:]}
	w = WatcherInfo{ID: r.text(), AOR: aor, Standing: Pending, Waiting: true, Event: "timeout"}
	event, w.Since = r.text(), r.time()
	return w, event, err == nil && !r.bad
}
