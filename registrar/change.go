package registrar

import (
	"iter"

	"rollcall/sip"
	"rollcall/store"
)

// Change is what one step did to the bindings of an address of record. It may be
// kept.
type Change struct {
	AOR     sip.AOR
	Added   []Binding
	Removed []Binding // as they were

	// NewDevices are those (Binding.Device) that had no binding before and have
	// one now.
	NewDevices []string

	refreshed []store.Item
}

// IsZero reports that nothing was changed, as by a query.
func (c *Change) IsZero() bool { return !c.Present() && len(c.Removed) == 0 }

// Present reports that a device has shown itself: a binding was added or
// refreshed. What waits for the account can be delivered.
func (c *Change) Present() bool { return len(c.Added) > 0 || len(c.refreshed) > 0 }

// Refreshed gives the bindings that were there before and have been registered
// again, as they are now; contact and flow may be others than before.
func (c *Change) Refreshed() iter.Seq[Binding] {
	return func(yield func(Binding) bool) {
		for _, item := range c.refreshed {
			var rec record
			if rec.decode(item.Value) == nil && !yield(rec.binding(c.AOR, item)) {
				return
			}
		}
	}
}
