package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"rollcall/api"
)

// TestTraceCommand: an operator sees what an account sends and is answered; bodies are hidden unless they are asked for,
// which is recorded; an interrupt is how it ends.
func TestTraceCommand(t *testing.T) {
	s := newShell(t)
	s.fails(1, "start it with `rollcall serve`", "trace", "--config", s.write("none.toml", "domains = [\"example.com\"]\ndata_dir = \"none\"\n"))
	s.initialize()
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	for _, name := range []string{"alice", "bob"} {
		s.ok("user", "add", name)
	}
	s.serve()
	lines := s.start("trace", "--aor", "alice")
	whole := s.start("trace", "--aor", "alice@example.com", "--headers")
	values := s.start("trace", "--json", "--bodies", "--reason", "case 7")
	// The commands tell nobody that they have begun, which may be amid a message: messages are sent until all show a whole one.
	await(t, "all three show a whole message", func() bool {
		s.ok("send", "alice", "bob", "quiet words")
		for _, p := range []*process{lines, whole, values} {
			if _, rest, begun := strings.Cut(p.out.String(), "MESSAGE sip:bob@example.com"); !begun || !strings.Contains(rest, "202 Accepted") {
				return false
			}
		}
		return true
	})
	for _, p := range []*process{lines, whole, values} {
		if code := p.stop(syscall.SIGINT); code != 0 {
			t.Errorf("interrupted, it exits with %d:\n%s", code, p.out)
		}
	}
	if out := lines.out.String(); !strings.Contains(out, "\t-->\tMESSAGE sip:bob@example.com\talice > bob\t") || !strings.Contains(out, "\t<--\t202 Accepted (MESSAGE)\talice > bob\t") ||
		strings.Contains(out, "Via:") {
		t.Errorf("a ladder:\n%s", out)
	}
	if out := whole.out.String(); !strings.Contains(out, "    Via: SIP/2.0/UDP ") || !strings.Contains(out, "    (11 B)") || strings.Contains(out, "quiet") || strings.Contains(out, "response=") {
		t.Errorf("with headers:\n%s", out)
	}
	body := false
	for line := range strings.SplitSeq(strings.TrimSpace(values.out.String()), "\n") {
		var m api.Traced
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		body = body || m.Body == "quiet words"
	}
	if !body {
		t.Errorf("no body in\n%s", values.out)
	}
	if out := s.ok("archive", "search", "type:act"); !strings.Contains(out, "trace") || !strings.Contains(out, "case 7") {
		t.Errorf("the record lacks the act:\n%s", out)
	}
	s.fails(2, "--reason goes with --bodies", "trace", "--reason", "x")
	s.fails(2, "is not an address", "trace", "--aor", "sip:@")
}
