package policy_test

import (
	"testing"

	"rollcall/policy"
	"rollcall/sip"
)

func aor(t *testing.T, s string) sip.AOR {
	t.Helper()
	a, err := sip.ParseAORString(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDecisions(t *testing.T) {
	rules := policy.New([]string{"Example.com", "example.org"}, map[string]string{"Example.NET": "partner", "example.org": "shadowed"})
	from := aor(t, "sip:alice@example.com")
	for _, c := range []struct {
		to     string
		text   string
		rule   string
		status int // 0: allowed
	}{
		{"sip:bob@example.com", "allow", "company", 0},
		{"sip:bob@EXAMPLE.COM", "allow", "company", 0},
		{"sip:alice@example.com", "allow", "company", 0}, // to oneself
		{"sip:bob@example.org", "allow", "company", 0},   // a domain of ours is no peer's
		{"sip:bob@example.net", "allow", "peer partner", 0},
		{"sip:bob@Example.Net", "allow", "peer partner", 0},
		{"sip:bob@sub.example.com", "refuse", "foreign-domain", 403}, // a part of a name is another name
		{"sip:bob@example.community", "refuse", "foreign-domain", 403},
		{"sip:bob@192.0.2.1", "refuse", "foreign-domain", 403},
	} {
		d := rules.Message(&policy.Message{FromDomain: from.Domain(), ToDomain: aor(t, c.to).Domain()})
		if !d.Valid() || d.String() != c.text || d.Rule() != c.rule {
			t.Errorf("%s: %q by %q, want %q by %q", c.to, d, d.Rule(), c.text, c.rule)
		}
		switch refusal := d.Refusal(); {
		case c.status == 0 && refusal != nil:
			t.Errorf("%s: refused: %v", c.to, refusal)
		case c.status != 0 && (refusal == nil || refusal.Status != c.status):
			t.Errorf("%s: %v, want %d", c.to, refusal, c.status)
		}
	}
}

// A Decision that no rules made proves nothing.
func TestZeroDecision(t *testing.T) {
	var d policy.Decision
	if d.Valid() || d.Rule() != "" || d.String() != "" || d.Refusal() != nil {
		t.Errorf("the zero decision says %q", d)
	}
}

// Rules do not change with what they were made of.
func TestRulesAreImmutable(t *testing.T) {
	domains, peers := []string{"example.com"}, map[string]string{"example.net": "partner"}
	rules := policy.New(domains, peers)
	domains[0], peers["example.org"] = "example.org", "other"
	if !rules.Ours("example.com") || rules.Ours("example.org") {
		t.Error("the domains changed")
	}
	if rules.Message(&policy.Message{FromDomain: "example.com", ToDomain: "example.org"}).Refusal() == nil {
		t.Error("the peers changed")
	}
}
