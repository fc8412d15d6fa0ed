package conferenceinfo

import (
	"slices"
	"sync"

	"rollcall/sip"
)

// maxRosters is for how many conferences it is known who took part. The watchers of
// one that is forgotten are judged once more than needed.
const maxRosters = 10_000

// rosters knows who took part when a conference was composed last. The zero value
// is ready.
type rosters struct {
	mu   sync.Mutex
	last map[sip.AOR][]string
}

// changed takes who takes part now and reports whether they are others than before.
func (r *rosters) changed(conference sip.AOR, now []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was, ok := r.last[conference]
	switch {
	case ok && slices.Equal(was, now):
		return false
	case len(now) == 0:
		delete(r.last, conference)
		return ok
	case r.last == nil:
		r.last = map[sip.AOR][]string{}
	case !ok && len(r.last) >= maxRosters:
		for other := range r.last { // any
			delete(r.last, other)
			break
		}
	}
	r.last[conference.Clone()] = now
	return true
}
