package api

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/auth"
)

// access says which roles may use a route, and what the route does. Who reads
// content changes no configuration, and who administers reads no content.
var access = map[string]struct {
	roles   []string
	summary string
}{
	"GET /api/v1/status":                       {[]string{"ops", "admin"}, "Describe the running server."},
	"POST /api/v1/reload":                      {[]string{"admin"}, "Read the configuration file again."},
	"GET /api/v1/registrations":                {[]string{"ops", "admin"}, "List bindings, of one account with ?aor=."},
	"GET /api/v1/subscriptions":                {[]string{"ops", "admin"}, "List subscriptions, of one account with ?aor=."},
	"GET /api/v1/trace":                        {[]string{"ops", "admin", "compliance"}, "SIP messages as they come and go, of ?aor= and ?call_id=, as server-sent events; with ?bodies=true for the role compliance."},
	"GET /api/v1/explain":                      {[]string{"ops", "admin"}, "Say what ?watcher= sees of ?presentity=, and why."},
	"GET /api/v1/presence":                     {[]string{"ops", "admin", "bot"}, "Presence of the accounts named by ?aor=, once for each."},
	"GET /api/v1/presence/{aor}":               {[]string{"ops", "admin", "bot"}, "Presence of an account."},
	"GET /api/v1/presence/stream":              {[]string{"ops", "admin", "bot"}, "Presence of the accounts ?aor= and of the members of ?group= now and as it changes, as server-sent events."},
	"GET /api/v1/groups":                       {[]string{"ops", "admin", "bot"}, "List groups of accounts."},
	"GET /api/v1/groups/{name}":                {[]string{"ops", "admin", "bot"}, "Members of a group with their presence, from the ?from=th, up to ?limit=."},
	"PUT /api/v1/presence/{aor}":               {[]string{"ops", "admin", "bot"}, "Publish for an account; If-Match with the ETag replaces a publication, ?permanent=true sets what holds without one."},
	"DELETE /api/v1/presence/{aor}":            {[]string{"ops", "admin", "bot"}, "Remove the publication named by If-Match, or with ?permanent=true the permanent state."},
	"POST /api/v1/messages":                    {[]string{"bot"}, "Send a message from the account of the token; with an Idempotency-Key once, however often it is asked for."},
	"POST /api/v1/messages/{id}/confirm":       {[]string{"bot"}, "Take a message of a stream with ?confirm=true."},
	"GET /api/v1/messages/stream":              {[]string{"bot"}, "Messages for the account of the token, as server-sent events."},
	"GET /api/v1/users":                        {[]string{"admin"}, "List accounts, one JSON value a line."},
	"GET /api/v1/users/report":                 {[]string{"admin"}, "Who uses the system, from where and with what, since ?days=, as JSON or text/csv."},
	"POST /api/v1/users":                       {[]string{"admin"}, "Make an account."},
	"PATCH /api/v1/users/{aor}":                {[]string{"admin"}, "Change a password, or lock an account out."},
	"DELETE /api/v1/users/{aor}":               {[]string{"admin"}, "Delete an account, for ?reason=; its name is in quarantine then."},
	"POST /api/v1/users/import":                {[]string{"admin"}, "Add and change accounts from CSV."},
	"GET /api/v1/users/export":                 {[]string{"admin"}, "Accounts as CSV."},
	"GET /api/v1/aliases":                      {[]string{"admin"}, "List further addresses of accounts, with owner and purpose."},
	"PUT /api/v1/aliases/{aor}":                {[]string{"admin"}, "Make an alias of an account."},
	"DELETE /api/v1/aliases/{aor}":             {[]string{"admin"}, "Remove an alias; its name is in quarantine then."},
	"GET /api/v1/tokens":                       {[]string{"admin"}, "List tokens."},
	"POST /api/v1/tokens":                      {[]string{"admin"}, "Make a token."},
	"DELETE /api/v1/tokens/{id}":               {[]string{"admin"}, "Revoke a token."},
	"GET /api/v1/usage":                        {[]string{"admin", "compliance"}, "What units, or with ?by=user accounts, used in ?month= and what it costs, as JSON or text/csv."},
	"GET /api/v1/audit":                        {[]string{"admin", "compliance"}, "Acts: who did what, when and why; ?actor=, ?action=, ?after=, ?before=, ?limit=, ?from=."},
	"GET /api/v1/policy":                       {[]string{"admin", "compliance"}, "The rules in force, their version, and what is wrong with the file."},
	"GET /api/v1/records":                      {[]string{"compliance"}, "Messages that ?q= finds, up to ?limit=."},
	"GET /api/v1/conversations":                {[]string{"compliance"}, "What the parties of ?with= wrote to each other, in threads parted by a silence of ?gap=."},
	"GET /api/v1/records/stream":               {[]string{"compliance"}, "Records as they come, as server-sent events, from behind ?after= or Last-Event-ID."},
	"GET /api/v1/records/{id}":                 {[]string{"compliance", "supervisor"}, "A record with what became of it."},
	"GET /api/v1/records/{id}/proof":           {[]string{"compliance", "supervisor"}, "The proof of a record, C2SP tlog-proof."},
	"POST /api/v1/exports":                     {[]string{"compliance"}, "Have an export made."},
	"GET /api/v1/exports":                      {[]string{"compliance"}, "List exports."},
	"GET /api/v1/exports/{id}":                 {[]string{"compliance"}, "How far an export is, and its manifest."},
	"DELETE /api/v1/exports/{id}":              {[]string{"compliance"}, "Remove an export."},
	"GET /api/v1/exports/{id}/files/{name...}": {[]string{"compliance"}, "A file of an export."},
	"GET /api/v1/exports/{id}/tar":             {[]string{"compliance"}, "All files of an export, as tar."},
	"GET /api/v1/holds":                        {[]string{"compliance"}, "List holds."},
	"POST /api/v1/holds":                       {[]string{"compliance"}, "Put a hold in force."},
	"POST /api/v1/holds/{name}/release":        {[]string{"compliance"}, "Ask for the release of a hold, or confirm it."},
	"GET /api/v1/reviews":                      {[]string{"supervisor", "compliance"}, "What is to be reviewed since ?since=."},
	"POST /api/v1/reviews/{id}":                {[]string{"supervisor"}, "A step of a review."},
	"POST /api/v1/record/erase":                {[]string{"compliance"}, "Destroy the keys of what somebody wrote."},
	"POST /api/v1/record/purge":                {[]string{"compliance"}, "Take out what is over its retention."},
	"POST /api/v1/record/key":                  {[]string{"admin"}, "Have checkpoints signed with a new key."},
	"POST /api/v1/record/acts":                 {[]string{"compliance"}, "Record that the files of the archive are read."},
}

// Checker finds the token of a secret.
type Checker interface {
	// CheckToken returns auth.ErrToken for a secret that is not good.
	CheckToken(ctx context.Context, secret string) (auth.Token, error)
	// UseToken notes that a token is used; an error keeps it from being.
	UseToken(ctx context.Context, t auth.Token) error
	// WrongToken counts a secret that was not good, of an address, and returns how long that has to wait: 0 not at all.
	WrongToken(source netip.Addr) time.Duration
	// CountRequest counts a request with a token by the pattern of its route, "" for none, and its status.
	CountRequest(pattern string, status int)
}

type tokenKey struct{}

// tokenBody bounds the body of a request with a token.
const tokenBody = 1 << 20

// withToken serves the routes to those whose token's role may use them.
func withToken(b Backend) http.Handler {
	mux := routes(b)
	pattern := func(r *http.Request) string { _, p := mux.Handler(r); return p }
	return counting(b, pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		deny := func(status int, challenge, text string) {
			if challenge != "" {
				w.Header().Set("WWW-Authenticate", challenge)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(failure{Error: text}) // a reader that went away needs no answer
		}
		scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			deny(http.StatusUnauthorized, `Bearer realm="rollcall"`, "a bearer token is wanted; rollcall token create makes one")
			return
		}
		t, err := b.CheckToken(r.Context(), strings.TrimSpace(secret))
		if err != nil && !errors.Is(err, auth.ErrToken) {
			w.Header().Set("Retry-After", "5")
			deny(http.StatusServiceUnavailable, "", "tokens cannot be checked now")
			return
		}
		if err != nil { // RFC 6750 §3.1
			from, _ := netip.ParseAddrPort(r.RemoteAddr)
			if wait := b.WrongToken(from.Addr().Unmap()); wait > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
				deny(http.StatusTooManyRequests, "", "too many wrong tokens from this address")
				return
			}
			deny(http.StatusUnauthorized, `Bearer realm="rollcall", error="invalid_token"`, "the token is not known, was revoked or has expired")
			return
		}
		_, pattern := mux.Handler(r)
		a, known := access[pattern]
		switch {
		case pattern == "":
			mux.ServeHTTP(w, r) // 404 or 405
			return
		case !known || !slices.Contains(a.roles, t.Role):
			deny(http.StatusForbidden, `Bearer realm="rollcall", error="insufficient_scope"`, "the role "+t.Role+" may not do this; it takes "+strings.Join(a.roles, " or "))
			return
		}
		if err := b.UseToken(r.Context(), t); err != nil {
			w.Header().Set("Retry-After", "5")
			deny(http.StatusServiceUnavailable, "", "the login cannot be recorded now")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, tokenBody)
		ctx := withStill(context.WithValue(r.Context(), tokenKey{}, t), b, strings.TrimSpace(secret))
		mux.ServeHTTP(w, r.WithContext(WithActor(ctx, actorOf(r.WithContext(ctx)))))
	}))
}

func xmlEscape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes all
	return b.String()
}
