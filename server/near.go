package server

import (
	"sync"

	"rollcall/sip"
	"rollcall/store"
)

// ahead brings near what the handlers of requests that came together look up: the
// processor waits for many places in memory at once here, and for one after the
// other there.
func (s *Server) ahead(ms []sip.Message) {
	if s.near == nil {
		return
	}
	space := nearKeys.Get().(*[]store.Key)
	defer nearKeys.Put(space)
	keys := (*space)[:0]
	var authors [16]string
	senders := authors[:0]
	for i := range ms {
		m := &ms[i]
		if !m.IsRequest() || m.Check() != nil {
			continue
		}
		if from := m.FromAOR(); !from.IsZero() { // nearly always who authenticates
			keys = append(keys, s.directory.Key(from))
		}
		to := m.ToAOR()
		if to.IsZero() {
			continue
		}
		switch m.Method() {
		case "REGISTER":
			keys = append(keys, s.registrar.Key(to))
		case "MESSAGE": // nearly always whom its Request-URI names
			keys = append(keys, s.directory.Key(to), s.registrar.Key(to))
			senders = append(senders, m.FromAOR().String())
		}
	}
	if len(keys) > 0 {
		s.near.Near(keys)
	}
	if len(senders) > 0 && s.stream == nil { // else the record is sealed later
		s.ring.Near(senders, ms[0].Received)
	}
	clear(keys) // they refer to the memory of messages
	*space = keys
}

// nearKeys are used again.
var nearKeys = sync.Pool{New: func() any { return new([]store.Key) }}
