package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rollcall/api"
)

// A conversation is read in threads, by the running server and without one.
func TestConversationCommand(t *testing.T) {
	s := newShell(t)
	s.initialize()
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	for _, name := range []string{"alice", "bob", "carol"} {
		s.ok("user", "add", name)
	}
	server := s.serve()
	s.ok("send", "alice", "bob", "shall we?")
	s.ok("send", "bob", "alice", "yes, today")
	s.ok("send", "carol", "bob", "what else")
	read := func(args ...string) {
		t.Helper()
		out := s.ok(append([]string{"archive", "conversation", "alice", "bob"}, args...)...)
		if !strings.Contains(out, "  alice@example.com, bob@example.com: 2 messages\n") || !strings.Contains(out, "  bob@example.com: yes, today\n") || strings.Contains(out, "else") {
			t.Errorf("conversation printed\n%s", out)
		}
	}
	read("--reason", "inquiry 8", "--as", "dora")
	if out := s.ok("archive", "search", "type:act", "dora"); !strings.Contains(out, `search conversation:"alice,bob" inquiry 8`) {
		t.Errorf("the record lacks the search:\n%s", out)
	}
	var c api.Conversation
	if err := json.Unmarshal([]byte(s.ok("archive", "conversation", "bob", "--json", "--gap", "1ns", "--after", "2026-01-01")), &c); err != nil || len(c.Threads) != 3 {
		t.Errorf("%+v %v", c, err)
	}
	if err := json.Unmarshal([]byte(s.ok("archive", "conversation", "bob", "--json", "--limit", "2")), &c); err != nil || len(c.Threads[0].Messages) != 2 || !c.More {
		t.Errorf("%+v %v", c, err)
	}
	if out := s.ok("archive", "conversation", "alice", "carol"); out != "" {
		t.Errorf("conversation printed %q", out)
	}
	s.fails(2, "is no party", "archive", "conversation", "a b")
	s.fails(2, "--gap wants", "archive", "conversation", "alice", "bob", "--gap", "0s")
	s.fails(2, "after: wants a day", "archive", "conversation", "alice", "bob", "--after", "yesterday")
	s.fails(2, "column 7: unknown field form:; the fields are from:", "archive", "search", "hello", "form:alice", "--json")
	server.stop(syscall.SIGTERM)
	read()
	read("--dir", filepath.Join(s.dir, "data", "archive"), "--keys", filepath.Join(s.dir, "data", "keys"))
	s.fails(2, "column 1: after: wants a day", "archive", "search", "after:today")
	if out := s.ok("archive", "search", "has:link"); out != "" {
		t.Errorf("search printed %q", out)
	}
}
