package server

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"rollcall/api"
)

// TestNameReport: the report says who uses the system, from where and with what, and who does not.
func TestNameReport(t *testing.T) {
	t.Parallel()
	h := start(t)
	secret, _ := h.bot("robot")
	root := h.token("admin", "root")
	alice := h.client("alice", "UDP")
	alice.want(202, "MESSAGE", "sip:bob@example.com", "hello", "User-Agent: Phone/1")
	if status, sent := h.say(secret, `{"to":"sip:bob@example.com","text":"x"}`); status != 202 {
		t.Fatalf("%d %+v", status, sent)
	}
	report := func(query string) map[string]api.NameUse {
		t.Helper()
		res, text := h.asToken(root, "GET", "/api/v1/users/report"+query, "")
		var r api.NameReport
		if err := json.Unmarshal([]byte(text), &r); err != nil || res.StatusCode != 200 || r.Since.IsZero() {
			t.Fatalf("%d %s %v", res.StatusCode, text, err)
		}
		byName := map[string]api.NameUse{}
		for _, n := range r.Accounts {
			byName[n.AOR] = n
		}
		return byName
	}
	r := report("?days=30")
	if a := r["sip:alice@example.com"]; a.Sent != 1 || a.Client != "Phone/1" || !strings.HasPrefix(a.Source, "udp 127.0.0.1:") || a.Last.IsZero() || a.Unused || a.Devices != 0 {
		t.Errorf("%+v", a)
	}
	if b := r["sip:robot@example.com"]; len(b.Programs) != 1 || b.Programs[0] != "robot" || b.Client != "rollcall API" {
		t.Errorf("%+v", b)
	}
	if b := r["sip:bob@example.com"]; b.Received != 0 || !b.Last.IsZero() || b.Unused { // he is there since a moment
		t.Errorf("%+v", b)
	}
	if len(r) != 3 {
		t.Errorf("%+v", r)
	}
	bob := h.client("bob", "UDP")
	bob.want(200, "REGISTER", "sip:example.com", "", "Contact: <sip:bob@"+bob.conn.LocalAddr().String()+">", "Expires: 600", "User-Agent: Softphone/2")
	for range 2 {
		bob.answer(200)
	}
	eventually(t, "received", func() bool {
		b := report("")["sip:bob@example.com"]
		return b.Devices == 1 && b.Client == "Softphone/2" && b.Received == 2
	})
	res, text := h.asToken(root, "GET", "/api/v1/users/report", "", "Accept", "text/csv")
	if lines := strings.Split(strings.TrimSpace(text), "\n"); res.StatusCode != 200 || len(lines) != 4 || lines[0] != strings.Join(api.NameHeader, ",") ||
		!strings.HasPrefix(lines[1], "sip:alice@example.com,,,,used,") {
		t.Errorf("%s", text)
	}
	for _, bad := range []string{"?days=0", "?days=x", "?days=99999"} {
		if res, _ := h.asToken(root, "GET", "/api/v1/users/report"+bad, ""); res.StatusCode != 400 {
			t.Errorf("%s: %s", bad, res.Status)
		}
	}
	if res, _ := h.asToken(h.token("ops", "board"), "GET", "/api/v1/users/report", ""); res.StatusCode != 403 {
		t.Errorf("ops: %s", res.Status)
	}
	if page, err := (backend{h.Server}).Audit(context.Background(), "x", api.AuditQuery{Actions: []string{actNames}, Limit: 1}); err != nil || len(page.Acts) != 1 {
		t.Errorf("%+v %v", page, err)
	}
}
