package event

import (
	"errors"
	"strings"

	"rollcall/sip"
)

// readFilter takes the body of a SUBSCRIBE (RFC 6665 §3.1.3, RFC 4660 §6). List is
// that which is subscribed to, zero for a single resource.
func (k *pack) readFilter(m *sip.Message, body string, list sip.AOR) (string, error) {
	if k.filter == nil {
		return "", sip.NewError(sip.StatusUnsupportedMedia, "")
	}
	if len(body) > maxFilter {
		return "", sip.NewError(sip.StatusTooLarge, "")
	}
	err := k.filter.ParseFilter(mediaType(m), []byte(body))
	if err == nil && !list.IsZero() && k.members != nil {
		body, err = k.members.ForMembers(body, list)
	}
	var answer *sip.Error
	switch {
	case errors.As(err, &answer):
		return "", answer
	case err != nil:
		return "", sip.NewError(sip.StatusBadRequest, err.Error())
	}
	return strings.Clone(body), nil
}

// filterBy gives the subscription another filter. The resource's lock is held.
func (s *subscription) filterBy(filter string) {
	s.view.Filter, s.last, s.unfiltered = filter, nil, nil
}

// filterMembers gives the members of a list another filter; what is told next is
// made by it.
func (n *Notifier) filterMembers(s *subscription, filter string) {
	for _, e := range s.members() {
		if r := e.sub.r; r != nil {
			r.mu.Lock()
			e.sub.filterBy(filter)
			r.mu.Unlock()
			s.r.mu.Lock()
			e.body = Body{}
			s.r.mu.Unlock()
		}
	}
}
