package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const domain = "example.com"

// account is a user of the server.
type account struct{ User, Password string }

func (a account) AOR() string { return "sip:" + a.User + "@" + domain }

var (
	alice = account{"alice", "alice-secret"}
	bob   = account{"bob", "bob-secret"}
	carol = account{"carol", "carol-secret"}
)

// server is one `rollcall serve` with its own folder and ports. It keeps both
// when it is stopped, killed and started again. Used by one goroutine.
type server struct {
	t      testing.TB
	dir    string
	config string // path of rollcall.toml
	data   string // data_dir
	addr   string // UDP and TCP
	http   string
	log    string // path of what it wrote
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
}

// setup is what a test changes before the server starts.
type setup struct {
	accounts []account
	// toml goes to the end of the configuration, so it may only open tables
	// that are not there: [store], [limits], [log] and so on.
	toml string
	// before runs when the configuration is written, before the accounts.
	before func(*server)
}

// startServer starts a server with the accounts alice, bob and carol.
func startServer(t testing.TB) *server {
	t.Helper()
	return startServerWith(t, setup{accounts: []account{alice, bob, carol}})
}

func startServerWith(t testing.TB, with setup) *server {
	t.Helper()
	s := newServer(t, with)
	s.start()
	return s
}

// newServer makes configuration and accounts and starts nothing.
func newServer(t testing.TB, with setup) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir()}
	s.config, s.data, s.log = filepath.Join(s.dir, "rollcall.toml"), filepath.Join(s.dir, "data"), filepath.Join(s.dir, "log")
	port := freePorts(t, 2)
	s.addr, s.http = loopback(port), loopback(port+1)
	s.configure(with.toml)
	if with.before != nil {
		with.before(s)
	}
	s.addAccounts(with.accounts...)
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill()
		}
		if t.Failed() {
			if log, err := os.ReadFile(s.log); err == nil {
				t.Logf("the server wrote:\n%s", tail(log, 8000))
			}
		}
	})
	return s
}

// configure writes the configuration file.
func (s *server) configure(more string) {
	s.t.Helper()
	s.write(s.config, fmt.Sprintf(`domains  = [%q]
data_dir = %q

[[listen]]
address   = %q
transport = "udp"

[[listen]]
address   = %q
transport = "tcp"

[http]
address = %q

%s
`, domain, s.data, s.addr, s.addr, s.http, more))
}

func (s *server) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// addAccounts imports accounts as an administrator would, from a CSV file.
func (s *server) addAccounts(accounts ...account) {
	s.t.Helper()
	if len(accounts) == 0 {
		return
	}
	var csv strings.Builder
	csv.WriteString("aor,password,display_name,email,unit,groups\n")
	for _, a := range accounts {
		fmt.Fprintf(&csv, "%s,%s,%s,,,\n", a.AOR(), a.Password, a.User)
	}
	path := filepath.Join(s.dir, "accounts.csv")
	s.write(path, csv.String())
	s.mustRun("user", "import", path)
}

// start runs the server and waits until it is ready.
func (s *server) start() {
	s.t.Helper()
	s.launch()
	s.waitReady()
}

// launch runs the server and does not wait.
func (s *server) launch() {
	s.t.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(binary, "serve", "--config", s.config)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, log, log
	s.cmd.Env = environment()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start rollcall serve: %v", err)
	}
	cmd, exited := s.cmd, make(chan struct{})
	s.exited = exited
	go func() {
		cmd.Wait()
		close(exited)
	}()
}

// waitReady waits for 200 from /readyz.
func (s *server) waitReady() {
	s.t.Helper()
	s.eventually(20*time.Second, "ready", func() error {
		select {
		case <-s.exited:
			s.t.Fatalf("rollcall serve ended: %v", s.cmd.ProcessState)
		default:
		}
		status, body := s.get("/readyz")
		if status != http.StatusOK {
			return fmt.Errorf("/readyz: %d %s", status, body)
		}
		return nil
	})
}

// get asks the server's HTTP side; status 0 means no answer.
func (s *server) get(path string) (int, string) {
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.Get("http://" + s.http + path)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	var body bytes.Buffer
	body.ReadFrom(res.Body)
	return res.StatusCode, body.String()
}

// control asks the control socket.
func (s *server) control(path string) (*http.Response, error) {
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.data, "rollcall.sock"))
	}}}
	return client.Get("http://control" + path)
}

// eventually tries check until it returns nil.
func (s *server) eventually(within time.Duration, what string, check func() error) {
	s.t.Helper()
	eventually(s.t, within, what, check)
}

func eventually(t testing.TB, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not %s within %s: %v", what, within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// signal sends a signal and does not wait.
func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal %v: %v", sig, err)
	}
}

// kill is kill -9.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
}

// stop is SIGTERM, and returns the exit code.
func (s *server) stop() int {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		s.signal(syscall.SIGQUIT) // its goroutines go to the log
		<-s.exited
		s.t.Fatal("rollcall serve did not end within 30 s of SIGTERM")
	}
	code := s.cmd.ProcessState.ExitCode()
	s.cmd = nil
	return code
}

// alive reports whether the process runs.
func (s *server) alive() bool {
	select {
	case <-s.exited:
		return false
	default:
		return s.cmd != nil
	}
}

// run runs a rollcall command against this server's configuration.
func (s *server) run(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	return rollcall(s.t, append([]string{"--config", s.config}, args...)...)
}

// mustRun is run for a command that has to succeed.
func (s *server) mustRun(args ...string) string {
	s.t.Helper()
	stdout, stderr, code := s.run(args...)
	if code != 0 {
		s.t.Fatalf("rollcall %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// rollcall runs the binary once.
func rollcall(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errs, environment()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("rollcall %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// environment is the caller's without what would configure rollcall.
func environment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "ROLLCALL_") {
			env = append(env, e)
		}
	}
	return env
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return b
}
