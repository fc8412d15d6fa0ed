package transport

import "sync"

// Post has f run soon, once, by a goroutine that reads datagrams, between two
// reads: what f sends leaves with the answers to what was read, in few system
// calls, and no other processor takes part. Where there is no such goroutine f
// runs on its own one. Like a handler it must not wait. Post itself does not; who
// posts knows when f has run.
func (t *Transport) Post(f func()) { t.post(f, false) }

// PostLater is Post for what may wait a little: it comes behind the messages that
// have arrived, and gives way to new ones after a millisecond.
func (t *Transport) PostLater(f func()) { t.post(f, true) }

func (t *Transport) post(f func(), later bool) {
	t.mu.RLock()
	readers := t.readers
	t.mu.RUnlock()
	if n := uint32(len(readers)); n > 0 && readers[t.nextReader.Add(1)%n].post(f, later) {
		return
	}
	go t.together(f)
}

// post hands f to the reading goroutine; false when that has ended.
func (s *udpSocket) post(f func(), later bool) bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	if later {
		s.later = append(s.later, f)
	} else {
		s.calls = append(s.calls, f)
	}
	wake := s.waits
	s.waits = false
	s.mu.Unlock()
	if wake {
		s.io.wake()
	}
	return true
}

// mayWait reports that nothing is to be done. Who posts from then on wakes the
// reader.
func (s *udpSocket) mayWait() bool {
	idle := s.putOff.empty()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits = idle && len(s.calls)+len(s.later) == 0
	return s.waits
}

// runPosted runs what was posted, and takes over what was posted for later.
func (s *udpSocket) runPosted() {
	s.mu.Lock()
	calls := s.calls
	s.calls, s.waits = s.ran[:0], false
	if len(s.later) > 0 {
		s.later = s.putOff.add(s.later)
	}
	s.mu.Unlock()
	if len(calls) > 0 {
		s.l.t.together(func() {
			for _, f := range calls {
				f()
			}
		})
	}
	clear(calls)
	s.ran = calls
}

// gathering is what waits to be written while functions run in together.
type gathering struct {
	mu      sync.Mutex
	running int
	conns   []*conn // with something to write
}

// together runs f, and writes to connections when it returns: what it sends over
// one of them leaves with one system call.
func (t *Transport) together(f func()) {
	g := &t.gathering
	g.mu.Lock()
	g.running++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.running--
		conns := g.conns
		g.conns = nil
		g.mu.Unlock()
		for _, c := range conns {
			c.drain()
		}
	}()
	f()
}

// gather keeps a connection that somebody wants to write to until the function
// that runs in together returns; false when none runs.
func (t *Transport) gather(c *conn) bool {
	g := &t.gathering
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == 0 {
		return false
	}
	g.conns = append(g.conns, c)
	return true
}
