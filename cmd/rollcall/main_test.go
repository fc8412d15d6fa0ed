package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/config"
)

// binary is the built command: these tests are its users.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "rc") // short: a socket's name must be
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "rollcall")
		if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// shell is a folder to run the command in, where it finds no configuration but its own.
type shell struct {
	t   *testing.T
	dir string
	env []string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	dir, err := os.MkdirTemp("", "rc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "ROLLCALL_") || strings.HasPrefix(v, "XDG_RUNTIME_DIR=") || strings.HasPrefix(v, "NOTIFY_SOCKET=")
	})
	return &shell{t, dir, append(env, "TMPDIR="+dir, "HOME="+dir)}
}

type result struct {
	code           int
	stdout, stderr string
}

// run runs the command to its end.
func (s *shell) run(stdin string, args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 60*time.Second)
	defer cancel()
	cmd := s.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("rollcall %q: %v", args, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// ok runs a command that must succeed, and returns its output.
func (s *shell) ok(args ...string) string {
	s.t.Helper()
	r := s.run("", args...)
	if r.code != 0 {
		s.t.Fatalf("rollcall %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// fails runs a command that must end with a code and say something.
func (s *shell) fails(code int, say string, args ...string) {
	s.t.Helper()
	r := s.run("", args...)
	if r.code != code || !strings.Contains(r.stdout+r.stderr, say) {
		s.t.Errorf("rollcall %s: exit code %d, want %d and %q\n%s%s", strings.Join(args, " "), r.code, code, say, r.stdout, r.stderr)
	}
}

func (s *shell) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

func (s *shell) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// process is a command that runs on.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    *buffer
	exited chan struct{}
}

func (s *shell) start(args ...string) *process {
	s.t.Helper()
	p := &process{s.t, s.command(context.Background(), args...), &buffer{}, make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is what tests look at
		close(p.exited)
	}()
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if s.t.Failed() {
			s.t.Logf("rollcall %s:\n%s", strings.Join(args, " "), p.out)
		}
	})
	return p
}

// stop sends a signal and returns the exit code.
func (p *process) stop(sig syscall.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(40 * time.Second):
		p.t.Fatalf("still running after %s:\n%s", sig, p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) await(text string) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("%q in the output", text), func() bool {
		select {
		case <-p.exited:
			if !strings.Contains(p.out.String(), text) {
				p.t.Fatalf("ended with %d before it said %q:\n%s", p.cmd.ProcessState.ExitCode(), text, p.out)
			}
		default:
		}
		return strings.Contains(p.out.String(), text)
	})
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
	}
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// freeAddress finds a loopback port that is free for UDP and TCP.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		u, err := net.ListenPacket("udp", addr)
		l.Close()
		if err == nil {
			u.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

func TestUsage(t *testing.T) {
	s := newShell(t)
	for _, test := range []struct {
		line, say string
		code      int
	}{
		{"", "Available Commands", 2},
		{"nonsense", `no command "rollcall nonsense"`, 2},
		{"registration", "did you mean registrations", 2},
		{"user", "import", 2},
		{"user lst", "did you mean list", 2},
		{"archive nonsense", "no command", 2},
		{"version --nonsense", "unknown flag: --nonsense", 2},
		{"version more", `"more" is too much`, 2},
		{"send alice bob", "wants FROM TO TEXT", 2},
		{"user add", "wants AOR", 2},
		{"dev --config x.toml", "rollcall serve --config x.toml", 2},
		{"bench register --users many", "invalid argument", 2},
		{"init", "give --domain", 2},
		{"serve --config none.toml", "no such file", 1},
		{"send alice bob hello --server 127.0.0.1:9", "has no domain", 2},
		{"version", "archive format", 0},
		{"--help", "Available Commands", 0},
		{"user add --help", "--password-file FILE", 0},
		{"completion bash", "bash completion", 0},
	} {
		s.fails(test.code, test.say, strings.Fields(test.line)...)
	}
	if _, err := os.Stat(config.SystemFile); err != nil {
		s.fails(1, "rollcall init", "check") // no configuration anywhere: it says how to get one
	}
}

func TestVersionJSON(t *testing.T) {
	var v struct {
		Version, Commit, Go string
		ArchiveFormat       int `json:"archive_format"`
	}
	if err := json.Unmarshal([]byte(newShell(t).ok("version", "--json")), &v); err != nil || v.Version == "" || v.Go == "" || v.ArchiveFormat < 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

// A fault of the configuration is printed with its line by every command that reads it.
func TestConfigurationFaults(t *testing.T) {
	s := newShell(t)
	s.write("rollcall.toml", "domains = [\"example.com\"]\n\n[registrar]\nmin_expire = \"60s\"\n[auth]\nnonce_life = 5\n")
	for _, line := range []string{"check", "serve", "user list", "send alice bob hello", "registrations", "archive stats"} {
		for _, say := range []string{
			"rollcall.toml:4: registrar.min_expire: unknown key; did you mean min_expires?",
			"rollcall.toml:6: auth.nonce_life: is a whole number, but text is wanted",
		} {
			s.fails(1, say, strings.Fields(line)...)
		}
	}
}

// --config may stand anywhere on the line, and goes before the environment, which goes before ./rollcall.toml.
func TestConfigurationOrder(t *testing.T) {
	s := newShell(t)
	for _, name := range []string{"flag", "env", "rollcall"} {
		s.write(name+".toml", fmt.Sprintf("domains = [%q]\ndata_dir = \"data\"\ntime_zone = \"%s\"\n", "example.com", name))
	}
	s.fails(1, "rollcall.toml:3: time_zone", "check")
	s.env = append(s.env, "ROLLCALL_CONFIG=env.toml")
	s.fails(1, "env.toml:3: time_zone", "check")
	s.fails(1, "flag.toml:3: time_zone", "check", "--config", "flag.toml")
	s.fails(1, "flag.toml:3: time_zone", "--config=flag.toml", "check")
	s.fails(1, "flag.toml:3: time_zone", "user", "--config", "flag.toml", "list")
}

func TestInit(t *testing.T) {
	s := newShell(t)
	s.ok("init", "--domain", "example.com,example.org", "--data-dir", "data", "--listen", "127.0.0.1:5099", "--http", "", "--yes")
	c, err := config.Load(filepath.Join(s.dir, "rollcall.toml"))
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Listen{{Address: "127.0.0.1:5099", Transport: "udp"}, {Address: "127.0.0.1:5099", Transport: "tcp"}}
	if !slices.Equal(c.Domains, []string{"example.com", "example.org"}) || c.DataDir != filepath.Join(s.dir, "data") || !slices.Equal(c.Listen, want) || c.HTTP.Address != "" {
		t.Errorf("wrote %+v", c)
	}
	s.fails(1, "rollcall.toml exists", "init", "--domain", "example.net", "--yes")
	if again, err := config.Load(filepath.Join(s.dir, "rollcall.toml")); err != nil || again.Domains[0] != "example.com" {
		t.Errorf("the file has changed: %v", err)
	}
	s.ok("init", "--domain", "example.net", "--yes", "--force")
	s.fails(1, `"sip:x" is not a domain`, "init", "--domain", "sip:x", "--yes", "--output", "other.toml")
	if _, err := os.Stat(filepath.Join(s.dir, "other.toml")); err == nil {
		t.Error("a configuration with a fault was written")
	}
}

// init makes a certificate that check finds good and the server starts with.
func TestInitWithCertificate(t *testing.T) {
	s := newShell(t)
	args := []string{"init", "--domain", "example.com,example.org", "--data-dir", "data", "--listen", freeAddress(t), "--tls", freeAddress(t), "--http", freeAddress(t), "--yes"}
	s.ok(args...)
	info, err := os.Stat(filepath.Join(s.dir, "rollcall-key.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key %v, %v", info, err)
	}
	if r := s.run("", "check"); r.code != 0 || !strings.Contains(r.stdout, "rollcall-cert.pem, until ") {
		t.Errorf("check: %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if err := os.Remove(filepath.Join(s.dir, "rollcall.toml")); err != nil {
		t.Fatal(err)
	}
	s.fails(1, "rollcall-cert.pem exists", args...)
	if _, err := os.Stat(filepath.Join(s.dir, "rollcall.toml")); err == nil {
		t.Error("a configuration was written for a certificate that was not")
	}
	s.ok(append(args, "--force")...)

	// The small user agent of the commands speaks no TLS.
	s.write("rollcall.toml", fmt.Sprintf("domains = [\"example.com\"]\ndata_dir = \"data\"\n[http]\naddress = \"\"\n"+
		"[[listen]]\naddress = %q\ntransport = \"tls\"\ncert_file = \"rollcall-cert.pem\"\nkey_file = \"rollcall-key.pem\"\n", freeAddress(t)))
	s.serve()
	s.fails(1, "does not listen over udp or tcp; it has tls ", "send", "alice", "alice", "hello")
}

func TestManualPages(t *testing.T) {
	s := newShell(t)
	s.ok("man", "man")
	page, err := os.ReadFile(filepath.Join(s.dir, "man", "rollcall-user-add.1"))
	if err != nil || !strings.Contains(string(page), `\-\-password\-file`) {
		t.Errorf("page %s, %v", page, err)
	}
}
