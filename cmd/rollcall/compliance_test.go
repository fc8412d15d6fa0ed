package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestComplianceSession runs the session of docs/compliance.md. A line with !
// is what a command that is refused says.
func TestComplianceSession(t *testing.T) {
	page, err := os.ReadFile("../../docs/compliance.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(page), "```session\n")
	if !ok {
		t.Fatal("no session")
	}
	block, _, _ = strings.Cut(block, "```")
	s := newShell(t)
	s.initialize()
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	for _, name := range []string{"alice", "bob"} {
		s.ok("user", "add", name)
	}
	s.serve()
	s.ok("send", "alice", "bob", "the quarterly figures are better than we thought")
	s.ok("send", "bob", "alice", "so they are")
	var stats struct{ Keys []string }
	if err := json.Unmarshal([]byte(s.ok("archive", "stats", "--json")), &stats); err != nil || len(stats.Keys) == 0 {
		t.Fatal(stats, err)
	}
	s.write("key.txt", stats.Keys[0]+"\n")
	word := regexp.MustCompile(`'([^']*)'|(\S+)`)
	for _, step := range strings.Split(block, "$ rollcall ")[1:] {
		command, shown, _ := strings.Cut(step, "\n")
		var args []string
		for _, m := range word.FindAllStringSubmatch(command, -1) {
			args = append(args, m[1]+m[2])
		}
		shown = strings.TrimSuffix(shown, "\n")
		refused, isRefused := strings.CutPrefix(shown, "! ")
		got := s.run("", args...)
		out := got.stdout
		if isRefused {
			shown, out = refused, got.stderr
		}
		if (got.code != 0) != isRefused {
			t.Errorf("rollcall %s: exit code %d\n%s%s", command, got.code, got.stdout, got.stderr)
		}
		parts := strings.Split(shown, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		if !regexp.MustCompile(`^` + strings.Join(parts, `.*`) + `\n?$`).MatchString(out) {
			t.Errorf("rollcall %s printed\n%s\nthe page shows\n%s", command, out, shown)
		}
	}
}

// TestComplianceTests: each promise names a test, and the test is there.
func TestComplianceTests(t *testing.T) {
	page, err := os.ReadFile("../../docs/compliance.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z/]+)\\.(Test[A-Za-z]+)`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 20 {
		t.Fatalf("%d tests are named", len(named))
	}
	for _, m := range named {
		files, err := filepath.Glob(filepath.Join("../..", m[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(b), "func "+m[2]+"(")
		}
		if !found {
			t.Errorf("there is no %s.%s", m[1], m[2])
		}
	}
}
