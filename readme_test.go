package rollcall_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/config"
)

// A step is one command of a console block with the output shown below it.
type step struct {
	command string
	shown   []string
}

// fenced returns the contents of a page's blocks of one language, in order.
func fenced(page, language string) []string {
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

func steps(t *testing.T, page string) []step {
	t.Helper()
	var all []step
	for _, block := range fenced(page, "console") {
		for line := range strings.Lines(block) {
			line = strings.TrimRight(line, "\n")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, step{command: command})
			} else if len(all) == 0 {
				t.Fatalf("output before the first command: %q", line)
			} else {
				all[len(all)-1].shown = append(all[len(all)-1].shown, line)
			}
		}
	}
	return all
}

// normal replaces what differs from run to run: times, record IDs, addresses,
// spacing.
func normal(line string) string {
	for _, r := range []struct{ pattern, name string }{
		{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?`, "DATE"},
		{`\b\d\d:\d\d:\d\d(\.\d+)?\b`, "TIME"},
		{`\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b`, "ID"},
		{`127\.0\.0\.1:\d+`, "ADDRESS"},
		{`\b(\d+(\.\d+)?(h|ms|µs|m|s))+\b`, "DURATION"},
		{`\s+`, " "},
	} {
		line = regexp.MustCompile(r.pattern).ReplaceAllString(line, r.name)
	}
	return strings.TrimSpace(line)
}

// matches compares output with what a page shows: a line "…" stands for any
// lines, … within a line for any text.
func matches(shown []string, output string) bool {
	var pattern strings.Builder
	pattern.WriteString(`^`)
	for _, line := range shown {
		if line == "…" {
			pattern.WriteString(`(?:[^\n]*\n)*?`)
			continue
		}
		parts := strings.Split(normal(line), "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		pattern.WriteString(strings.Join(parts, `[^\n]*`) + `\n`)
	}
	pattern.WriteString(`$`)
	var got strings.Builder
	for line := range strings.Lines(output) {
		if line = normal(line); line != "" {
			got.WriteString(line + "\n")
		}
	}
	return regexp.MustCompile(pattern.String()).MatchString(got.String())
}

// output collects what a process writes, for a reader beside it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// terminal is where a page's commands run: a folder with bin/rollcall in it, and
// an environment in which no other server is found.
type terminal struct {
	dir string
	env []string
}

func newTerminal(t *testing.T) terminal {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin", "rollcall")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "./cmd/rollcall")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	// A socket's name must be short, and TempDir's is not.
	temp, err := os.MkdirTemp("", "rc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temp) })
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "ROLLCALL_") || strings.HasPrefix(v, "XDG_RUNTIME_DIR=")
	})
	return terminal{dir: dir, env: append(env, "TMPDIR="+temp, "HOME="+dir)}
}

// command prepares one line of a page. Only the binary runs; it needs no shell.
func (term terminal) command(ctx context.Context, t *testing.T, line string) *exec.Cmd {
	t.Helper()
	words := fields(line)
	if words[0] != "./bin/rollcall" {
		t.Fatalf("the page runs %q, which this test does not know", line)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(term.dir, "bin", "rollcall"), words[1:]...)
	cmd.Dir, cmd.Env = term.dir, term.env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// background starts a command that runs until the test ends.
func (term terminal) background(t *testing.T, line string) *output {
	t.Helper()
	out := &output{}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := term.command(ctx, t, line)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it ends by our signal
		if t.Failed() {
			t.Logf("$ %s\n%s", line, out)
		}
	})
	return out
}

// fields splits a command line at spaces outside double quotes.
func fields(line string) []string {
	var words []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freeAddress finds a loopback port that is free for UDP and TCP.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := udp.LocalAddr().String()
		tcp, err := net.Listen("tcp", address)
		udp.Close()
		if err == nil {
			tcp.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// TestREADME does what README.md shows, against a server of its own: `make run`
// is `rollcall dev` on a free port, `watch` goes on in the background.
func TestREADME(t *testing.T) {
	term := newTerminal(t)
	targets := makeTargets(t)
	type running struct {
		step
		out *output
	}
	var watching []running
	for _, s := range steps(t, read(t, "README.md")) {
		words := fields(s.command)
		switch {
		case s.command == "make run":
			address := freeAddress(t)
			out := term.background(t, "./bin/rollcall dev --listen "+address)
			await(t, "the server", func() bool { return strings.Contains(out.String(), address) })
			if !matches(s.shown, out.String()) {
				t.Errorf("$ %s\nprinted:\n%s\nthe page shows:\n%s", s.command, out, strings.Join(s.shown, "\n"))
			}
		case words[0] == "make":
			for _, target := range words[1:] {
				if !slices.Contains(targets, target) {
					t.Errorf("the page runs %q, and the Makefile has no target %s", s.command, target)
				}
			}
		case len(words) > 1 && words[1] == "watch":
			out := term.background(t, s.command)
			await(t, "the first line of "+s.command, func() bool { return strings.Contains(out.String(), "\n") })
			watching = append(watching, running{s, out})
		default:
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			out, err := term.command(ctx, t, s.command).CombinedOutput()
			cancel()
			if err != nil {
				t.Errorf("$ %s\n%s%v", s.command, out, err)
			} else if !matches(s.shown, string(out)) {
				t.Errorf("$ %s\nprinted:\n%s\nthe page shows:\n%s", s.command, out, strings.Join(s.shown, "\n"))
			}
		}
	}
	for _, w := range watching {
		await(t, fmt.Sprintf("what the page shows of %q", w.command), func() bool { return matches(w.shown, w.out.String()) })
	}
}

// TestPageCommands: the commands and flags that pages show exist.
func TestPageCommands(t *testing.T) {
	term := newTerminal(t)
	for _, page := range files(t) {
		if filepath.Ext(page) != ".md" {
			continue
		}
		for _, s := range steps(t, read(t, page)) {
			words := fields(s.command)
			at := slices.IndexFunc(words, func(w string) bool { return w == "rollcall" || w == "./bin/rollcall" })
			if at < 0 || at+1 == len(words) {
				continue
			}
			name := words[at+1]
			line := append([]string{"./bin/rollcall"}, words[at+1:]...)
			help, err := term.command(t.Context(), t, strings.Join(append(line, "--help"), " ")).CombinedOutput()
			if err != nil || !strings.Contains(string(help), "rollcall "+name) {
				t.Errorf("%s runs %q, and there is no such command: %v\n%s", page, s.command, err, help)
			}
			for _, w := range words {
				if flag, _, _ := strings.Cut(w, "="); strings.HasPrefix(w, "--") && at < slices.Index(words, w) && !strings.Contains(string(help), flag) {
					t.Errorf("%s runs %q, and the command has no %s", page, s.command, flag)
				}
			}
		}
	}
}

func makeTargets(t *testing.T) []string {
	t.Helper()
	var targets []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets = append(targets, m[1])
	}
	return targets
}

// TestConfigurations: every TOML block of README.md and docs/start.md is a good
// configuration.
func TestConfigurations(t *testing.T) {
	for _, page := range []string{"README.md", "docs/start.md"} {
		blocks := fenced(read(t, page), "toml")
		if len(blocks) == 0 {
			t.Errorf("%s has no example", page)
		}
		for i, block := range blocks {
			if _, err := config.Parse("rollcall.toml", []byte(block)); err != nil {
				t.Errorf("%s: example %d: %v", page, i+1, err)
			}
		}
	}
}

func TestMatches(t *testing.T) {
	const id = "01JD3Z4M5N6P7Q8R9S0T1V2W3X"
	for _, c := range []struct {
		shown  string
		output string
		want   bool
	}{
		{"200 OK", "200 OK\n", true},
		{"200 OK", "200 OK\nmore\n", false},
		{"200 OK\n…", "200 OK\nmore\nand more\n", true},
		{"…\nlast", "first\nlast\n", true},
		{"…", "", true},
		{"10:12:01 registered for 1h0m0s", "23:59:59 registered for 59m58s\n", true},
		{id + " 2026-11-02T10:12:09.031Z  hello", "01KBSQ4M5N6P7Q8R9S0T1V2W3X 2027-01-01T00:00:00Z hello\n", true},
		{"…alice…hello…", "a sip:alice@localhost says hello there\n", true},
		{"…alice…hello…", "a sip:bob@localhost says hello there\n", false},
		{"on 127.0.0.1:5060", "on 127.0.0.1:40000\n", true},
	} {
		if got := matches(strings.Split(c.shown, "\n"), c.output); got != c.want {
			t.Errorf("%q against %q: %v, want %v", c.shown, c.output, got, c.want)
		}
	}
}
