package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"rollcall/archive"
)

// Follow says from where records are followed.
type Follow struct {
	// After is the seq of the last record that the reader has; 0 is none.
	After uint64
	// FromNow begins with the next record, instead of After.
	FromNow bool
	Reason  string
	// Begun is called when the act is recorded; Fault of what is damaged, behind which it goes on.
	Begun func()
	Fault func(error) error
}

func streamRoutes(mux *http.ServeMux, b Backend) {
	mux.HandleFunc("GET /api/v1/records/stream", func(w http.ResponseWriter, r *http.Request) {
		o, err := followOf(r)
		if err != nil {
			reply(w, nil, err)
			return
		}
		actor := actorOf(r)
		b.Streams().Serve(w, r, func(ctx context.Context, send func(Event) error, ready func()) error {
			o.Begun = ready
			o.Fault = func(err error) error { return send(Event{Name: "fault", Data: failureOf(err)}) }
			return b.Follow(ctx, actor, o, func(v archive.View) error {
				return send(Event{ID: strconv.FormatUint(v.Seq, 10), Name: "record", Data: v})
			})
		})
	})
}

// followOf reads from where a reader wants records. One that comes back says so
// in Last-Event-ID (HTML Living Standard §9.2.3), whatever it asked for at first.
func followOf(r *http.Request) (Follow, error) {
	q := r.URL.Query()
	o := Follow{Reason: q.Get("reason")}
	name, text := "Last-Event-ID", r.Header.Get("Last-Event-ID")
	if text == "" {
		name, text = "after", q.Get("after")
	}
	if text == "" {
		o.FromNow = true
		return o, nil
	}
	var err error
	if o.After, err = strconv.ParseUint(text, 10, 64); err != nil {
		return o, fmt.Errorf("%w: %s is the seq of a record", ErrInvalid, name)
	}
	return o, nil
}
