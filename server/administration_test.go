package server

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/config"
)

// TestUsageByToken: units pay for messages and for subscriptions, by the unit that accounts belonged to then; as JSON and as CSV.
func TestUsageByToken(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *config.Config) {
		c.Prices = config.Prices{Currency: "EUR", Message: 10, SubscriptionDay: 24_000}
	})
	root := h.token("admin", "root")
	a, err := h.directory.Get(t.Context(), aor(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	a.Unit = "=Desk 1"
	if err := h.directory.Put(t.Context(), *a); err != nil {
		t.Fatal(err)
	}
	h.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "12345678")
	h.subscriber("alice", "UDP", "sip:bob@example.com", "presence", 200)
	hour := time.Now().Truncate(time.Hour)
	for range 2 {
		if err := h.presenceUse(t.Context(), hour); err != nil {
			t.Fatal(err)
		}
	}
	month := time.Now().UTC().Format("2006-01")
	var report api.UsageReport
	res, body := h.asToken(root, "GET", "/api/v1/usage?by=user&month="+month, "")
	if err := json.Unmarshal([]byte(body), &report); err != nil || res.StatusCode != 200 || report.Month != month || len(report.Rows) != 1 {
		t.Fatalf("%s: %s %v", res.Status, body, err)
	}
	if r := report.Rows[0]; r.Unit != "=Desk 1" || r.User != "sip:alice@example.com" || r.Messages != 1 || r.Bytes != 8 || r.Hours != 2 || r.Charge != 2.01 || r.Use.Users != 1 {
		t.Errorf("%+v", r)
	}
	if report.Total.Hours != 2 || report.Total.Messages != 1 {
		t.Errorf("%+v", report.Total)
	}
	res, body = h.asToken(root, "GET", "/api/v1/usage", "", "Accept", "text/csv")
	want := "month,unit,active_users,messages,bytes,refused,stored_bytes,charge,currency,subscription_hours\n" + month + ",'=Desk 1,1,1,8,0,"
	if !strings.HasPrefix(body, want) || !strings.HasSuffix(body, ",2.01,EUR,2\n") || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/csv") {
		t.Errorf("%s", body)
	}
	for _, bad := range []string{"?month=november", "?month=2026-13", "?by=group"} {
		if res, body := h.asToken(root, "GET", "/api/v1/usage"+bad, ""); res.StatusCode != 400 {
			t.Errorf("%s: %d %s", bad, res.StatusCode, body)
		}
	}
	if res, _ := h.asToken(h.token("ops", "board"), "GET", "/api/v1/usage", ""); res.StatusCode != 403 {
		t.Errorf("ops: %s", res.Status)
	}
}

// TestAudit: acts are listed with who, what and why, in pages, and reading them is one.
func TestAudit(t *testing.T) {
	t.Parallel()
	h := start(t)
	dora, root := h.token("compliance", "dora"), h.token("admin", "root")
	for _, q := range []string{"one", "two", "three"} {
		if res, body := h.asToken(dora, "GET", "/api/v1/records?q="+q+"&reason=inquiry", ""); res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
	}
	list := func(secret, query string) (page api.AuditPage, text string) {
		t.Helper()
		res, body := h.asToken(secret, "GET", "/api/v1/audit?"+query, "")
		if err := json.Unmarshal([]byte(body), &page); err != nil || res.StatusCode != 200 {
			t.Fatalf("%s: %d %s %v", query, res.StatusCode, body, err)
		}
		for _, a := range page.Acts {
			text += a.Action + " " + a.Object + " " + a.Reason + "\n"
		}
		return page, text
	}
	first, text := list(root, "actor=DORA&action=search&limit=2&reason=quarterly+check")
	if text != "search one inquiry\nsearch two inquiry\n" || first.Next == 0 || first.Acts[0].At.IsZero() || !strings.HasSuffix(first.Acts[0].Actor, " dora") {
		t.Errorf("%+v", first)
	}
	if next, text := list(dora, "actor=dora&action=search&limit=2&from="+jsonText(first.Next)); text != "search three inquiry\n" || next.Next != 0 {
		t.Errorf("%+v", next)
	}
	if _, text := list(dora, "action=audit"); !strings.HasPrefix(text, "audit actor:DORA action:search quarterly check\n") {
		t.Errorf("reading the acts: %s", text)
	}
	if page, _ := list(dora, "after=2026-01-01&before=2026-01-02T10:00:00Z"); len(page.Acts) != 0 {
		t.Errorf("%+v", page)
	}
	for _, bad := range []string{"after=soon", "after=2026-01-01%20x", "before=%22", "limit=0", "from=x"} {
		if res, body := h.asToken(dora, "GET", "/api/v1/audit?"+bad, ""); res.StatusCode != 400 {
			t.Errorf("%s: %d %s", bad, res.StatusCode, body)
		}
	}
	if res, _ := h.asToken(h.token("supervisor", "sam"), "GET", "/api/v1/audit", ""); res.StatusCode != 403 {
		t.Errorf("supervisor: %s", res.Status)
	}
}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers and strings of tests
	}
	return string(b)
}

// TestPolicyState: the policy in force is shown with its version, and a fault of the file as long as it has one.
func TestPolicyState(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "policy.toml")
	write := func(text string) { // whole at once, or the server may read a part
		t.Helper()
		writeFile(t, file+".new", text)
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write(wall)
	h := startWith(t, testConfig(t, func(c *config.Config) { c.Policy.File = file }), zap.NewNop())
	root := h.token("admin", "root")
	state := func() (p api.PolicyState) {
		t.Helper()
		res, body := h.asToken(root, "GET", "/api/v1/policy", "")
		if err := json.Unmarshal([]byte(body), &p); err != nil || res.StatusCode != 200 {
			t.Fatalf("%d %s %v", res.StatusCode, body, err)
		}
		return p
	}
	good := state()
	if good.Rules != wall || good.Version != h.rules.Load().Version() || good.Since.IsZero() || good.File != file || good.Fault != nil {
		t.Errorf("%+v", good)
	}
	write(wall + wall)
	eventually(t, "fault", func() bool { return state().Fault != nil })
	if p := state(); p.Rules != wall || p.Version != good.Version || !strings.Contains(p.Fault.Error, "policy.toml:") || p.Fault.At.IsZero() {
		t.Errorf("%+v %+v", p, p.Fault)
	}
	write(wall + "# the same\n")
	eventually(t, "good again", func() bool { return state().Fault == nil })
	if p := state(); p.Version == good.Version || p.Rules == wall {
		t.Errorf("%+v", p)
	}
}
