package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/api"
)

// A supervisor works through the queue, and each step is in the record.
func TestReviewCommand(t *testing.T) {
	s := newShell(t)
	s.initialize()
	config, err := os.ReadFile(filepath.Join(s.dir, "rollcall.toml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("policy.toml", "[[lexicon]]\nname = \"secrets\"\naction = \"flag\"\nphrases = [\"between us\"]\n")
	s.write("rollcall.toml", strings.Replace(string(config), "[policy]\n", "[policy]\nfile = \"policy.toml\"\n", 1)+
		"\n[[review]]\nunits = [\"Desk 2\"]\npercent = 100\n")
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	s.write("users.csv", "aor,password,display_name,email,unit,groups\nalice@example.com,secret,Alice,,Desk 1,\nbob@example.com,secret,Bob,,Desk 2,\n")
	s.ok("user", "import", "users.csv")
	s.serve()
	s.ok("send", "alice", "alice", "keep this between us")
	s.ok("send", "alice", "alice", "nothing special")
	s.ok("send", "alice", "bob", "by chance")
	var list api.Reviews
	if err := json.Unmarshal([]byte(s.ok("archive", "review", "--json")), &list); err != nil || len(list.List) != 2 || list.Stats.Flagged != 1 || list.Stats.Sampled != 1 || list.Stats.Open != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	id := list.List[0].ID.String()
	s.fails(1, "is a party of the message", "archive", "review", id, "claim", "--as", "sip:alice@example.com")
	s.fails(1, "needs a comment", "archive", "review", id, "approve", "--as", "dora")
	s.fails(1, "a step is one of", "archive", "review", id, "forget", "--as", "dora")
	s.fails(1, "no message", "archive", "review", "01KDYHZJ7EAAAAAAAAAAAAAAAA", "claim")
	s.ok("archive", "review", id, "claim", "--as", "dora")
	if out := s.ok("archive", "review"); !strings.Contains(out, id+"\tclaimed\tsecrets\t") || !strings.Contains(out, "\topen\tsample\t") {
		t.Errorf("review printed %q", out)
	}
	s.ok("archive", "review", id, "approve", "--comment", "a joke", "--as", "dora")
	if out := s.ok("archive", "review"); strings.Contains(out, id) {
		t.Errorf("review printed %q", out)
	}
	if out := s.ok("archive", "review", "--all"); !strings.Contains(out, id+"\tapproved\t") {
		t.Errorf("review --all printed %q", out)
	}
	if out := s.ok("archive", "show", id); !strings.Contains(out, "a joke") {
		t.Errorf("show printed %q", out)
	}
}
