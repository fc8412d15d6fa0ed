package presence

import (
	"context"
	"fmt"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xmltree"
)

// HardState is presence that holds without a device (RFC 4827). If its value has a
// method Observe(func(sip.AOR)), that is called once with what must be told whose
// state changed.
type HardState interface {
	// HardState returns the presence document of a user, nil for none. It is not
	// changed.
	HardState(ctx context.Context, resource sip.AOR) (*xmltree.Element, error)
}

// hard adds what a user put down for good. It is older than all that devices say,
// so these win where both speak of the same; a tuple gives way to a published one
// with its id. It does not say whether the user is there, so registration remains
// a hint.
func (c *composer) hard(ctx context.Context, h HardState) error {
	root, err := h.HardState(ctx, c.resource)
	if err != nil {
		return fmt.Errorf("permanent presence of %s: %w", c.resource, err)
	}
	if root == nil {
		return nil
	}
	d, err := check(c.resource, root)
	if err != nil {
		return nil //nolint:nilerr // what could not be published is not told either
	}
	c.sources = append(c.sources, source{Publication: &event.Publication{ID: "hard"}, doc: d, hard: true})
	return nil
}
