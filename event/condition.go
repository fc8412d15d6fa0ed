package event

import (
	"strings"

	"rollcall/sip"
)

// statusNoNotification says that no NOTIFY follows (RFC 5839 §7.1).
const statusNoNotification = 204

// suppressIfMatch is the condition of a SUBSCRIBE: an entity-tag, "*", or "" for none
// (RFC 5839 §7.2).
func suppressIfMatch(m *sip.Message) string {
	v := strings.TrimSpace(m.Other("Suppress-If-Match"))
	if len(v) > maxTag { // none of ours
		return ""
	}
	return strings.Clone(v)
}

const maxTag = 64

// suppresses reports whether a condition is met by the state with that entity-tag.
// State that has none meets no condition but "*".
func suppresses(match, tag string) bool { return match == "*" || match != "" && match == tag }

// conditionMet reports whether a refresh needs no NOTIFY: the watcher has named the
// state that it was told last, and nothing has happened since (RFC 5839 §6.3). The
// resource's lock is held.
func (s *subscription) conditionMet() bool {
	return s.match == "*" || s.standing == Active && !s.waiting && suppresses(s.match, s.tag)
}
