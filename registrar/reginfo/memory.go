package reginfo

import (
	"slices"
	"sync"
	"time"

	"rollcall/registrar"
	"rollcall/sip"
)

// maxRemembered is for how many accounts it is known what was told last.
const maxRemembered = 10_000

// memory knows what was told of accounts, to see what has gone since. The zero
// value is ready.
type memory struct {
	mu   sync.Mutex
	told map[sip.AOR]told
}

// told is what a document had.
type told struct {
	live []registrar.Binding
	gone []ended
}

// ended is a binding that is no more.
type ended struct {
	registrar.Binding
	event string // RFC 3680 §5.1
}

// step takes the bindings of now and returns those that went with the last change.
func (m *memory) step(aor sip.AOR, live []registrar.Binding, now time.Time) []ended {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := m.told[aor]
	gone := last.gone
	if !sameBindings(last.live, live) {
		gone = nil
		for _, b := range last.live {
			if has(live, b.ID) {
				continue
			}
			e := ended{b, "unregistered"}
			if !now.Before(b.Expires) {
				e.event = "expired"
			}
			gone = append(gone, e)
		}
	}
	if len(live) == 0 && len(gone) == 0 {
		delete(m.told, aor)
		return nil
	}
	if m.told == nil {
		m.told = map[sip.AOR]told{}
	}
	if _, ok := m.told[aor]; !ok && len(m.told) >= maxRemembered {
		for other := range m.told { // any
			delete(m.told, other)
			break
		}
	}
	m.told[aor.Clone()] = told{live, gone}
	return gone
}

func has(list []registrar.Binding, id string) bool {
	return slices.ContainsFunc(list, func(b registrar.Binding) bool { return b.ID == id })
}

func sameBindings(a, b []registrar.Binding) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x registrar.Binding) bool { return !has(b, x.ID) })
}
