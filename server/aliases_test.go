package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/auth"
	"rollcall/config"
	"rollcall/sip"
	"rollcall/xcap"
)

const (
	salesPath = "/api/v1/aliases/sip:sales@example.com"
	salesBody = `{"owner":"sip:bob@example.com","purpose":"orders"}`
)

// TestAlias: what is sent to an alias is for its owner: messages to devices and into the queue, subscriptions, entries of lists. The
// record names both, and rules judge the owner.
func TestAlias(t *testing.T) { onBothStores(t, testAlias) }

func testAlias(t *testing.T, onStore func(*config.Config)) {
	file := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(file, []byte(wall), 0o600); err != nil {
		t.Fatal(err)
	}
	h := start(t, onStore, func(c *config.Config) { c.Policy.File = file })
	if err := h.directory.Add(t.Context(), auth.Account{AOR: aor(t, "mallory")}, "mallory"); err != nil {
		t.Fatal(err)
	}
	h.join("bob", "trading")
	h.join("mallory", "research")
	root := h.token("admin", "root")
	if res, text := h.asToken(h.token("ops", "board"), "PUT", salesPath, salesBody); res.StatusCode != http.StatusForbidden {
		t.Errorf("ops: %d %s", res.StatusCode, text)
	}
	if res, text := h.asToken(root, "PUT", salesPath, salesBody); res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	const sales = "sip:sales@example.com"
	alice, bob := h.client("alice", "UDP"), h.client("bob", "UDP")
	bob.register("")
	done := make(chan *sip.Message, 1)
	go func() { done <- bob.answer(200) }()
	alice.want(200, "MESSAGE", sales, "an order")
	if m := <-done; m.Body() != "an order" || !strings.Contains(m.Get(sip.HeaderTo), sales) {
		t.Errorf("%s", m.Raw())
	}
	bob.want(200, "REGISTER", "sip:example.com", "", "Contact: *", "Expires: 0")
	alice.want(202, "MESSAGE", sales, "while he is away")
	if n, err := h.relay.Waiting(t.Context(), aor(t, "bob")); n != 1 || err != nil {
		t.Errorf("%d messages wait for the owner, %v", n, err)
	}
	m := h.client("mallory", "UDP")
	m.want(403, "MESSAGE", sales, "across the barrier")
	h.subscriber("mallory", "UDP", sales, "presence", 403)
	const list = `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="sip:sales@example.com"/></list></resource-lists>`
	if _, err := h.documents.Put(t.Context(), aor(t, "mallory"), xcap.ResourceLists, "index", []byte(list)); err == nil {
		t.Error("the alias of somebody behind the barrier got onto a list")
	}
	bob.publish(200, pidf("bob", "open", "at the desk"))
	w := h.subscriber("alice", "UDP", sales, "presence", 200)
	w.sees("at the desk")
	bob.want(403, "REGISTER", "sip:example.com", "", "To: <"+sales+">", "Contact: <sip:bob@127.0.0.1:9>")

	for query, n := range map[string]int{"to:sales order": 1, "to:bob order": 1, "with:sales": 3, "conversation:alice,bob": 2} {
		found := 0
		err := (backend{h.Server}).Search(t.Context(), "dora", api.SearchRequest{Query: query, Reason: "test"}, func(api.Searched) {}, func(v archive.View) error {
			found++
			if v.To != "sip:bob@example.com" || v.Alias != sales {
				t.Errorf("%s: to %s, alias %s", query, v.To, v.Alias)
			}
			return nil
		})
		if err != nil || found != n {
			t.Errorf("%s: %d found, %v", query, found, err)
		}
	}

	var report api.NameReport
	_, text := h.asToken(root, "GET", "/api/v1/users/report", "")
	if err := json.Unmarshal([]byte(text), &report); err != nil || len(report.Aliases) != 1 || report.Aliases[0].Purpose != "orders" || !strings.HasSuffix(report.Aliases[0].By, " root") {
		t.Errorf("report: %s %v", text, err)
	}
	if _, text := h.asToken(root, "GET", "/api/v1/users/report", "", "Accept", "text/csv"); !strings.Contains(text, "sip:sales@example.com (orders)") {
		t.Errorf("report: %s", text)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"PUT", salesPath, salesBody, 409},
		{"PUT", salesPath, `{"aor":"sip:x@example.com","owner":"sip:bob@example.com","purpose":"x"}`, 400},
		{"PUT", "/api/v1/aliases/sip:x@example.com", `{"owner":"sip:nobody@example.com","purpose":"x"}`, 404},
		{"PUT", "/api/v1/aliases/sip:x@example.com", `{"owner":"sip:sales@example.com","purpose":"x"}`, 400},
		{"DELETE", "/api/v1/aliases/sip:bob@example.com", "", 404},
		{"DELETE", "/api/v1/aliases/bob", "", 400},
		{"DELETE", salesPath, "", 200},
		{"PUT", salesPath, salesBody, 409},
	} {
		if res, text := h.asToken(root, c.method, c.path, c.body); res.StatusCode != c.status {
			t.Errorf("%s %s: %d %s", c.method, c.path, res.StatusCode, text)
		}
	}
	alice.want(404, "MESSAGE", sales, "nobody's now")
	_, acts := h.asToken(root, "GET", "/api/v1/audit", "")
	for _, action := range []string{actAliasAdd, actAliasRemove} {
		if !strings.Contains(acts, fmt.Sprintf(`"action":%q,"object":"sip:sales@example.com"`, action)) {
			t.Errorf("no %s in %s", action, acts)
		}
	}
}
