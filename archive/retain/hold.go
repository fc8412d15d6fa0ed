package retain

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"rollcall/archive"
)

// Hold keeps what it covers from being purged or erased.
type Hold struct {
	// Name of the case, as the officer calls it.
	Name string `json:"name"`
	// Custodians are people: what they wrote or received is covered. None means everybody.
	Custodians []string `json:"custodians,omitempty"`
	// Query in the language of archive search; "" covers all.
	Query string `json:"query,omitempty"`
	// After and Before bound when it was received.
	After  time.Time `json:"after,omitzero"`
	Before time.Time `json:"before,omitzero"`
	Reason string    `json:"reason,omitempty"`

	By     string    `json:"by"`
	Placed time.Time `json:"placed"`
	// ReleaseBy asked for the release, which somebody else must confirm.
	ReleaseBy     string    `json:"release_by,omitempty"`
	ReleaseAsked  time.Time `json:"release_asked,omitzero"`
	ReleaseReason string    `json:"release_reason,omitempty"`
}

// ErrInvalid is wrapped by the errors of what was asked wrongly.
var ErrInvalid = errors.New("retain: invalid")

var holdName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Limits of a hold.
const (
	maxCustodians = 10_000
	maxHolds      = 10_000
)

// check says what is wrong with a hold that is to be placed.
func (h *Hold) check() error {
	switch {
	case !holdName.MatchString(h.Name):
		return fmt.Errorf("%w: the name of a hold has letters, digits, dots and dashes, up to 64 of them", ErrInvalid)
	case len(h.Custodians) == 0 && h.Query == "" && h.After.IsZero() && h.Before.IsZero():
		return fmt.Errorf("%w: a hold on nobody and nothing: name custodians, a query or a period", ErrInvalid)
	case len(h.Custodians) > maxCustodians:
		return fmt.Errorf("%w: more than %d custodians", ErrInvalid, maxCustodians)
	case !h.After.IsZero() && !h.Before.IsZero() && !h.Before.After(h.After):
		return fmt.Errorf("%w: the period ends before it begins", ErrInvalid)
	case h.Reason == "":
		return fmt.Errorf("%w: a hold needs a reason", ErrInvalid)
	}
	if _, err := archive.ParseQuery(h.Query, nil); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// cover is a hold made ready.
type cover struct {
	*Hold
	query archive.Query
}

func (h *Hold) cover() (cover, error) {
	q, err := archive.ParseQuery(h.Query, nil)
	q.Type = "all"
	return cover{h, q}, err
}

// covers reports whether the hold covers a record, whose content must be there if the query has words.
func (c *cover) covers(r *archive.Record) bool {
	at := r.Received
	if at.IsZero() {
		at = r.Archived
	}
	if !c.After.IsZero() && at.Before(c.After) || !c.Before.IsZero() && !at.Before(c.Before) {
		return false
	}
	if len(c.Custodians) > 0 && !slices.Contains(c.Custodians, r.From) && !slices.Contains(c.Custodians, r.To) {
		return false
	}
	if c.Query == "" {
		return true
	}
	if r.Content == archive.Sealed {
		return true // nobody can say that it is not covered
	}
	return c.query.Matches(r)
}

// holdVersion begins the stored form.
const holdVersion = 1

// Encode returns the stored form of a hold: a version and JSON.
func (h *Hold) Encode() ([]byte, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return append([]byte{holdVersion}, b...), nil
}

// DecodeHold reads the stored form.
func DecodeHold(b []byte) (*Hold, error) {
	if len(b) == 0 || b[0] != holdVersion {
		return nil, errors.New("retain: a hold of an unknown version")
	}
	h := new(Hold)
	return h, json.Unmarshal(b[1:], h)
}

// String is the hold in a line, for errors.
func (h *Hold) String() string {
	s := h.Name
	if h.Reason != "" {
		s += " (" + strings.TrimSpace(h.Reason) + ")"
	}
	return s
}
