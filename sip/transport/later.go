package transport

import "time"

// slice is how long a reader does what may wait before it looks at the socket
// again.
const slice = time.Millisecond

// fullReads is how many reads in a row may find a full batch before what waits
// gets a slice all the same.
const fullReads = 16

// putOff is what a reader does when nothing else has arrived: functions, and
// messages that were set aside. It belongs to the reader.
type putOff struct {
	calls   []func()
	next    int // of calls
	backlog backlog
	full    int // reads since the last slice
}

func (p *putOff) empty() bool { return p.next == len(p.calls) && p.backlog.empty() }

// add takes functions over and returns memory for others.
func (p *putOff) add(fs []func()) []func() {
	if p.next == len(p.calls) {
		free := p.calls[:0]
		p.calls, p.next = fs, 0
		return free
	}
	p.calls = append(p.calls, fs...)
	clear(fs)
	return fs[:0]
}

// setAside takes the datagrams of the last read that may wait. They are served at
// once when nothing else is there, else kept: the socket is emptied first, for what
// does not fit its buffer is lost, whatever it is. What does not fit the backlog is
// dropped (RFC 3261 §21.5.4 allows it): a 503 with Retry-After would keep its
// sender from registering too, and Timer E brings the request again.
func (s *udpSocket) setAside(got *received, which []uint8, more bool) {
	q := &s.putOff.backlog
	if !more && q.empty() {
		for _, i := range which {
			got.add(s.io.datagram(int(i)))
		}
		got.hand()
		return
	}
	c := &s.l.t.Counters
	for _, i := range which {
		b, remote := s.io.datagram(int(i))
		switch q.put(b, remote) {
		case aside:
			c.SetAside.Add(1)
		case repeated:
			c.Repeated.Add(1)
		case full:
			c.Overflowed.Add(1)
		}
	}
}

// runLater gives what was put off a slice of time, unless more waits in the socket.
func (s *udpSocket) runLater(got *received, more bool) {
	p := &s.putOff
	if p.empty() {
		return
	}
	if p.full++; more && p.full < fullReads {
		return
	}
	p.full = 0
	end := time.Now().Add(slice)
	for ok := true; ok; ok = !p.empty() && time.Now().Before(end) {
		if p.next < len(p.calls) {
			s.l.t.together(func() { p.run(end) })
		}
		p.backlog.take(ahead, got.add, got.hand)
	}
}

// run runs functions until the time is over, at least one.
func (p *putOff) run(end time.Time) {
	for p.next < len(p.calls) {
		f := p.calls[p.next]
		p.calls[p.next] = nil
		p.next++
		f()
		if !time.Now().Before(end) {
			return
		}
	}
}
