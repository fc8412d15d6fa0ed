package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"rollcall/auth"
)

const (
	// maxStreams bounds the readers of server-sent events, so that they leave room for other requests.
	maxStreams = 256
	// maxTokenStreams bounds those of one token, so that one program leaves room for others.
	maxTokenStreams = 32
	// heartbeat is how often a stream without events says that it is alive, so that what stands between keeps it open and a
	// reader that is gone is noticed.
	heartbeat = 15 * time.Second
	// eventTime bounds how long a reader may take for one event.
	eventTime = 30 * time.Second
)

// ErrBusy wraps that there are too many of them now; later there may be fewer.
var ErrBusy = errors.New("busy")

// Event is one server-sent event (HTML Living Standard §9.2).
type Event struct {
	ID   string // what a reader names as Last-Event-ID when it comes back; "" leaves the one before
	Name string // "" is "message"
	Data any    // sent as JSON
}

// Streams are the running streams of server-sent events. The zero value is
// ready. All methods are safe for concurrent use.
type Streams struct {
	mu     sync.Mutex
	ends   map[int]context.CancelFunc
	tokens map[string]int // streams of each token, by ID
	next   int
	closed bool
	wg     sync.WaitGroup
}

// Close ends all streams and waits until their producers have ended. Streams
// that are opened later are refused.
func (s *Streams) Close() {
	s.mu.Lock()
	s.closed = true
	for _, end := range s.ends {
		end()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// open counts a stream in. Its context ends with the reader's, with the
// stream's end and with Close.
func (s *Streams) open(ctx context.Context) (context.Context, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, _ := ctx.Value(tokenKey{}).(auth.Token) // none at the control socket
	switch {
	case s.closed:
		return nil, nil, fmt.Errorf("%w: the server stops", ErrBusy)
	case len(s.ends) >= maxStreams:
		return nil, nil, fmt.Errorf("%w: %d streams are open", ErrBusy, len(s.ends))
	case t.ID != "" && s.tokens[t.ID] >= maxTokenStreams:
		return nil, nil, fmt.Errorf("%w: %d streams of this token are open", ErrBusy, s.tokens[t.ID])
	}
	ctx, end := context.WithCancel(ctx)
	if s.ends == nil {
		s.ends, s.tokens = map[int]context.CancelFunc{}, map[string]int{}
	}
	s.tokens[t.ID]++
	s.next++
	n := s.next
	s.ends[n] = end
	s.wg.Add(1)
	return ctx, func() {
		end()
		s.mu.Lock()
		delete(s.ends, n)
		if s.tokens[t.ID]--; s.tokens[t.ID] == 0 {
			delete(s.tokens, t.ID)
		}
		s.mu.Unlock()
		s.wg.Done()
	}, nil
}

// Serve answers with what produce sends, until produce returns, the reader is
// gone, its token is no longer good, or Close. produce runs on a goroutine of
// its own, whose end Serve waits for; its context ends with the stream. send is
// for one goroutine at a time. It returns when the event is written to the
// connection, gives an error once the stream has ended, waits while the reader is
// slow, and ends the stream of one that takes nothing for half a minute. An error of
// produce before its first event is the answer to the request; the stream's
// head is sent with the first event or, without one, the first heartbeat, which
// ready asks for at once.
func (s *Streams) Serve(w http.ResponseWriter, r *http.Request, produce func(ctx context.Context, send func(Event) error, ready func()) error) {
	ctx, end, err := s.open(r.Context())
	if err != nil {
		reply(w, nil, err)
		return
	}
	var produced sync.WaitGroup
	defer end()
	defer produced.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, written, done := make(chan Event), make(chan error), make(chan error, 1)
	begin := make(chan struct{}, 1)
	produced.Go(func() {
		done <- produce(ctx, func(e Event) error {
			select {
			case events <- e:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case err := <-written:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}, func() {
			select {
			case begin <- struct{}{}:
			default: // asked already
			}
		})
	})
	out := &eventWriter{w: w, rc: http.NewResponseController(w)}
	// The server's deadlines are those of a request that ends; a reader that is gone is found by writing to it.
	_ = out.rc.SetReadDeadline(time.Time{}) // fails only for a writer that has none
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		var err error
		select {
		case e := <-events:
			err = out.event(e)
			select {
			case written <- err:
			case <-ctx.Done():
			}
		case <-begin:
			if !out.started { // else an event was faster, and has begun it
				err = out.beat()
			}
		case <-tick.C:
			if err = stillGood(r.Context()); err == nil {
				err = out.beat()
			}
		case <-ctx.Done():
			return
		case err := <-done:
			if !out.started {
				if err != nil {
					reply(w, nil, err)
				}
			} else if err != nil && ctx.Err() == nil {
				_ = out.event(Event{Name: "error", Data: failureOf(err)}) // a reader that went away needs no answer
			}
			return
		}
		if err != nil {
			return
		}
	}
}

// eventWriter writes events to one reader, each within eventTime.
type eventWriter struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	started bool
}

func (o *eventWriter) event(e Event) error {
	data, err := json.Marshal(e.Data) // in one line
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, f := range [...]struct{ name, value string }{{"id", e.ID}, {"event", e.Name}} {
		if f.value != "" && !strings.ContainsAny(f.value, "\r\n\x00") {
			b.WriteString(f.name + ": " + f.value + "\n")
		}
	}
	b.WriteString("data: ")
	b.Write(data)
	b.WriteString("\n\n")
	return o.write(b.Bytes())
}

// beat writes a comment, which readers ignore.
func (o *eventWriter) beat() error { return o.write([]byte(":\n\n")) }

func (o *eventWriter) write(b []byte) error {
	if !o.started {
		o.started = true
		o.w.Header().Set("Content-Type", "text/event-stream")
		o.w.Header().Set("Cache-Control", "no-store")
		o.w.Header().Set("X-Accel-Buffering", "no") // proxies that would collect a page first
		o.w.WriteHeader(http.StatusOK)
	}
	_ = o.rc.SetWriteDeadline(time.Now().Add(eventTime)) // fails only for a writer that has none
	if _, err := o.w.Write(b); err != nil {
		return err
	}
	return o.rc.Flush()
}

type stillKey struct{}

// withStill notes how it is found whether the secret of a request is still good.
func withStill(ctx context.Context, b Checker, secret string) context.Context {
	return context.WithValue(ctx, stillKey{}, func() error {
		_, err := b.CheckToken(ctx, secret)
		return err
	})
}

// stillGood gives an error when the token of a request was revoked or has
// expired since. When tokens cannot be checked the stream goes on: it began
// with a good one.
func stillGood(ctx context.Context) error {
	check, ok := ctx.Value(stillKey{}).(func() error)
	if !ok {
		return nil // the control socket
	}
	if err := check(); errors.Is(err, auth.ErrToken) {
		return err
	}
	return nil
}
