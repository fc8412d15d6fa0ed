package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"rollcall/archive"
	"rollcall/store"
)

const (
	maxBody   = 64 << 10
	maxImport = 256 << 20
	// longCall bounds imports and exports, which take longer than the server's timeouts allow other calls.
	longCall = 10 * time.Minute
)

// failure is the body of every answer that is not 2xx, and the last line of an import that failed.
type failure struct {
	Error string `json:"error"`
	Kind  string `json:"kind,omitempty"` // "exists", "not_found", "invalid": which of the errors of Users
}

var kinds = []struct {
	err    error
	kind   string
	status int
}{
	{ErrExists, "exists", http.StatusConflict},
	{ErrNotFound, "not_found", http.StatusNotFound},
	{ErrInvalid, "invalid", http.StatusBadRequest},
	{ErrRefused, "refused", http.StatusConflict},
	{ErrForbidden, "forbidden", http.StatusForbidden},
	{ErrMoved, "moved", http.StatusPreconditionFailed},
	{ErrUnderWay, "under_way", http.StatusConflict},
	{ErrReused, "reused", http.StatusUnprocessableEntity},
	{ErrBusy, "busy", http.StatusServiceUnavailable},
	{store.ErrUnavailable, "busy", http.StatusServiceUnavailable},
	{archive.ErrUnavailable, "busy", http.StatusServiceUnavailable},
	{archive.ErrBusy, "busy", http.StatusServiceUnavailable},
}

// importLine is one line of the answer to an import: progress, the result, or a failure.
type importLine struct {
	Done     int       `json:"done,omitempty"`
	Imported *Imported `json:"imported,omitempty"`
	Failure  *failure  `json:"failure,omitempty"`
}

// addUser is the body of POST /api/v1/users.
type addUser struct {
	User
	Password string `json:"password"`
}

// changeUser is the body of PATCH /api/v1/users/{aor}; what is absent stays.
type changeUser struct {
	Password *string `json:"password,omitempty"`
	Disabled *bool   `json:"disabled,omitempty"`
}

// Control returns the handler of the control socket. It asks for no credentials: who can open the socket is
// administrator.
func Control(b Backend) http.Handler {
	mux := routes(b)
	return http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(WithActor(r.Context(), actorOf(r))))
	}), maxImport)
}

// routes are the paths below /api/v1/, for the control socket and, by role, for tokens.
func routes(b Backend) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, r *http.Request) {
		s, err := b.Status(r.Context())
		reply(w, s, err)
	})
	mux.HandleFunc("POST /api/v1/reload", func(w http.ResponseWriter, r *http.Request) {
		reply(w, struct{}{}, b.Reload(r.Context()))
	})
	recordRoutes(mux, b)
	streamRoutes(mux, b)
	nameRoutes(mux, b)
	aliasRoutes(mux, b)
	messageRoutes(mux, b)
	exportRoutes(mux, b)
	administrationRoutes(mux, b)
	tokenRoutes(mux, b)
	presenceRoutes(mux, b)
	watchRoutes(mux, b)
	traceRoutes(mux, b)
	mux.HandleFunc("GET /api/v1/registrations", func(w http.ResponseWriter, r *http.Request) {
		regs, err := b.Registrations(r.Context(), r.URL.Query().Get("aor"))
		if regs == nil {
			regs = []Registration{}
		}
		reply(w, regs, err)
	})
	mux.HandleFunc("GET /api/v1/subscriptions", func(w http.ResponseWriter, r *http.Request) {
		subs, err := b.Subscriptions(r.Context(), r.URL.Query().Get("aor"))
		if subs == nil {
			subs = []Subscription{}
		}
		reply(w, subs, err)
	})
	mux.HandleFunc("GET /api/v1/explain", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		x, err := b.Explain(r.Context(), q.Get("watcher"), q.Get("presentity"))
		reply(w, x, err)
	})
	mux.HandleFunc("GET /api/v1/users", func(w http.ResponseWriter, r *http.Request) { listUsers(w, r, b.Users()) })
	mux.HandleFunc("POST /api/v1/users", func(w http.ResponseWriter, r *http.Request) {
		var in addUser
		if !decode(w, r, &in) {
			return
		}
		reply(w, struct{}{}, b.Users().Add(r.Context(), in.User, in.Password))
	})
	mux.HandleFunc("PATCH /api/v1/users/{aor}", func(w http.ResponseWriter, r *http.Request) {
		var in changeUser
		if !decode(w, r, &in) {
			return
		}
		reply(w, struct{}{}, change(r.Context(), b.Users(), r.PathValue("aor"), in))
	})
	mux.HandleFunc("DELETE /api/v1/users/{aor}", func(w http.ResponseWriter, r *http.Request) {
		err := b.Users().Delete(WithActor(r.Context(), actorOf(r)), r.PathValue("aor"), r.URL.Query().Get("reason"))
		reply(w, struct{}{}, err)
	})
	mux.HandleFunc("POST /api/v1/users/import", func(w http.ResponseWriter, r *http.Request) { importUsers(w, r, b.Users()) })
	mux.HandleFunc("GET /api/v1/users/export", func(w http.ResponseWriter, r *http.Request) { exportUsers(w, r, b.Users()) })
	return mux
}

// change applies one change; two at once would be half applied if the second failed.
func change(ctx context.Context, users Users, aor string, in changeUser) error {
	switch {
	case in.Password != nil && in.Disabled == nil:
		return users.SetPassword(ctx, aor, *in.Password)
	case in.Disabled != nil && in.Password == nil:
		return users.SetDisabled(ctx, aor, *in.Disabled)
	}
	return fmt.Errorf("%w: want either password or disabled", ErrInvalid)
}

// listUsers streams one account a line: a hundred thousand are not held in memory twice.
func listUsers(w http.ResponseWriter, r *http.Request, users Users) {
	extend(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	started := false
	err := users.List(r.Context(), func(u User) error {
		started = true
		return enc.Encode(u)
	})
	streamEnd(w, started, err)
}

func exportUsers(w http.ResponseWriter, r *http.Request, users Users) {
	extend(w)
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	cw := &countWriter{w: w}
	err := users.Export(r.Context(), cw)
	streamEnd(w, cw.n > 0, err)
}

type countWriter struct {
	w http.ResponseWriter
	n int
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += n
	return n, err
}

// streamEnd answers an error, or, when a part has been sent as 200 already, breaks the connection: the reader must
// not take a part for the whole.
func streamEnd(w http.ResponseWriter, started bool, err error) {
	switch {
	case err == nil:
	case started:
		panic(http.ErrAbortHandler)
	default:
		reply(w, nil, err)
	}
}

// importUsers reads the CSV and answers lines of progress meanwhile.
func importUsers(w http.ResponseWriter, r *http.Request, users Users) {
	extend(w)
	rc := http.NewResponseController(w)
	if err := rc.EnableFullDuplex(); err != nil {
		reply(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	line := func(l importLine) {
		// A client that went away ends the import by the context, not by this.
		if enc.Encode(l) == nil {
			_ = rc.Flush()
		}
	}
	done, err := users.Import(r.Context(), r.Body, func(done int) { line(importLine{Done: done}) })
	if err != nil {
		f := failureOf(err)
		line(importLine{Failure: &f})
		return
	}
	line(importLine{Imported: &done})
}

// extend gives a call more time than the server's timeouts. It fails only for a writer that has none.
func extend(w http.ResponseWriter) {
	rc := http.NewResponseController(w)
	until := time.Now().Add(longCall)
	_ = errors.Join(rc.SetReadDeadline(until), rc.SetWriteDeadline(until))
}

func decode(w http.ResponseWriter, r *http.Request, v any) bool { return decodeMost(w, r, v, maxBody) }

// decodeMost is decode with another bound.
func decodeMost(w http.ResponseWriter, r *http.Request, v any, most int64) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		reply(w, nil, fmt.Errorf("%w: body: %s", ErrInvalid, strings.TrimPrefix(err.Error(), "json: ")))
		return false
	}
	return true
}

func reply(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	if err != nil {
		f := failureOf(err)
		v, status = f, http.StatusInternalServerError
		for _, k := range kinds {
			if f.Kind == k.kind {
				status = k.status
			}
		}
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	answer(w, status, v)
}

// answer writes a value with a status.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a reader that went away needs no answer
}

func failureOf(err error) failure {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return failure{Error: err.Error(), Kind: k.kind}
		}
	}
	return failure{Error: err.Error()}
}
