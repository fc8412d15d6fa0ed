package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wantArchived waits until the record holds at least n messages.
func (s *server) wantArchived(n int) {
	s.t.Helper()
	s.eventually(10*time.Second, "archived", func() error {
		var stats struct{ Messages int }
		if err := json.Unmarshal([]byte(s.mustRun("archive", "stats", "--json")), &stats); err != nil {
			return err
		}
		if stats.Messages < n {
			return fmt.Errorf("%d messages in the record, want %d", stats.Messages, n)
		}
		return nil
	})
}

// mustVerify has the record verified.
func (s *server) mustVerify() {
	s.t.Helper()
	s.mustRun("archive", "verify")
}

func TestMessageToEveryDevice(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			sender := newPhone(t, s.addr, transport, alice)
			desk, mobile := newPhone(t, s.addr, "udp", bob), newPhone(t, s.addr, "tcp", bob)
			desk.mustRegister()
			mobile.mustRegister()
			sender.mustMessage(bob, greeting, 200)
			desk.wantTexts(greeting)
			mobile.wantTexts(greeting)
			// Every byte of a body that is not text arrives.
			binary := "\x00\x01\xff\r\n\r\n\x1b"
			if a := sender.message(bob, binary, "Content-Type: application/octet-stream", "Content-Encoding: deflate"); a.status() != 200 {
				t.Fatalf("binary: %s", a.first)
			}
			mobile.wantTexts(greeting, binary)
			last := mobile.got()[1]
			if last.get("Content-Type") != "application/octet-stream" || last.get("Content-Encoding") != "deflate" || last.get("Contact") != "" {
				t.Errorf("delivered headers %v", last.header)
			}
			s.mustVerify()
		})
	}
}

func TestMessageKeptForAnAbsentAccount(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	sender := newPhone(t, s.addr, "udp", alice)
	var want []string
	for i := range 20 {
		text := fmt.Sprintf("%d %s", i, greeting)
		sender.mustMessage(bob, text, 202)
		want = append(want, text)
	}
	// Nothing that was accepted is lost by a crash, and the order stays.
	s.kill()
	s.start()
	first := newPhone(t, s.addr, "udp", bob)
	first.mustRegister()
	first.wantTexts(want...)
	// The first device that took them ends the wait: neither it nor another
	// gets them again.
	first.mustRegister()
	second := newPhone(t, s.addr, "tcp", bob)
	second.mustRegister()
	first.wantTexts(want...)
	second.wantTexts()
}

func TestLargeMessageOverTCP(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	sender, receiver := newPhone(t, s.addr, "tcp", alice), newPhone(t, s.addr, "tcp", bob)
	receiver.mustRegister()
	text := strings.Repeat("漢字", 10000) // 60,000 bytes
	sender.mustMessage(bob, text, 200)
	receiver.wantTexts(text)
}

func TestMessageRefused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	sender := newPhone(t, s.addr, "udp", alice)
	sender.mustMessage(account{User: "nobody"}, "hello", 404)
	if a, err := sender.do(t.Context(), sender.newRequest("MESSAGE", "sip:x@example.net", "sip:x@example.net", "hello", "Content-Type: text/plain")); err != nil || a.status() != 403 {
		t.Errorf("foreign domain: %v, %v", a, err)
	}
	if a := sender.message(bob, "forged", "From: <"+carol.AOR()+">;tag=1"); a.status() != 403 {
		t.Errorf("forged From: %s", a.first)
	}
	thief := newPhone(t, s.addr, "udp", account{alice.User, "guess"})
	if a := thief.message(bob, "stolen"); a.status() != 407 {
		t.Errorf("wrong password: %s", a.first)
	}
	stranger := newPhone(t, s.addr, "udp", account{"stranger", "guess"})
	if a := stranger.message(bob, "hello"); a.status() != 407 {
		t.Errorf("unknown sender: %s", a.first)
	}
	receiver := newPhone(t, s.addr, "udp", bob)
	receiver.mustRegister()
	receiver.wantTexts()
}

// TestSendAndWatch has the product's own commands talk to each other.
func TestSendAndWatch(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			passwords := t.TempDir()
			for _, a := range []account{alice, bob} {
				s.write(filepath.Join(passwords, a.User), a.Password+"\n")
			}
			seen := make(chan string, 100)
			startChild(t, t.TempDir(), func(line string) { seen <- line }, binary, "--config", s.config,
				"watch", "bob", "--transport", transport, "--password-file", filepath.Join(passwords, "bob"))
			if line, err := within(10*time.Second, "watch registers", seen, nil); err != nil || !strings.Contains(line, "registered") {
				t.Fatalf("%q, %v", line, err)
			}
			out, errs, code := s.run("send", "alice", "bob", greeting, "--transport", transport, "--password-file", filepath.Join(passwords, "alice"))
			if code != 0 || !strings.HasPrefix(out, "200 ") {
				t.Fatalf("send: exit code %d\n%s%s", code, out, errs)
			}
			if line, err := within(10*time.Second, "watch shows", seen, nil); err != nil || !strings.HasSuffix(line, ": "+greeting) {
				t.Fatalf("%q, %v", line, err)
			}
			out, errs, code = s.run("send", "alice", "carol", "later", "--password-file", filepath.Join(passwords, "alice"))
			if code != 0 || !strings.HasPrefix(out, "202 ") {
				t.Fatalf("send: exit code %d\n%s%s", code, out, errs)
			}
			if _, _, code = s.run("send", "alice", "nobody", "x", "--password-file", filepath.Join(passwords, "alice")); code != 1 {
				t.Errorf("send to nobody: exit code %d", code)
			}
			if out := s.mustRun("archive", "search", "漢字"); !strings.Contains(out, greeting) {
				t.Errorf("search prints %q", out)
			}
		})
	}
}

// TestUserAdd makes an account as an administrator does while the server runs.
func TestUserAdd(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	dave := account{"dave", "dave-secret"}
	file := filepath.Join(s.dir, "password")
	if err := os.WriteFile(file, []byte(dave.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.mustRun("user", "add", dave.User+"@"+domain, "--password-file", file)
	p := newPhone(t, s.addr, "udp", dave)
	p.mustRegister()
	if out := s.mustRun("registrations", dave.User+"@"+domain); !strings.Contains(out, p.local) {
		t.Errorf("registrations prints %q", out)
	}
	s.mustRun("user", "disable", dave.User+"@"+domain)
	if a := newPhone(t, s.addr, "udp", dave).register(60); a.status() != 401 && a.status() != 403 {
		t.Errorf("disabled account: %s", a.first)
	}
}
