package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An officer searches, holds, and meets what stands against an erasure. Each
// act is in the record.
func TestCustodyCommands(t *testing.T) {
	s := newShell(t)
	s.initialize()
	config, err := os.ReadFile(filepath.Join(s.dir, "rollcall.toml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("rollcall.toml", string(config)+"\n[[retention]]\nclass = \"trading\"\nyears = 7\ngroups = [\"traders\"]\n[[retention]]\nclass = \"\"\ndays = 0\n")
	s.fails(1, "kept for ever", "check") // a class "" without a time keeps for ever, which needs no class
	s.write("rollcall.toml", string(config)+"\n[[retention]]\nclass = \"trading\"\nyears = 7\ngroups = [\"traders\"]\n[[retention]]\nclass = \"\"\ndays = 1\n")
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	s.write("users.csv", "aor,password,display_name,email,unit,groups\nalice@example.com,secret,Alice,alice@example.com,Desk 1,traders\n"+
		"bob@example.com,secret,Bob,bob@example.com,Desk 2,\ncarol@example.com,secret,Carol,carol@example.com,Desk 2,\n")
	s.ok("user", "import", "users.csv")
	s.serve()
	s.ok("send", "alice", "bob", "sell at noon")
	s.ok("send", "carol", "bob", "lunch at noon")

	if out := s.ok("archive", "search", "noon", "--reason", "inquiry 7", "--as", "dora"); strings.Count(out, "noon") != 2 {
		t.Errorf("search printed\n%s", out)
	}
	s.fails(1, "on nobody and nothing", "archive", "hold", "case-42", "--reason", "litigation")
	s.fails(1, "needs a reason", "archive", "hold", "case-42", "--custodian", "carol")
	if out := s.ok("archive", "hold", "case-42", "--custodian", "carol", "--reason", "litigation", "--as", "dora"); !strings.Contains(out, "as dora") {
		t.Errorf("hold printed %q", out)
	}
	s.fails(1, "there is a hold of this name", "archive", "hold", "case-42", "--custodian", "bob", "--reason", "again")
	s.fails(1, "the hold case-42 covers 1 of the messages", "archive", "erase", "carol", "--reason", "her wish")
	s.fails(1, "the retention of 1 messages runs until", "archive", "erase", "alice", "--reason", "her wish")
	if out := s.ok("archive", "hold"); !strings.Contains(out, "case-42\tsip:carol@example.com\t") {
		t.Errorf("holds printed %q", out)
	}
	if out := s.ok("archive", "release", "case-42", "--reason", "settled", "--as", "dora"); !strings.Contains(out, "still in force") {
		t.Errorf("release printed %q", out)
	}
	s.fails(1, "somebody else must confirm", "archive", "release", "case-42", "--reason", "settled", "--as", "dora")
	if out := s.ok("archive", "release", "case-42", "--reason", "settled", "--as", "emil"); !strings.Contains(out, "is released") {
		t.Errorf("release printed %q", out)
	}
	s.ok("archive", "purge")
	s.fails(1, "runs until "+time.Now().AddDate(0, 0, 1).UTC().Format("2006"), "archive", "erase", "carol", "--reason", "her wish")
	out := s.ok("archive", "search", "type:act")
	for _, act := range []string{"as dora search noon", "as dora hold case-42", "erase-refused sip:carol@example.com", "erase-refused sip:alice@example.com",
		"as dora release-request case-42", "as emil release case-42"} {
		if !strings.Contains(out, act) {
			t.Errorf("the record lacks %q:\n%s", act, out)
		}
	}
	s.ok("archive", "verify")
	if out := s.ok("archive", "search", "noon", "--json"); !strings.Contains(out, `"class": "trading"`) || !strings.Contains(out, `"from_unit": "Desk 1"`) {
		t.Errorf("the record lacks class or unit:\n%s", out)
	}
	// An export is checked elsewhere, with the public key alone.
	s.fails(2, "--out names the folder", "archive", "export", "noon")
	s.fails(1, "no message matches", "archive", "export", "nobody said this", "--out", "none")
	if out := s.ok("archive", "export", "noon", "--format", "eml", "--out", "case-42", "--reason", "inquiry 7", "--as", "dora"); !strings.Contains(out, "2 messages") {
		t.Errorf("export printed %q", out)
	}
	var stats struct{ Keys []string }
	if err := json.Unmarshal([]byte(s.ok("archive", "stats", "--json")), &stats); err != nil || len(stats.Keys) != 1 {
		t.Fatal(stats, err)
	}
	away := newShell(t)
	if err := os.CopyFS(filepath.Join(away.dir, "copy"), os.DirFS(filepath.Join(s.dir, "case-42"))); err != nil {
		t.Fatal(err)
	}
	if out := away.ok("archive", "verify", "--export", "copy", "--key", stats.Keys[0]); !strings.Contains(out, "ok\tcopy: 2 messages, ") || strings.Contains(out, "note") {
		t.Errorf("verify --export printed %q", out)
	}
	if err := os.WriteFile(filepath.Join(away.dir, "copy", "checkpoint.txt"), []byte("forged"), 0o600); err != nil {
		t.Fatal(err)
	}
	away.fails(1, "damaged", "archive", "verify", "--export", "copy", "--key", stats.Keys[0])
	key := s.ok("archive", "rotate-key")
	if out := s.ok("archive", "stats"); !strings.Contains(out, strings.TrimSpace(key)) {
		t.Errorf("stats lacks the new key:\n%s", out)
	}
}

// What nothing stands against is erased, and shown as that.
func TestErase(t *testing.T) {
	s := newShell(t)
	s.initialize()
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	for _, name := range []string{"alice", "bob"} {
		s.ok("user", "add", name)
	}
	s.serve()
	s.ok("send", "alice", "bob", "to be forgotten")
	s.ok("send", "bob", "alice", "to be kept")
	s.fails(2, "wants a month", "archive", "erase", "alice", "--from", "yesterday", "--reason", "her wish")
	if out := s.ok("archive", "erase", "alice", "--reason", "her wish"); !strings.Contains(out, "1 messages") {
		t.Errorf("erase printed %q", out)
	}
	out := s.ok("archive", "search", "from:alice")
	if !strings.Contains(out, "erased") || strings.Contains(out, "forgotten") {
		t.Errorf("search printed %q", out)
	}
	if out := s.ok("archive", "search", "kept"); !strings.Contains(out, "to be kept") {
		t.Errorf("search printed %q", out)
	}
	s.ok("archive", "verify")
}
