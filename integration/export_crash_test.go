package integration

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/archive"
	"rollcall/archive/export"
	"rollcall/archive/keys"
)

// recordBefore writes messages with their outcomes into the record of a server that does not run, sealed with its keys.
func recordBefore(t *testing.T, s *server, messages int) {
	t.Helper()
	master, err := keys.LoadFile(filepath.Join(s.data, "keys", "master.key"), false)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(filepath.Join(s.data, "keys", "content"), master)
	if err != nil {
		t.Fatal(err)
	}
	j, err := archive.Open(filepath.Join(s.data, "archive"), archive.Options{Node: "before", Keys: ring})
	if err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		m := &archive.Record{Type: archive.TypeMessage, Received: time.Now(), Direction: archive.Internal, Channel: "sip-message", From: alice.AOR(), To: bob.AOR(),
			CallID: token(), Method: "MESSAGE", ContentType: "text/plain", Decision: "allow",
			Raw: fmt.Appendf(nil, "MESSAGE %s SIP/2.0\r\nContent-Type: text/plain\r\n\r\nfigure number %d", bob.AOR(), i)}
		m.Size = uint64(len(m.Body()))
		if err := j.Note(m); err != nil {
			t.Fatal(err)
		}
		if err := j.Note(&archive.Record{Type: archive.TypeOutcome, Cites: m.ID, Received: time.Now(), From: m.From, To: m.To, Disposition: archive.Delivered, Status: 200}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(j.Close(), ring.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestKillWhileExporting kills the server while it makes an export, and a command that makes one, at random moments. Both
// go on where they were and come to a whole export that proves itself; the record verifies and accounts for every message.
func TestKillWhileExporting(t *testing.T) {
	t.Parallel()
	const messages = 2000
	s := startServerWith(t, setup{accounts: []account{alice, bob}}) // its first record names its key
	if code := s.stop(); code != 0 {
		t.Fatalf("exit code %d after SIGTERM", code)
	}
	recordBefore(t, s, messages)
	s.start()
	secret := strings.TrimSpace(s.mustRun("token", "create", "--role", "compliance", "--name", "dora"))
	ask := func(method, path, body string) (int, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.http+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, b
	}
	var j export.Job
	status, body := ask("POST", "/api/v1/exports", `{"query":"figure","format":"eml","reason":"case 7"}`)
	if err := json.Unmarshal(body, &j); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	for range kills(t) {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		s.kill()
		s.mustVerify()
		s.start()
	}
	eventually(t, time.Minute, "exported", func() error {
		status, body := ask("GET", "/api/v1/exports/"+j.ID, "")
		if err := json.Unmarshal(body, &j); err != nil || status != http.StatusOK || j.State == export.Failed {
			t.Fatalf("%d %s", status, body)
		}
		if j.State != export.Done {
			return fmt.Errorf("%s, %d of %d", j.State, j.Done, j.All)
		}
		return nil
	})
	_, whole := ask("GET", "/api/v1/exports/"+j.ID+"/tar", "")
	dir := t.TempDir()
	untar(t, whole, dir)
	proved := func(dir string) {
		t.Helper()
		out := s.mustRun("archive", "verify", "--export", dir)
		if !strings.Contains(out, fmt.Sprintf("%d messages", messages)) {
			t.Errorf("%s", out)
		}
	}
	proved(filepath.Join(dir, "export-"+j.ID))

	out := filepath.Join(t.TempDir(), "case-7")
	command := func() *exec.Cmd {
		c := exec.Command(binary, "--config", s.config, "archive", "export", "figure", "--format", "eml", "--out", out, "--reason", "case 7")
		c.Env = environment()
		return c
	}
	for range kills(t) {
		c := command()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(20+rand.IntN(400))*time.Millisecond, func() { _ = c.Process.Kill() })
		_ = c.Wait() // killed, or done already
		timer.Stop()
	}
	if _, err := os.Stat(filepath.Join(out, "manifest.json")); err != nil {
		if text, err := command().CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	proved(out)

	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	s.mustVerify()
	received, delivered := uint64(0), uint64(0)
	for day := time.Now().UTC().Truncate(24 * time.Hour); ; day = day.Add(-24 * time.Hour) { // midnight may have been in between
		a, err := archive.Folder{Dir: filepath.Join(s.data, "archive")}.Reconcile(t.Context(), day)
		if err != nil {
			t.Fatal(err)
		}
		received, delivered = received+a.Received, delivered+a.Delivered
		if received == messages || time.Since(day) > 48*time.Hour {
			break
		}
	}
	if received != messages || delivered != messages {
		t.Errorf("%d received, %d delivered, of %d", received, delivered, messages)
	}
}

func untar(t *testing.T, b []byte, dir string) {
	t.Helper()
	in := tar.NewReader(bytes.NewReader(b))
	for {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, head.Name)
		content, err := io.ReadAll(in)
		if err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}
