package server

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"rollcall/api"
	"rollcall/archive"
)

// asToken makes a request to the HTTP API.
func (h *house) asToken(secret, method, path, body string, header ...string) (*http.Response, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+h.bound.Load().http+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res, string(b)
}

func (h *house) token(role, name string) string {
	h.t.Helper()
	t, err := backend{h.Server}.CreateToken(h.t.Context(), api.NewToken{Role: role, Name: name})
	if err != nil {
		h.t.Fatal(err)
	}
	return t.Secret
}

// TestTokenRoles: who has no token is asked for one, and each role does what is its own.
func TestTokenRoles(t *testing.T) {
	t.Parallel()
	h := start(t)
	ops, compliance, admin := h.token("ops", "board"), h.token("compliance", "dora"), h.token("admin", "root")
	for _, c := range []struct {
		secret, method, path string
		status               int
	}{
		{"", "GET", "/api/v1/registrations", 401}, {"rc_aaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaa", "GET", "/api/v1/registrations", 401},
		{ops, "GET", "/api/v1/registrations", 200}, {ops, "GET", "/api/v1/presence/sip:alice@example.com", 200}, {ops, "GET", "/api/v1/records?q=x", 403},
		{ops, "GET", "/api/v1/users", 403}, {ops, "GET", "/api/v1/nothing", 404}, {ops, "GET", "/api/v1/presence", 400},
		{ops, "GET", "/api/v1/presence?aor=sip:alice@example.com&aor=sip:bob@example.com", 200}, {ops, "GET", "/api/v1/presence/sip:nobody@example.com", 404},
		{compliance, "GET", "/api/v1/records?q=hello", 200}, {compliance, "GET", "/api/v1/records?q=%22", 400}, {compliance, "GET", "/api/v1/records?q=x&limit=0", 400},
		{compliance, "GET", "/api/v1/users", 403}, {compliance, "POST", "/api/v1/reload", 403}, {compliance, "GET", "/api/v1/holds", 200},
		{admin, "GET", "/api/v1/users", 200}, {admin, "GET", "/api/v1/tokens", 200}, {admin, "GET", "/api/v1/records?q=x", 403}, {admin, "GET", "/api/v1/reviews?since=2026-01-01T00:00:00Z", 403},
	} {
		res, body := h.asToken(c.secret, c.method, c.path, "")
		if res.StatusCode != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, res.StatusCode, body, c.status)
		}
		if c.status == 401 && !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s: no challenge", c.path)
		}
		if strings.Contains(body, "hash") {
			t.Errorf("%s shows a hash: %s", c.path, body)
		}
	}
	if res, body := h.asToken(admin, "POST", "/api/v1/tokens", `{"role":"compliance","name":"me"}`); res.StatusCode != 409 {
		t.Errorf("an administrator makes himself a reader: %d %s", res.StatusCode, body)
	}
	if res, body := h.asToken(admin, "POST", "/api/v1/tokens", `{"role":"ops","name":"second board"}`); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]any
	}
	if _, body := h.asToken("", "GET", "/openapi.json", ""); json.Unmarshal([]byte(body), &doc) != nil || doc.OpenAPI != "3.1.0" || doc.Paths["/api/v1/records/{id}/proof"] == nil {
		t.Errorf("openapi.json: %s", body)
	}
}

// TestRecordsByToken: an officer finds a message, sees it and its proof, and
// each of that is a record with the name on the token.
func TestRecordsByToken(t *testing.T) {
	t.Parallel()
	h := start(t)
	dora := h.token("compliance", "dora")
	h.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "figures of the quarter")
	var found []archive.View
	_, body := h.asToken(dora, "GET", "/api/v1/records?q="+url.QueryEscape(`"of the quarter"`)+"&reason=inquiry", "")
	if err := json.Unmarshal([]byte(body), &found); err != nil || len(found) != 1 || found[0].Body != "figures of the quarter" {
		t.Fatalf("%s %v", body, err)
	}
	id := found[0].ID.String()
	if res, body := h.asToken(dora, "GET", "/api/v1/records/"+id, ""); res.StatusCode != 200 || !strings.Contains(body, "stored") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	eventually(t, "signed", func() bool {
		res, body := h.asToken(dora, "GET", "/api/v1/records/"+id+"/proof", "")
		return res.StatusCode == 200 && strings.HasPrefix(body, "c2sp.org/tlog-proof@v1\nindex ")
	})
	_, body = h.asToken(dora, "GET", "/api/v1/records?q="+url.QueryEscape("type:act dora"), "")
	if !strings.Contains(body, `"action":"search"`) || !strings.Contains(body, `"action":"view"`) || !strings.Contains(body, `"reason":"inquiry"`) {
		t.Errorf("acts: %s", body)
	}
	if res, body := h.asToken(dora, "GET", "/api/v1/records/01KDYHZJ7EAAAAAAAAAAAAAAAA", ""); res.StatusCode != 404 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// TestPublishByToken: an application publishes, goes on with the ETag, and sets
// what holds without a publication; a watcher over SIP sees all of it.
func TestPublishByToken(t *testing.T) {
	t.Parallel()
	h := start(t)
	pbx := h.token("bot", "pbx")
	const path = "/api/v1/presence/sip:bob@example.com"
	w := h.subscriber("alice", "TCP", "sip:bob@example.com", "presence", 200)
	res, body := h.asToken(pbx, "PUT", path, `{"activity":"on-the-phone","note":"a call & more","expires":600}`)
	etag := res.Header.Get("ETag")
	if res.StatusCode != 200 || etag == "" || !strings.Contains(body, `"expires":600`) {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if m := w.sees("a call &amp; more"); !strings.Contains(m.Body(), "on-the-phone") {
		t.Errorf("watcher sees\n%s", m.Body())
	}
	if res, body = h.asToken(pbx, "PUT", path, `{"note":"over"}`, "If-Match", etag); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	w.sees("over")
	if res, body := h.asToken(pbx, "PUT", path, `{"note":"x"}`, "If-Match", "guessed"); res.StatusCode != 412 {
		t.Errorf("a guessed ETag: %d %s", res.StatusCode, body)
	}
	set, body := h.asToken(pbx, "PUT", path+"?permanent=true", `{"basic":"closed","note":"on leave"}`)
	permanent := set.Header.Get("ETag")
	if set.StatusCode != 200 || permanent == "" {
		t.Fatalf("permanent: %d %s", set.StatusCode, body)
	}
	if res, body := h.asToken(pbx, "DELETE", path, "", "If-Match", res.Header.Get("ETag")); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	w.sees("on leave")
	for _, method := range []string{"PUT", "DELETE"} {
		if res, body := h.asToken(pbx, method, path+"?permanent=true", `{"note":"x"}`, "If-Match", `"guessed"`); res.StatusCode != 412 {
			t.Errorf("%s of a permanent state with a guessed ETag: %d %s", method, res.StatusCode, body)
		}
	}
	res, body = h.asToken(pbx, "PUT", path+"?permanent=true", `{"note":"on leave for longer"}`, "If-Match", permanent)
	if res.StatusCode != 200 || res.Header.Get("ETag") == permanent {
		t.Errorf("permanent: %d %s", res.StatusCode, body)
	}
	w.sees("on leave for longer")
	for want, etag := range map[int]string{412: permanent, 200: res.Header.Get("ETag")} {
		if res, body := h.asToken(pbx, "DELETE", path+"?permanent=true", "", "If-Match", etag); res.StatusCode != want {
			t.Errorf("permanent state with the tag %s: %d %s, want %d", etag, res.StatusCode, body, want)
		}
	}
	if res, body := h.asToken(pbx, "PUT", path, pidf("bob", "open", "as a document"), "Content-Type", "application/pidf+xml"); res.StatusCode != 200 {
		t.Errorf("a document: %d %s", res.StatusCode, body)
	}
	w.sees("as a document")
	for what, c := range map[string][2]string{"words": {`{"basic":"ajar"}`, "application/json"}, "element": {`{"activity":"x/><y"}`, "application/json"},
		"unknown": {`{"mood":"good"}`, "application/json"}, "XML": {"<presence", "application/pidf+xml"}, "another's": {pidf("alice", "open", "x"), "application/pidf+xml"}} {
		if res, body := h.asToken(pbx, "PUT", path, c[0], "Content-Type", c[1]); res.StatusCode != 400 {
			t.Errorf("%s: %d %s", what, res.StatusCode, body)
		}
	}
	if res, body := h.asToken(pbx, "PUT", path+"?permanent=true", `{"activity":"x/><y"}`); res.StatusCode != 400 {
		t.Errorf("a permanent state of something else: %d %s", res.StatusCode, body)
	}
	if res, _ := h.asToken(pbx, "PUT", "/api/v1/presence/sip:nobody@example.com", `{}`); res.StatusCode != 404 {
		t.Errorf("nobody: %d", res.StatusCode)
	}
}
