package event

import (
	"maps"

	"rollcall/sip"
)

// Counts returns how many subscriptions each watcher has at this server, those
// to the members of lists counted too.
func (n *Notifier) Counts() map[sip.AOR]int {
	n.countMu.Lock()
	defer n.countMu.Unlock()
	return maps.Clone(n.watchers)
}
