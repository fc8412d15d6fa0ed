package server

import (
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
)

// request is one request being served.
type request struct {
	s     *Server
	m     *sip.Message
	flow  transport.Flow // where it came from
	reply transport.Flow // where answers go
	key   transaction.Key
	now   time.Time
	tx    *transaction.Server // nil while it is served on the receive loop
	known bool                // the sender is authenticated

	lines []byte // scratch for header lines
	out   []byte // scratch for the answer
}

var requests = sync.Pool{New: func() any { return new(request) }}

// method is a row of the dispatch table.
type method struct {
	serve func(*request)
	waits bool // it needs the store, so on a store that is not local it leaves the receive loop
}

// methods is all that this server understands; others get 405.
var methods = map[string]method{
	"REGISTER":  {(*request).register, true},
	"MESSAGE":   {(*request).message, true},
	"OPTIONS":   {(*request).options, false},
	"SUBSCRIBE": {(*request).subscribe, true},
	"PUBLISH":   {(*request).publish, true},
	"NOTIFY":    {(*request).noDialog, false},
	"BYE":       {(*request).noDialog, false},
	"CANCEL":    {(*request).noDialog, false}, // RFC 3261 §9.2: no INVITE here to cancel
}

// allow lists the methods for Allow (RFC 3261 §20.5).
const allow = "REGISTER, MESSAGE, OPTIONS, SUBSCRIBE, PUBLISH, NOTIFY"

// receive takes every message that the transport read. It runs on the receive
// loop, and m is gone when it returns.
func (s *Server) receive(m *sip.Message, f transport.Flow) {
	defer func() { // handlers contain their own; this is for what comes before them, and for responses
		if p := recover(); p != nil {
			s.panicked(m, p)
		}
	}()
	if s.traced.some.Load() {
		s.trace(false, f, m.Raw())
	}
	fault := m.Check()
	if !m.IsRequest() {
		if fault == nil {
			s.tx.Response(m)
		} else {
			s.counters.malformed.Inc()
		}
		return
	}
	if fault != nil {
		s.counters.malformed.Inc()
		s.faulty(m, f, fault)
		return
	}
	if m.Method() == "ACK" { // never answered (RFC 3261 §17.2.1)
		return
	}
	key, reply := s.tx.KeyOf(m), transport.ReplyFlow(m.Via(), f)
	if s.tx.Absorb(key, reply) {
		return
	}
	now := m.Received
	if now.IsZero() {
		now = time.Now()
	}
	rq := requests.Get().(*request)
	lines, out := rq.lines[:0], rq.out[:0]
	*rq = request{s: s, m: m, flow: f, reply: reply, key: key, now: now, lines: lines, out: out}
	h, known := methods[m.Method()]
	s.counters.count(m.Method(), known)
	switch {
	case s.draining.Load():
		rq.fail(sip.NewError(sip.StatusServiceUnavailable, "Server is stopping", retryAfter))
	case !known:
		rq.fail(sip.NewError(sip.StatusMethodNotAllowed, "", sip.Field{Name: "Allow", Value: allow}))
	case h.waits && !s.local:
		if rq.begin() {
			s.work.Go(func() { rq.run(h) })
		}
		return
	default:
		rq.run(h)
		return
	}
	rq.release()
}

// faulty answers a request that is malformed but has a place to answer to,
// without state.
func (s *Server) faulty(m *sip.Message, f transport.Flow, fault *sip.Error) {
	if m.Via().Transport == "" || m.Method() == "ACK" {
		return
	}
	b := m.AppendReply(make([]byte, 0, 512), f.Remote, &sip.Reply{
		Status: fault.Status, Reason: fault.Reason, Fields: fault.Headers, ToTag: "malformed",
	})
	_ = s.transport.Send(transport.ReplyFlow(m.Via(), f), b)
}

// begin gives the request a transaction, which has memory of its own for it, so that it can
// leave the receive loop. False: it is being served already, or was refused.
func (rq *request) begin() bool {
	tx, fault := rq.s.tx.Begin(rq.key, rq.m, rq.flow, rq.reply, rq.now)
	if fault != nil {
		rq.stateless(fault)
		return false
	}
	if tx == nil {
		return false
	}
	rq.tx, rq.m = tx, tx.Request()
	return true
}

// run serves the request. A panic in a handler is answered 500 and counted, and
// the process lives.
func (rq *request) run(h method) {
	defer func() {
		if p := recover(); p != nil {
			rq.s.panicked(rq.m, p)
			rq.known = true // the answer is kept, so that a retransmission does not panic again
			rq.fail(sip.NewError(sip.StatusServerError, ""))
		}
	}()
	h.serve(rq)
	rq.release()
}

// panicked counts a panic and tells the operator where it was.
func (s *Server) panicked(m *sip.Message, p any) {
	s.counters.panics.Inc()
	s.log.Error("panic in a handler", zap.String("method", m.Method()), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
}

// release gives the scratch memory back. A request that became a transaction of
// its own may still be referred to, so it keeps nothing but the scratch.
func (rq *request) release() {
	if cap(rq.out) > 64<<10 || cap(rq.lines) > 64<<10 {
		return
	}
	rq.m, rq.tx = nil, nil
	requests.Put(rq)
}
