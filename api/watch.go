package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"rollcall/auth"
)

// ErrPending is ErrForbidden until the account has decided.
var ErrPending = fmt.Errorf("%w until it is decided", ErrForbidden)

// Watcher shows presence as it changes, and the groups of accounts.
type Watcher interface {
	// WatchPresence calls f with the presence of accounts and of the members of groups: first of all, then of those that
	// changed, until ctx ends. A token with an account sees what that account sees. ErrInvalid, ErrNotFound, ErrBusy.
	WatchPresence(ctx context.Context, t auth.Token, aors, groups []string, ready func(), f func(Watched) error) error
	// SeePresence is Presence as the account of a token sees it: that of a watcher alone, ErrForbidden for what it may not see, ErrPending until that is decided.
	SeePresence(ctx context.Context, t auth.Token, aor string) (Presence, error)
	// Groups lists the groups of accounts.
	Groups(ctx context.Context, t auth.Token) ([]Group, error)
	// Group returns a group with some of its members and their presence, by name, beginning at the from-th: ErrNotFound.
	Group(ctx context.Context, t auth.Token, name string, from, limit int) (Group, error)
}

// Watched is the presence of one account in a stream.
type Watched struct {
	AOR      string `json:"aor"`
	Standing string `json:"standing"` // active; pending: it has not been decided; refused
	State
	Document string `json:"document,omitempty"`
}

// Group is a group of accounts of the company.
type Group struct {
	Name    string    `json:"name"`
	Address string    `json:"address,omitempty"` // of its list of contacts, for SUBSCRIBE
	Count   int       `json:"count"`             // of all members
	Members []Watched `json:"members,omitempty"`
	Next    int       `json:"next,omitempty"` // where the next page begins, to be given as from=; absent on the last one
}

// membersDefault is how many members of a group a page has.
const membersDefault = 1000

// TokenOf returns the token of a request; the zero one at the control socket.
func TokenOf(ctx context.Context) auth.Token {
	t, _ := ctx.Value(tokenKey{}).(auth.Token)
	return t
}

func watchRoutes(mux *http.ServeMux, b Backend) {
	mux.HandleFunc("GET /api/v1/presence/stream", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if n := len(q["aor"]) + len(q["group"]); n == 0 || n > maxWanted {
			reply(w, nil, fmt.Errorf("%w: name 1 to %d accounts or groups, each as aor=sip:alice@example.com or group=NAME", ErrInvalid, maxWanted))
			return
		}
		b.Streams().Serve(w, r, func(ctx context.Context, send func(Event) error, ready func()) error {
			return b.WatchPresence(ctx, TokenOf(r.Context()), q["aor"], q["group"], ready, func(p Watched) error {
				return send(Event{Name: "presence", Data: p})
			})
		})
	})
	mux.HandleFunc("GET /api/v1/groups", func(w http.ResponseWriter, r *http.Request) {
		list, err := b.Groups(r.Context(), TokenOf(r.Context()))
		if list == nil {
			list = []Group{}
		}
		reply(w, list, err)
	})
	mux.HandleFunc("GET /api/v1/groups/{name}", func(w http.ResponseWriter, r *http.Request) {
		limit, err := limitOf(r.URL.Query().Get("limit"), membersDefault)
		from := 0
		if s := r.URL.Query().Get("from"); err == nil && s != "" {
			if from, err = strconv.Atoi(s); err != nil || from < 0 {
				err = fmt.Errorf("%w: from is the next of the page before", ErrInvalid)
			}
		}
		if err != nil {
			reply(w, nil, err)
			return
		}
		g, err := b.Group(r.Context(), TokenOf(r.Context()), r.PathValue("name"), from, limit)
		reply(w, g, err)
	})
}
