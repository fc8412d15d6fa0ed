package server

import (
	"context"
	"errors"

	"rollcall/presence"
	"rollcall/sip"
	"rollcall/xcap"
	"rollcall/xmltree"
)

// hardState is the permanent presence that users keep among their documents
// (RFC 4827 §9).
type hardState struct{ documents *xcap.Documents }

var _ presence.HardState = hardState{}

const hardStateName = "index"

// HardState implements presence.HardState. What is too large to be published is as
// what is not there.
func (h hardState) HardState(ctx context.Context, user sip.AOR) (*xmltree.Element, error) {
	doc, err := h.documents.Get(ctx, user, xcap.PIDFManipulation, hardStateName)
	if errors.Is(err, xcap.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	root, err := xmltree.Parse(doc.Body, xmltree.Limits{Bytes: presence.MaxBytes})
	if err != nil {
		return nil, nil //nolint:nilerr // what presence could not have taken is no state
	}
	return root, nil
}

// Observe has f called when the permanent presence of a user changes.
func (h hardState) Observe(f func(sip.AOR)) {
	h.documents.Observe(func(c xcap.Change) {
		if c.AUID == xcap.PIDFManipulation && c.Name == hardStateName {
			f(c.User)
		}
	})
}
