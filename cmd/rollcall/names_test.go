package main

import (
	"encoding/json"
	"strings"
	"testing"

	"rollcall/api"
)

// TestUserReportCommand: the report tells who uses the system; a deleted account's name is not given out again by chance.
func TestUserReportCommand(t *testing.T) {
	s := newShell(t)
	s.initialize()
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	for _, name := range []string{"alice", "bob"} {
		s.ok("user", "add", name)
	}
	s.fails(1, "running", "user", "report")
	s.serve()
	s.ok("send", "alice", "bob", "hello")
	var report api.NameReport
	if err := json.Unmarshal([]byte(s.ok("user", "report", "--json")), &report); err != nil || len(report.Accounts) != 2 || report.Accounts[0].Sent != 1 || report.Accounts[0].Client == "" {
		t.Errorf("%+v %v", report, err)
	}
	if out := s.ok("user", "report", "--csv"); !strings.HasPrefix(out, "aor,display_name,") || strings.Count(out, "\n") != 3 {
		t.Errorf("%s", out)
	}
	if out := s.ok("user", "report", "--unused"); strings.Contains(out, "bob") {
		t.Errorf("who is new is unused:\n%s", out)
	}
	s.fails(2, "--days", "user", "report", "--days", "0")
	s.ok("user", "delete", "bob", "--reason", "left", "--as", "dora")
	s.fails(1, "--reuse-name", "user", "add", "bob")
	s.fails(1, "no such account", "user", "delete", "bob")
	s.ok("user", "add", "bob", "--reuse-name")
	if out := s.ok("archive", "search", "type:act", "user-delete"); !strings.Contains(out, "as dora user-delete sip:bob@example.com left") {
		t.Errorf("the record says\n%s", out)
	}
}
