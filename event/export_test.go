package event

// Held counts what a notifier has in memory: resources, subscriptions, watchers that
// are counted, connections, and places in the clock.
func (n *Notifier) Held() (h struct{ Resources, Subscriptions, Watchers, Connections, Due int }) {
	for i := range n.shards {
		sh := &n.shards[i]
		sh.mu.Lock()
		h.Resources += len(sh.resources)
		h.Subscriptions += len(sh.subs)
		sh.mu.Unlock()
	}
	n.countMu.Lock()
	h.Watchers = len(n.watchers)
	n.countMu.Unlock()
	n.flows.mu.Lock()
	h.Connections = len(n.flows.conns)
	n.flows.mu.Unlock()
	n.clock.mu.Lock()
	h.Due = len(n.clock.heap)
	n.clock.mu.Unlock()
	return h
}
