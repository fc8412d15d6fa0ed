package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestTail: tail prints a record a line, goes on behind the one that a reader has, and is an act in the record.
func TestTail(t *testing.T) {
	s := newShell(t)
	s.initialize()
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	for _, name := range []string{"alice", "bob"} {
		s.ok("user", "add", name)
	}
	s.serve()
	s.ok("send", "alice", "bob", "hello")
	lines := strings.Split(strings.TrimSpace(s.ok("archive", "tail", "--follow=false", "--json", "--after", "0", "--reason", "feed", "--as", "dora")), "\n")
	hello := false
	for i, line := range lines {
		var v struct {
			Seq  int
			Body string
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil || v.Seq != i+1 {
			t.Fatalf("line %d: %v %s", i, err, line)
		}
		hello = hello || v.Body == "hello"
	}
	if !hello {
		t.Errorf("no message in\n%s", strings.Join(lines, "\n"))
	}
	if out := s.ok("archive", "tail", "--follow=false", "-n", "1"); strings.Count(out, "\n") != 2 { // and its own act
		t.Errorf("one line and its own act:\n%s", out)
	}
	if out := s.ok("archive", "search", "type:act"); !strings.Contains(out, "as dora stream after 0 feed") {
		t.Errorf("the record lacks the act:\n%s", out)
	}
}
