package transaction

import (
	"sync"
	"time"

	"rollcall/sip"
	"rollcall/sip/transport"
)

// Server is an unfinished server transaction.
type Server struct {
	timer
	l     *Layer
	key   Key
	flow  transport.Flow // where answers go
	src   transport.Flow // where the request came from
	req   sip.Message
	begun time.Time

	trying bool // a 100 was sent; the shard's lock guards it
	ended  bool
}

// servers are used again, those that were released.
var servers = sync.Pool{New: func() any { return new(Server) }}

func (s *Server) node() *timer { return &s.timer }

// Absorb takes a request that was seen before: it repeats the answer, the 100
// when that is all there is so far (RFC 3261 §17.2.2), or says nothing. It
// returns false for a new request.
func (l *Layer) Absorb(k Key, reply transport.Flow) bool {
	sh := l.shard(k)
	sh.mu.Lock()
	answer, ok := sh.done.get(k)
	if !ok {
		s, _ := sh.active.get(k)
		trying := s != nil && s.trying
		if trying {
			s.lent = true
		}
		sh.mu.Unlock()
		if s != nil {
			l.Counters.Retransmitted.Add(1)
		}
		if trying {
			s.sendTrying(reply)
		}
		return s != nil
	}
	l.repeat(sh, answer, reply)
	return true
}

// repeat unlocks the shard and sends an answer of its ring again.
func (l *Layer) repeat(sh *shard, answer []byte, reply transport.Flow) {
	answer = append(make([]byte, 0, 1024), answer...)
	sh.mu.Unlock()
	l.Counters.Retransmitted.Add(1)
	_ = l.out.Send(reply, answer)
}

// Begin registers a request whose handler answers later, with Reply. It returns
// nil when the same request is being handled or was answered meanwhile, by
// another goroutine since Absorb: the caller drops it. The transaction has a
// copy of the request. The error is the answer to give, without state, when too
// much is unfinished. Now is when the request came.
func (l *Layer) Begin(k Key, req *sip.Message, src, reply transport.Flow, now time.Time) (*Server, *sip.Error) {
	size := int64(len(req.Raw()))
	if !l.admit(&l.Counters.Active, l.o.MaxActive, size) {
		return nil, sip.NewError(sip.StatusServiceUnavailable, "Too many transactions", sip.Field{Name: "Retry-After", Value: "5"})
	}
	s := servers.Get().(*Server)
	s.l, s.key, s.flow, s.src, s.begun = l, k, reply, src, now
	req.CopyTo(&s.req)
	sh := l.shard(k)
	sh.mu.Lock()
	if answer, ok := sh.done.get(k); ok {
		l.release(&l.Counters.Active, size)
		l.repeat(sh, answer, reply)
		return nil, nil
	}
	defer sh.mu.Unlock()
	if _, ok := sh.active.get(k); ok {
		l.release(&l.Counters.Active, size)
		l.Counters.Retransmitted.Add(1)
		return nil, nil
	}
	sh.active.put(k, s)
	// RFC 4320 §4.1: a 100 not before Timer E would have been reset to T2, and
	// then without fail.
	sh.wheel.add(s, now, l.tryingAfter())
	return s, nil
}

// tryingAfter is when a client's Timer E reaches T2: T1+2*T1+4*T1 with the
// default values.
func (l *Layer) tryingAfter() time.Duration {
	var sum time.Duration
	for e := l.o.Timers.T1; e < l.o.Timers.T2; e *= 2 {
		sum += e
	}
	return sum
}

func (s *Server) expired(time.Time) {
	sh := s.l.shard(s.key)
	sh.mu.Lock()
	here, _ := sh.active.get(s.key)
	running := here == s
	s.trying = running
	sh.mu.Unlock()
	if running {
		s.sendTrying(s.flow)
	}
}

func (s *Server) sendTrying(reply transport.Flow) {
	_ = s.l.out.Send(reply, s.req.AppendReply(nil, s.src.Remote, &sip.Reply{Status: sip.StatusTrying}))
}

// Request returns the request. It is gone with Release; the strings of it are not.
func (s *Server) Request() *sip.Message { return &s.req }

// Tag is the To tag of our own answers.
func (s *Server) Tag() string { return s.key.Tag() }

// Source returns the flow that the request came over.
func (s *Server) Source() transport.Flow { return s.src }

// Begun tells when the request came.
func (s *Server) Begun() time.Time { return s.begun }

// Reply sends the final answer and keeps it for Timer J. Only the first call
// counts.
func (s *Server) Reply(answer []byte) {
	if s.end(answer) {
		_ = s.l.out.Send(s.flow, answer)
	}
}

// Forget sends an answer and keeps nothing: for challenges.
func (s *Server) Forget(answer []byte) {
	if s.end(nil) {
		_ = s.l.out.Send(s.flow, answer)
	}
}

// Drop ends the transaction without an answer: RFC 4320 §4.2 forbids a 408 to a
// non-INVITE request, the client's own timer tells it.
func (s *Server) Drop() { s.end(nil) }

func (s *Server) end(answer []byte) bool {
	sh := s.l.shard(s.key)
	sh.mu.Lock()
	if here, _ := sh.active.get(s.key); here != s {
		sh.mu.Unlock()
		return false
	}
	sh.active.remove(s.key)
	sh.wheel.remove(s)
	s.ended = true
	if answer != nil && s.flow.Proto == transport.UDP {
		s.l.keep(sh, s.key, answer)
	}
	sh.mu.Unlock()
	s.l.release(&s.l.Counters.Active, int64(len(s.req.Raw())))
	return true
}

// Release gives the memory of a transaction to another one. Only the last who refers to
// it may call it, and need not; nothing happens while it has not ended.
func (s *Server) Release() {
	if !s.ended || s.lent { // nobody can come to refer to it any more, but somebody may have
		return
	}
	s.timer, s.l, s.flow, s.src, s.trying, s.ended = timer{}, nil, transport.Flow{}, transport.Flow{}, false, false
	servers.Put(s)
}

// keep stores an answer for Timer J: 64*T1 over UDP (RFC 3261 §17.2.2), from the next
// tick on.
func (l *Layer) keep(sh *shard, k Key, answer []byte) {
	if n := sh.done.put(k, answer, sh.wheel.base.Add(time.Duration(sh.wheel.now+1)*tick+64*l.o.Timers.T1)); n > 0 {
		l.Counters.Evicted.Add(uint64(n))
	}
}

// Finish answers a request that was handled at once: it sends the answer and,
// over UDP, keeps it for Timer J.
func (l *Layer) Finish(k Key, reply transport.Flow, answer []byte) {
	if reply.Proto == transport.UDP {
		sh := l.shard(k)
		sh.mu.Lock()
		l.keep(sh, k, answer)
		sh.mu.Unlock()
	}
	_ = l.out.Send(reply, answer)
}
