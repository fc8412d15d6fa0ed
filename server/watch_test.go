package server

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/config"
	"rollcall/xcap"
)

// tokenOf makes a token of an application that acts for an account.
func (h *house) tokenOf(user string) string {
	h.t.Helper()
	t, err := backend{h.Server}.CreateToken(h.t.Context(), api.NewToken{Role: "bot", Name: "board", AOR: aor(h.t, user).String()})
	if err != nil {
		h.t.Fatal(err)
	}
	return t.Secret
}

// watched waits for an event about an account that has what is wanted.
func watched(t *testing.T, events <-chan map[string]string, user string, want func(api.Watched) bool) {
	t.Helper()
	for e := range events {
		var w api.Watched
		if err := json.Unmarshal([]byte(e["data"]), &w); err != nil {
			t.Fatalf("%v: %v", e, err)
		}
		if w.AOR == aor(t, user).String() && want(w) {
			return
		}
	}
	t.Fatal("the stream ended")
}

// TestPresenceStream: an application sees presence now and as it changes; one with an
// account what that account may see, and no more when the rules change.
func TestPresenceStream(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.join("bob", "Sales")
	bob := h.client("bob", "UDP")
	bob.publish(200, pidf("bob", "open", "first"))
	whole := h.events(h.token("ops", "board"), "/api/v1/presence/stream?group=sales&aor=sip:alice@example.com")
	as := h.events(h.tokenOf("alice"), "/api/v1/presence/stream?aor=sip:bob@example.com")
	note := func(text string) func(api.Watched) bool {
		return func(w api.Watched) bool {
			return w.Standing == "active" && w.Note == text && w.Basic == "open" && strings.Contains(w.Document, text)
		}
	}
	watched(t, whole, "bob", note("first"))
	watched(t, as, "bob", note("first"))
	bob.publish(200, pidf("bob", "open", "second"))
	watched(t, whole, "bob", note("second"))
	watched(t, as, "bob", note("second"))
	_, err := h.documents.Put(t.Context(), aor(t, "bob"), xcap.PresRules, "index", []byte(`<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"/>`))
	if err != nil {
		t.Fatal(err)
	}
	watched(t, as, "bob", func(w api.Watched) bool { return w.Standing == "refused" && w.Document == "" })
	bob.publish(200, pidf("bob", "open", "third"))
	watched(t, whole, "bob", note("third"))
	if res, body := h.asToken(h.tokenOf("alice"), "GET", "/api/v1/presence/sip:bob@example.com", ""); res.StatusCode != 403 {
		t.Errorf("what is not allowed: %d %s", res.StatusCode, body)
	}
	for _, path := range []string{"/api/v1/presence/stream", "/api/v1/presence/stream?aor=x"} {
		if res, body := h.asToken(h.token("ops", "board"), "GET", path, ""); res.StatusCode != 400 {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	if res, body := h.asToken(h.token("ops", "board"), "GET", "/api/v1/presence/stream?group=nobody", ""); res.StatusCode != 404 {
		t.Errorf("a group that is not there: %d %s", res.StatusCode, body)
	}
}

// TestGroupsByToken: groups have an address and members with their presence.
func TestGroupsByToken(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.join("alice", "Sales Team")
	h.join("bob", "Sales Team", "Lunch")
	h.client("bob", "UDP").publish(200, pidf("bob", "open", "here"))
	ops := h.token("ops", "board")
	var groups []api.Group
	_, body := h.asToken(ops, "GET", "/api/v1/groups", "")
	if err := json.Unmarshal([]byte(body), &groups); err != nil || len(groups) != 2 || groups[1].Name != "Sales Team" || groups[1].Count != 2 ||
		groups[1].Address != "sip:group-sales-team@example.com" {
		t.Errorf("%s %v", body, err)
	}
	var g api.Group
	_, body = h.asToken(h.tokenOf("alice"), "GET", "/api/v1/groups/"+url.PathEscape("Sales Team"), "")
	if err := json.Unmarshal([]byte(body), &g); err != nil || len(g.Members) != 1 || g.Members[0].Note != "here" { // alice is not among her contacts
		t.Errorf("%s %v", body, err)
	}
	for query, want := range map[string]string{"": "alice bob 0", "?limit=1": "alice 1", "?limit=1&from=1": "bob 0", "?from=9": "0"} {
		_, body := h.asToken(ops, "GET", "/api/v1/groups/Sales%20Team"+query, "")
		var page api.Group
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		got := ""
		for _, m := range page.Members {
			got += strings.TrimSuffix(strings.TrimPrefix(m.AOR, "sip:"), "@example.com") + " "
		}
		if got += strconv.Itoa(page.Next); got != want || page.Count != 2 {
			t.Errorf("page %q: %s of %d, want %s", query, got, page.Count, want)
		}
	}
	for _, query := range []string{"?limit=0", "?limit=x", "?from=-1", "?from=x"} {
		if res, body := h.asToken(ops, "GET", "/api/v1/groups/Sales%20Team"+query, ""); res.StatusCode != 400 {
			t.Errorf("page %q: %d %s", query, res.StatusCode, body)
		}
	}
	if res, _ := h.asToken(ops, "GET", "/api/v1/groups/none", ""); res.StatusCode != 404 {
		t.Errorf("a group that is not there: %d", res.StatusCode)
	}
}

// TestPendingMember: who has not decided yet is told apart from who has refused.
func TestPendingMember(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *config.Config) { c.Presence.Colleagues = "confirm" })
	h.join("alice", "team")
	h.join("bob", "team")
	secret := h.tokenOf("alice")
	var g api.Group
	_, body := h.asToken(secret, "GET", "/api/v1/groups/team", "")
	if err := json.Unmarshal([]byte(body), &g); err != nil || len(g.Members) != 1 || g.Members[0].Standing != "pending" {
		t.Errorf("%s %v", body, err)
	}
	if res, body := h.asToken(secret, "GET", "/api/v1/presence/sip:bob@example.com", ""); res.StatusCode != 403 || !strings.Contains(body, "not answered yet") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// TestBotPublishesForItself: a token with an account publishes for that alone.
func TestBotPublishesForItself(t *testing.T) {
	t.Parallel()
	h := start(t)
	secret := h.tokenOf("alice")
	if res, body := h.asToken(secret, "PUT", "/api/v1/presence/sip:alice@example.com", `{"note":"mine"}`); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	for _, path := range []string{"/api/v1/presence/sip:bob@example.com", "/api/v1/presence/sip:bob@example.com?permanent=true"} {
		if res, body := h.asToken(secret, "PUT", path, `{"note":"not mine"}`); res.StatusCode != 403 {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	if res, body := h.asToken(secret, "PUT", "/api/v1/presence/sip:alice@example.com?permanent=true", `{"note":"mine for long"}`); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if _, acts := h.asToken(h.token("admin", "root"), "GET", "/api/v1/audit", ""); strings.Count(acts, `"action":"presence-permanent","object":"sip:alice@example.com"`) != 1 || strings.Contains(acts, `presence-permanent","object":"sip:bob`) {
		t.Errorf("acts %s", acts)
	}
}

// TestTokensAreCounted: wrong tokens slow their source, the first use on a day is a
// record, as is what is done to accounts, and requests are counted.
func TestTokensAreCounted(t *testing.T) {
	t.Parallel()
	h := start(t)
	admin := h.token("admin", "root")
	if res, body := h.asToken(admin, "POST", "/api/v1/users", `{"aor":"sip:dave@example.com","password":"dave-secret"}`); res.StatusCode/100 != 2 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	h.asToken(admin, "GET", "/api/v1/users", "")
	acts := map[string]int{}
	err := archive.Folder{Dir: h.cfg.Load().ArchiveDir()}.Scan(func(r *archive.Record, _ archive.Pos) error {
		if strings.Contains(r.Actor, "root") {
			acts[r.Action+" "+r.Object]++
		}
		if strings.Contains(string(r.Raw), "dave-secret") {
			t.Error("a password is in the record")
		}
		return nil
	})
	if err != nil || acts["user-add sip:dave@example.com"] != 1 {
		t.Errorf("acts %v, %v", acts, err)
	}
	logins := 0
	for act, n := range acts {
		if strings.HasPrefix(act, "login ") {
			logins += n
		}
	}
	if logins != 1 {
		t.Errorf("%d logins are recorded: %v", logins, acts)
	}
	status := 0
	for range 70 {
		res, _ := h.asToken("rc_aaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaa", "GET", "/api/v1/users", "")
		if status = res.StatusCode; status == 429 && res.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if status != 429 {
		t.Errorf("the 70th wrong token is answered %d", status)
	}
	if res, _ := h.asToken(admin, "GET", "/api/v1/users", ""); res.StatusCode != 200 {
		t.Errorf("a right one is answered %d", res.StatusCode)
	}
	if _, body := h.get("/metrics"); !strings.Contains(body, `rollcall_http_requests_total{class="2xx",route="GET /api/v1/users"} 2`) {
		t.Error("requests are not counted")
	}
}
