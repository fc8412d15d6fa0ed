package integration

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/sipp/*.xml
var sippScenarios embed.FS

// sipp registers and receives in one process, which keeps its socket, and sends
// each message from a process of its own.
type sipp struct {
	t               testing.TB
	path, home      string
	addr, transport string
	account         account
	receiver        *child
	registered      chan string
	received        chan message
	stop            chan struct{}
}

func startSipp(t testing.TB, addr, transport string, a, _ account) client {
	t.Helper()
	s := &sipp{t: t, path: program(t, "sipp", "sip-tester"), home: t.TempDir(), addr: addr, transport: transport, account: a,
		registered: make(chan string, 10), received: make(chan message, 1000), stop: make(chan struct{})}
	return s
}

// write puts a scenario into the home folder with the account, and more pairs
// of name and value, filled in: sipp's own -key does not work inside its
// [authentication] keyword.
func (s *sipp) write(name string, pairs ...string) {
	s.t.Helper()
	text, err := sippScenarios.ReadFile("testdata/sipp/" + name)
	if err != nil {
		s.t.Fatal(err)
	}
	pairs = append(pairs, "{user}", s.account.User, "{password}", s.account.Password, "{domain}", domain)
	if err := os.WriteFile(filepath.Join(s.home, name), []byte(strings.NewReplacer(pairs...).Replace(string(text))), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start runs a scenario as one call.
func (s *sipp) start(scenario string, more ...string) *child {
	mode := map[string]string{"udp": "u1", "tcp": "t1"}[s.transport]
	args := []string{s.addr, "-sf", scenario, "-t", mode, "-m", "1", "-i", "127.0.0.1", "-p", fmt.Sprint(freePorts(s.t, 1)),
		"-nostdin", "-cp", fmt.Sprint(freePorts(s.t, 1)), "-auth_uri", domain}
	return startChild(s.t, s.home, nil, s.path, append(args, more...)...)
}

func (s *sipp) Register() error {
	s.write("register.xml")
	s.write("receive.xml")
	log := filepath.Join(s.home, "receiver.log")
	s.receiver = s.start("register.xml", "-oocsf", "receive.xml", "-trace_logs", "-log_file", log, "-trace_err", "-error_file", filepath.Join(s.home, "errors.log"))
	go s.follow(log)
	_, err := within(20*time.Second, "sipp registers", s.registered, s.receiver.done)
	if err != nil {
		if text, e := os.ReadFile(filepath.Join(s.home, "errors.log")); e == nil {
			err = fmt.Errorf("%w\n%s", err, text)
		}
	}
	return err
}

// follow reads the log that the scenarios write.
func (s *sipp) follow(path string) {
	var done int
	for {
		select {
		case <-s.stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for {
			line, _, complete := strings.Cut(string(text[done:]), "\n")
			if !complete {
				break
			}
			done += len(line) + 1
			if strings.HasPrefix(line, "registered") {
				s.registered <- line
			} else if rest, ok := strings.CutPrefix(line, "message "); ok {
				// Other types are notices: that a text came, or is being written.
				if parts := strings.SplitN(rest, " ", 3); len(parts) == 3 && parts[0] == "text/plain" {
					s.received <- message{From: parts[1], Text: parts[2]}
				}
			}
		}
	}
}

func (s *sipp) Send(to, text string) error {
	return s.play("message.xml", "{to}", to, "{text}", text)
}

// play runs a scenario to its end.
func (s *sipp) play(scenario string, pairs ...string) error {
	errors := filepath.Join(s.home, scenario+"-errors.log")
	s.write(scenario, pairs...)
	p := s.start(scenario, "-timeout", "15s", "-timeout_error",
		"-recv_timeout", "10000", "-trace_err", "-error_file", errors)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		return fmt.Errorf("sipp %s: not done within 20 s", scenario)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		text, _ := os.ReadFile(errors)
		return fmt.Errorf("sipp %s: exit code %d\n%s", scenario, code, text)
	}
	return nil
}

func (s *sipp) Received() <-chan message { return s.received }

func (s *sipp) Close() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	if s.receiver != nil {
		s.receiver.end(0)
	}
}
