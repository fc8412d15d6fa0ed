package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Tracer shows SIP messages as they come and go.
type Tracer interface {
	// Trace calls f with each message that q asks for, until ctx ends or f gives an error; ready when the first can
	// come. It is for the one goroutine. What f is too slow for is left out, and counted.
	Trace(ctx context.Context, actor string, q TraceQuery, ready func(), f func(Traced) error) error
}

// TraceQuery says which messages are traced; all with its zero value.
type TraceQuery struct {
	AOR    string // From, To or Request-URI is this account
	CallID string
	Bodies bool // with bodies, which is an act on the record
	Reason string
}

// Traced is a SIP message that the server received or sent.
type Traced struct {
	At     time.Time `json:"at"`
	Sent   bool      `json:"sent"`  // by the server
	Flow   string    `json:"flow"`  // transport and address of the peer
	Start  string    `json:"start"` // request or status line
	From   string    `json:"from,omitempty"`
	To     string    `json:"to,omitempty"`
	CallID string    `json:"call_id"`
	CSeq   string    `json:"cseq"`
	Head   string    `json:"head"`           // header lines as they are, with credentials left out
	Length int       `json:"length"`         // bytes of the body
	Body   string    `json:"body,omitempty"` // if bodies were asked for
	Lost   uint64    `json:"lost,omitempty"` // messages before this one that were left out
}

func traceRoutes(mux *http.ServeMux, b Backend) {
	mux.HandleFunc("GET /api/v1/trace", func(w http.ResponseWriter, r *http.Request) {
		v := r.URL.Query()
		q := TraceQuery{AOR: v.Get("aor"), CallID: v.Get("call_id"), Reason: v.Get("reason")}
		if s := v.Get("bodies"); s != "" {
			var err error
			if q.Bodies, err = strconv.ParseBool(s); err != nil {
				reply(w, nil, fmt.Errorf("%w: bodies is true or false", ErrInvalid))
				return
			}
		}
		if t := TokenOf(r.Context()); q.Bodies && t.ID != "" && t.Role != "compliance" {
			reply(w, nil, fmt.Errorf("%w: bodies are for the role compliance", ErrForbidden))
			return
		}
		actor := actorOf(r)
		b.Streams().Serve(w, r, func(ctx context.Context, send func(Event) error, ready func()) error {
			return b.Trace(ctx, actor, q, ready, func(t Traced) error { return send(Event{Name: "message", Data: t}) })
		})
	})
}
