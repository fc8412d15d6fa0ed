package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// A policy file is checked, tried on the past, and then put in force.
func TestPolicyCommands(t *testing.T) {
	s := newShell(t)
	s.initialize()
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	s.write("users.csv", "aor,password,display_name,email,unit,groups\nalice@example.com,secret,Alice,,Desk 1,research\nbob@example.com,secret,Bob,,Desk 2,trading\n")
	s.ok("user", "import", "users.csv")
	s.serve()
	s.ok("send", "alice", "bob", "keep this between us")
	s.ok("send", "alice", "alice", "a note to myself")

	s.write("policy.toml", "[[barrier]]\nname = \"wall\"\nbetween = [\"research\", \"trading\"]\n[[lexicon]]\nname = \"secrets\"\naction = \"flag\"\nphrases = [\"note to myself\"]\n")
	if out := s.ok("policy", "check", "policy.toml"); !strings.Contains(out, "is good") {
		t.Errorf("check printed %q", out)
	}
	var r policyReport
	if err := json.Unmarshal([]byte(s.ok("policy", "test", "--since", "30d", "--json", "policy.toml")), &r); err != nil || r.Messages != 2 || r.Changed != 1 || len(r.Rules) != 2 ||
		r.Unreadable != 0 {
		t.Errorf("test --json: %+v, %v", r, err)
	}
	if out := s.ok("policy", "test", "policy.toml"); !strings.Contains(out, "wall\trefuse\t1\t") || !strings.Contains(out, "secrets\tflag\t1\t") {
		t.Errorf("test printed %q", out)
	}
	s.write("bad.toml", "[[barrier]]\nname = \"wall\"\n[[rate]]\nname = \"r\"\n")
	s.fails(1, "bad.toml:1: barrier: wall: write between", "policy", "check", "bad.toml")
	s.fails(1, "bad.toml:3: rate: r: write messages", "policy", "check", "bad.toml")
	s.fails(1, "bad.toml:1", "policy", "test", "bad.toml")
	s.fails(2, "--since", "policy", "test", "--since", "yesterday", "policy.toml")
	s.fails(1, "no such file", "policy", "check", "none.toml")
}
