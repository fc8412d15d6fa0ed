package integration

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestWrongKeyInConfig expects the file and the line of the fault, from serve
// and from check, and a server that does not start.
func TestWrongKeyInConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ line, want string }{
		"unknown key":       {"[registrar]\nmax_expire = \"1h\"", "max_expire"},
		"unknown table":     {"[registry]", "registry"},
		"wrong type":        {"[limits]\ntcp_connections = \"many\"", "tcp_connections"},
		"broken TOML":       {"[limits", ""},
		"impossible value":  {"[registrar]\nmin_expires = \"2h\"\nmax_expires = \"1h\"", "expires"},
		"unknown transport": {"[[listen]]\naddress = \"127.0.0.1:5999\"\ntransport = \"sctp\"", "sctp"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, setup{toml: c.line})
			text, err := os.ReadFile(s.config)
			if err != nil {
				t.Fatal(err)
			}
			first := strings.Count(string(text[:strings.Index(string(text), c.line)]), "\n") + 1
			last := first + strings.Count(c.line, "\n")
			for _, command := range []string{"serve", "check"} {
				out, errs, code := s.run(command)
				if code != 1 && code != 2 {
					t.Errorf("%s: exit code %d", command, code)
				}
				named := false
				for line := first; line <= last; line++ {
					named = named || strings.Contains(out+errs, fmt.Sprintf("%s:%d", s.config, line))
				}
				if !named || !strings.Contains(out+errs, c.want) {
					t.Errorf("%s does not name %s:%d and %q:\n%s%s", command, s.config, first, c.want, out, errs)
				}
			}
		})
	}
}

// TestTermDrains stops the server while a device takes its time to answer: the
// sender still gets its answer.
func TestTermDrains(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	sender, receiver := newPhone(t, s.addr, "udp", alice), newPhone(t, s.addr, "udp", bob)
	receiver.mustRegister()
	sender.mustMessage(bob, "before", 200)
	var once sync.Once
	ringing := make(chan struct{})
	release := time.Now().Add(time.Hour)
	receiver.answerWith(func(m *packet) int {
		if m.body != "during" {
			return 200
		}
		once.Do(func() {
			close(ringing)
			release = time.Now().Add(900 * time.Millisecond)
		})
		if time.Now().Before(release) {
			return 0 // the server repeats
		}
		return 200
	})
	status := make(chan int, 1)
	go func() {
		a, err := sender.do(t.Context(), sender.newText(bob, "during"))
		if err != nil {
			t.Errorf("MESSAGE: %v", err)
			status <- 0
			return
		}
		status <- a.status()
	}()
	<-ringing
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := <-status; got != 200 && got != 202 {
		t.Errorf("MESSAGE during the drain was answered %d", got)
	}
	s.mustVerify()
	s.start()
	sender.mustMessage(bob, "after", 200)
	receiver.wantTexts("before", "during", "after")
}

// TestTermKeepsRegistrations expects a device to be reachable after a restart
// without registering again.
func TestTermKeepsRegistrations(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	receiver := newPhone(t, s.addr, "udp", bob)
	receiver.mustRegister()
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.start()
	newPhone(t, s.addr, "udp", alice).mustMessage(bob, greeting, 200)
	receiver.wantTexts(greeting)
}

// TestReload changes a setting by SIGHUP; a faulty file changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := newPhone(t, s.addr, "udp", bob)
	granted := func() string {
		a := p.register(7200)
		if a.status() != 200 {
			t.Fatalf("REGISTER: %s", a.first)
		}
		_, after, _ := strings.Cut(a.get("Contact"), "expires=")
		value, _, _ := strings.Cut(after, ";")
		return value
	}
	if got := granted(); got != "7200" {
		t.Fatalf("granted %q at first", got)
	}
	s.configure("[registrar]\ndefault_expires = \"300s\"\nmax_expires = \"300s\"\n")
	s.signal(syscall.SIGHUP)
	eventually(t, 10*time.Second, "reloaded", func() error {
		if got := granted(); got != "300" {
			return fmt.Errorf("granted %q", got)
		}
		return nil
	})
	s.configure("[registrar]\nmax_expires = \"soon\"\n")
	s.signal(syscall.SIGHUP)
	eventually(t, 10*time.Second, "complaining about the file", func() error {
		log, err := os.ReadFile(s.log)
		if err == nil && !strings.Contains(string(log), "not reloaded") {
			err = fmt.Errorf("the log does not say so")
		}
		return err
	})
	if got := granted(); got != "300" || !s.alive() {
		t.Errorf("granted %q after a faulty reload", got)
	}
}
