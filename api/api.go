package api

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Backend is what the handlers need of the server. All methods are safe for concurrent use.
type Backend interface {
	// Problems says, each on one line, what keeps the server from its work: a listener, the store, the journal.
	// None means ready. It answers within the context's deadline even when what it asks does not. The lines are
	// shown to strangers: no account, path or credential stands in them.
	Problems(ctx context.Context) []string
	// Metrics serves /metrics: promhttp.HandlerFor the server's registry, with a bound on requests in flight.
	Metrics() http.Handler
	// Users are the accounts.
	Users() Users
	// Registrations lists the bindings that are in force, of one AOR ("sip:alice@example.com") or, with "", of
	// all, ordered by AOR. An AOR that is not an account gives ErrNotFound.
	Registrations(ctx context.Context, aor string) ([]Registration, error)
	// Presence returns what is known of the presence of an account, else ErrNotFound.
	Presence(ctx context.Context, aor string) (Presence, error)
	// Subscriptions lists the subscriptions that this server holds, to and of one AOR or, with "", all, ordered by
	// the address that is watched. An AOR that is neither watched nor an account gives ErrNotFound.
	Subscriptions(ctx context.Context, aor string) ([]Subscription, error)
	// Explain says what one account sees of the presence of another, and why, whether it watches or not. An AOR that
	// is not an account gives ErrNotFound.
	Explain(ctx context.Context, watcher, presentity string) (Explanation, error)
	// Status describes the running server.
	Status(ctx context.Context) (Status, error)
	Record
	Tokens
	Checker
	Publisher
	Watcher
	Tracer
	Administration
	Exports
	Messages
	Names
	// Streams are the running streams of events.
	Streams() *Streams
	// Reload reads the configuration file again and applies what a reload applies. On an error nothing changed.
	Reload(ctx context.Context) error
}

// Registration is one binding of an account.
type Registration struct {
	AOR       string    `json:"aor"`
	Contact   string    `json:"contact"`
	Instance  string    `json:"instance,omitempty"` // +sip.instance, without the brackets
	RegID     int       `json:"reg_id,omitempty"`
	Q         float64   `json:"q"`
	Expires   time.Time `json:"expires"`
	Methods   []string  `json:"methods,omitempty"` // empty: the device did not say
	Path      []string  `json:"path,omitempty"`
	Flow      string    `json:"flow,omitempty"` // "udp 192.0.2.1:5060": where its requests came from
	UserAgent string    `json:"user_agent,omitempty"`
	CallID    string    `json:"call_id,omitempty"`
	CSeq      uint32    `json:"cseq"`
}

// Status describes a running server.
type Status struct {
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Config   string    `json:"config"` // path of the configuration file
	Domains  []string  `json:"domains"`
	Listen   []Address `json:"listen"` // as bound, in the order of the configuration
	HTTP     string    `json:"http,omitempty"`
	Problems []string  `json:"problems,omitempty"`
}

// Address is a bound listener.
type Address struct {
	Transport string `json:"transport"`
	Address   string `json:"address"`
}

// readyTimeout bounds /readyz: who asks it, a load balancer, gives up after a few seconds.
const readyTimeout = 3 * time.Second

// New returns the handler of the public listener.
func New(b Backend) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if problems := b.Problems(ctx); len(problems) > 0 {
			plain(w, http.StatusServiceUnavailable, strings.Join(problems, "\n"))
			return
		}
		plain(w, http.StatusOK, "ready")
	})
	mux.Handle("GET /metrics", b.Metrics())
	mux.Handle("GET /openapi.json", openAPI())
	limited := http.MaxBytesHandler(mux, 0)
	tokens := withToken(b)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/v1/") {
			tokens.ServeHTTP(w, r)
			return
		}
		limited.ServeHTTP(w, r)
	})
}

// plain answers text that a cache must not keep: it is true now.
func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // a reader that went away needs no answer
}

// NewServer returns an http.Server for either handler, with the timeouts and limits that keep a slow or greedy
// client from holding anything for long.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnContext:       withPeer,
	}
}
