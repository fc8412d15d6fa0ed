package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/api"
	"rollcall/sip"
	"rollcall/sip/transport"
)

// actTrace is the action of the act of who traces messages with their bodies.
const actTrace = "trace"

// tracedRoom is how many messages wait for who traces before further ones are left out.
const tracedRoom = 1024

// tracing knows who traces. While nobody does, a message costs one look at it.
type tracing struct {
	some atomic.Bool

	mu  sync.RWMutex
	all []*tracer
}

// tracer is one who traces.
type tracer struct {
	aor    sip.AOR // zero: of all
	callID string
	bodies bool
	out    chan api.Traced
	lost   atomic.Uint64
}

// Trace implements api.Tracer.
func (b backend) Trace(ctx context.Context, actor string, q api.TraceQuery, ready func(), f func(api.Traced) error) error {
	t := &tracer{callID: q.CallID, bodies: q.Bodies, out: make(chan api.Traced, tracedRoom)}
	if q.AOR != "" {
		var err error
		if t.aor, err = sip.ParseAORString(q.AOR); err != nil {
			return fmt.Errorf("%w: aor: %w", api.ErrInvalid, err)
		}
	}
	if q.Bodies {
		if _, err := b.act(ctx, actor, actTrace, strings.TrimSpace(q.AOR+" "+q.CallID), q.Reason, nil); err != nil {
			return err
		}
	}
	b.addTracer(t)
	defer b.removeTracer(t)
	ready()
	for {
		select {
		case m := <-t.out:
			m.Lost = t.lost.Swap(0)
			if err := f(m); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Server) addTracer(t *tracer) {
	s.traced.mu.Lock()
	defer s.traced.mu.Unlock()
	s.traced.all = append(slices.Clone(s.traced.all), t)
	s.traced.some.Store(true)
	s.transport.Tap(func(to transport.Flow, b []byte) { s.trace(true, to, string(b)) })
}

func (s *Server) removeTracer(t *tracer) {
	s.traced.mu.Lock()
	defer s.traced.mu.Unlock()
	s.traced.all = slices.DeleteFunc(slices.Clone(s.traced.all), func(x *tracer) bool { return x == t })
	if len(s.traced.all) == 0 {
		s.traced.some.Store(false)
		s.transport.Tap(nil)
	}
}

// trace shows a message to those who want it. Raw may be in memory that is used again.
func (s *Server) trace(sent bool, flow transport.Flow, raw string) {
	s.traced.mu.RLock()
	all := s.traced.all
	s.traced.mu.RUnlock()
	var seen *api.Traced
	var m sip.Message
	for _, t := range all {
		if !t.mayWant(raw) {
			continue
		}
		if seen == nil {
			if m.Parse([]byte(raw)) != nil {
				return
			}
			seen = tracedOf(sent, flow, &m)
		}
		if !t.wants(&m) {
			continue
		}
		one := *seen
		if t.bodies {
			one.Body = m.Body()
		}
		select {
		case t.out <- one:
		default:
			t.lost.Add(1)
		}
	}
}

// mayWant passes over what the tracer surely does not want, without taking it apart.
func (t *tracer) mayWant(raw string) bool {
	if t.callID != "" && !strings.Contains(raw, t.callID) {
		return false
	}
	return t.aor.IsZero() || strings.Contains(raw, t.aor.User()) || strings.IndexByte(raw, '%') >= 0
}

func (t *tracer) wants(m *sip.Message) bool {
	if t.callID != "" && m.CallID() != t.callID {
		return false
	}
	if t.aor.IsZero() || partyOf(m, sip.HeaderFrom) == t.aor || partyOf(m, sip.HeaderTo) == t.aor {
		return true
	}
	if !m.IsRequest() {
		return false
	}
	asked, err := sip.ParseAORString(m.RequestURI())
	return err == nil && asked == t.aor
}

// partyOf is who From or To names; what is checked of an answer does not say.
func partyOf(m *sip.Message, header sip.HeaderID) sip.AOR {
	a, err := sip.ParseAddress(m.Get(header))
	if err != nil {
		return sip.AOR{}
	}
	aor, _ := sip.ParseAORString(a.URI) // the zero one, if it is of nobody
	return aor
}

func tracedOf(sent bool, flow transport.Flow, m *sip.Message) *api.Traced {
	start, head, body := takeApart(m.Raw())
	return &api.Traced{
		At: time.Now().UTC(), Sent: sent, Flow: flow.String(), Start: start, From: partyOf(m, sip.HeaderFrom).String(), To: partyOf(m, sip.HeaderTo).String(),
		CallID: m.CallID(), CSeq: m.Get(sip.HeaderCSeq), Head: head, Length: body,
	}
}

// takeApart gives the start line of a message, its header lines without what a stranger could try passwords on
// but for who it is of, and how many bytes follow. As for the parser, a line ends with LF.
func takeApart(raw string) (start, head string, body int) {
	var kept []string
	hidden := false
	for first := true; raw != ""; first = false {
		var line string
		line, raw, _ = strings.Cut(raw, "\n")
		if line = strings.TrimSuffix(line, "\r"); first {
			start = line
			continue
		}
		if line == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' { // the rest of the line before
			if !hidden {
				kept = append(kept, line)
			}
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if hidden = strings.EqualFold(name, "Authorization") || strings.EqualFold(name, "Proxy-Authorization"); hidden {
			line = name + ": (" + usernameIn(value) + "left out)"
		}
		kept = append(kept, line)
	}
	return start, strings.Join(kept, "\r\n"), len(raw)
}

// usernameIn is the user name in digest credentials, with its parameter's name.
func usernameIn(credentials string) string {
	_, rest, ok := strings.Cut(credentials, `username="`)
	user, _, whole := strings.Cut(rest, `"`)
	if !ok || !whole {
		return ""
	}
	return `username="` + user + `", `
}
