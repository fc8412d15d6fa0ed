package server

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/store"
)

var retryAfter = sip.Field{Name: "Retry-After", Value: "5"}

// answerTo maps an error to what the peer hears. What is not meant for it
// becomes 500, and its text stays inside.
func (s *Server) answerTo(err error) *sip.Error {
	var e *sip.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return sip.NewError(sip.StatusServiceUnavailable, "Store is not available", retryAfter)
	}
	s.log.Error("request failed", zap.Error(err))
	return sip.NewError(sip.StatusServerError, "")
}

// fail answers with an error.
func (rq *request) fail(err error) {
	e := rq.s.answerTo(err)
	rq.respond(&sip.Reply{Status: e.Status, Reason: e.Reason, Fields: e.Headers})
}

// respond sends the final answer. One to a stranger leaves no transaction behind
// (RFC 3261 §8.2.7): it would be the same if the request came again, a flood of
// them must not push out the answers to those who are known, and some clients
// answer a challenge under the same branch and CSeq.
func (rq *request) respond(r *sip.Reply) {
	s := rq.s
	s.counters.answered(r.Status)
	if r.ToTag == "" {
		r.ToTag = rq.key.Tag()
	}
	rq.out = rq.m.AppendReply(rq.out[:0], rq.flow.Remote, r)
	switch {
	case rq.tx != nil && !rq.known:
		rq.tx.Forget(rq.out)
	case rq.tx != nil:
		rq.tx.Reply(rq.out)
	case !rq.known:
		_ = s.transport.Send(rq.reply, rq.out)
	default:
		s.tx.Finish(rq.key, rq.reply, rq.out)
	}
}

// stateless answers without a transaction.
func (rq *request) stateless(e *sip.Error) {
	rq.s.counters.answered(e.Status)
	rq.out = rq.m.AppendReply(rq.out[:0], rq.flow.Remote, &sip.Reply{Status: e.Status, Reason: e.Reason, Fields: e.Headers, ToTag: rq.key.Tag()})
	_ = rq.s.transport.Send(rq.reply, rq.out)
}
