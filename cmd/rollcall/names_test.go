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

// TestAliasCommands: aliases are made and listed with and without a server, and removed by one.
func TestAliasCommands(t *testing.T) {
	s := newShell(t)
	s.initialize()
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	for _, name := range []string{"alice", "bob"} {
		s.ok("user", "add", name)
	}
	if out := s.ok("user", "alias", "add", "sales", "alice", "--purpose", "orders from customers"); out != "sip:sales@example.com is an alias of sip:alice@example.com\n" {
		t.Errorf("%s", out)
	}
	s.fails(2, "--purpose", "user", "alias", "add", "x", "alice")
	s.fails(1, "alias of sip:alice@example.com", "user", "alias", "add", "sales", "bob", "--purpose", "again")
	s.fails(1, "alias of sip:alice@example.com", "user", "add", "sales")
	s.fails(1, "user list", "user", "alias", "add", "x", "nobody", "--purpose", "x")
	s.fails(1, "domains", "user", "alias", "add", "x@example.net", "alice", "--purpose", "x")
	s.fails(1, "running server", "user", "alias", "remove", "sales")
	s.serve()
	s.ok("user", "alias", "add", "press", "bob", "--purpose", "journalists")
	s.ok("send", "alice", "press", "hello")
	if out := s.ok("archive", "search", "to:press"); !strings.Contains(out, "sip:alice@example.com\tsip:bob@example.com\thello") {
		t.Errorf("%s", out)
	}
	var list []api.Alias
	if err := json.Unmarshal([]byte(s.ok("user", "alias", "list", "--json")), &list); err != nil || len(list) != 2 || list[0].AOR != "sip:press@example.com" || list[1].Purpose != "orders from customers" {
		t.Errorf("%+v %v", list, err)
	}
	if out := s.ok("user", "report", "--csv"); !strings.Contains(out, "sip:press@example.com (journalists)") {
		t.Errorf("%s", out)
	}
	s.ok("user", "alias", "remove", "press")
	s.fails(1, "alias list", "user", "alias", "remove", "press")
	if out := s.ok("user", "alias", "list"); strings.Contains(out, "press") || !strings.Contains(out, "sip:sales@example.com\tsip:alice@example.com\torders from customers") {
		t.Errorf("%s", out)
	}
}
