package stream

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rollcall/archive"
	"rollcall/store/redis/redistest"
)

// block returns the fenced block of a page with that information string.
func block(t *testing.T, page, info string) string {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```" + info + "\n(.*?)\n```").FindSubmatch(b)
	if m == nil {
		t.Fatalf("%s has no block %q", page, info)
	}
	return string(m[1])
}

// TestPage runs both consumers of docs/compliance.md.
func TestPage(t *testing.T) {
	url, server := redistest.Start(t)
	dir := filepath.Join(t.TempDir(), "archive")
	j := open(t, url, dir, "n1", func(o *Options) { o.Prefix = "rollcall" })
	defer j.Close()
	eventually(t, "sealing", j.Seals)
	r := message("sip:alice@example.com", "sip:bob@example.com", "text")
	done := make(chan struct{})
	if err := j.AppendFunc(r, func(archive.Receipt, error) { close(done) }); err != nil {
		t.Fatal(err)
	}
	<-done
	const page = "../../docs/compliance.md"
	want := ""
	for line := range strings.Lines(block(t, page, "redis-cli")) {
		line = strings.TrimSpace(line)
		command, ok := strings.CutPrefix(line, "$ redis-cli ")
		if !ok {
			if line != "…" && want != line {
				t.Errorf("redis-cli said %q, the page has %q", want, line)
			}
			continue
		}
		port := server.Addr()[strings.LastIndex(server.Addr(), ":")+1:]
		out, err := exec.Command("redis-cli", append([]string{"-p", port}, strings.Fields(command)...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("redis-cli %s: %v\n%s", command, err, out)
		}
		if want = strings.TrimSpace(string(out)); strings.Contains(want, "ERR") {
			t.Errorf("redis-cli %s: %s", command, want)
		}
	}
	main := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(main, []byte(block(t, page, "go consumer")), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("go", "run", main, server.Addr())
	c.Dir = "../.."
	out, err := c.CombinedOutput()
	if line := r.ID.String() + " message sip:alice@example.com sip:bob@example.com"; err != nil || !strings.Contains(string(out), line) {
		t.Errorf("the consumer in Go: %v\n%s\nwant %s", err, out, line)
	}
}
