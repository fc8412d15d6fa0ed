package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// client is a SIP client that other people wrote, running without a window or a
// sound device.
type client interface {
	// Register registers and waits until the server has agreed.
	Register() error
	// Send sends a text to an address of record and waits until the server has
	// taken it.
	Send(to, text string) error
	// Received gives the texts that arrived.
	Received() <-chan message
	// Close unregisters, if the client does, and ends it.
	Close()
}

// message is a text as a client shows it.
type message struct{ From, Text string }

// clients are all drivers, by the name of the program. peer is whom the client
// will write to.
var clients = map[string]func(t testing.TB, addr, transport string, a, peer account) client{
	"baresip":  startBaresip,
	"linphone": startLinphone,
	"purple":   startPurple,
	"sipp":     startSipp,
}

// speaks reports whether a client is tried over a transport. libpurple takes one
// message from each read of a stream and leaves the next in its buffer until
// more comes, so that two that arrive together are one.
func speaks(name, transport string) bool { return name != "purple" || transport == "udp" }

// expect waits for a text from a sender.
func expect(t testing.TB, c client, from account, text string) {
	t.Helper()
	select {
	case m := <-c.Received():
		if m.Text != text || !strings.Contains(m.From, from.User+"@"+domain) {
			t.Fatalf("received %q from %q, want %q from %s", m.Text, m.From, text, from.AOR())
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%q from %s did not arrive", text, from.AOR())
	}
}

// program finds an installed program. Tests fail without it.
func program(t testing.TB, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		for _, dir := range []string{"/usr/bin", "/usr/sbin"} {
			if p := filepath.Join(dir, name); fileExists(p) {
				return p
			}
		}
		t.Fatalf("%s is not installed: `make test` installs Debian's %s", name, debian)
	}
	return path
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// child is a running program whose output is kept for a failing test.
type child struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{}

	mu  sync.Mutex
	out strings.Builder
}

// startChild runs a program in its own home folder. Every line of its output
// goes to line, which may be nil.
func startChild(t testing.TB, home string, line func(string), path string, args ...string) *child {
	t.Helper()
	p := &child{t: t, name: filepath.Base(path), cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir = home
	p.cmd.Env = append(environment(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home,
		"XDG_CACHE_HOME="+home, "XDG_RUNTIME_DIR="+home, "LC_ALL=C.UTF-8", "TERM=dumb")
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in = in
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout // one pipe for both
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.note(lines.Text() + "\n")
			if line != nil {
				line(lines.Text())
			}
		}
		io.Copy(io.Discard, out)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.end(0)
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Logf("%s wrote:\n%s", p.name, tail([]byte(p.out.String()), 6000))
		}
	})
	return p
}

func (p *child) note(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out.Len() < 1<<20 {
		p.out.WriteString(s)
	}
}

// command writes one JSON line.
func (p *child) command(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.in.Write(append(b, '\n'))
	return err
}

// end closes the program's input, gives it a while, and kills it.
func (p *child) end(grace time.Duration) {
	p.in.Close()
	select {
	case <-p.done:
		return
	case <-time.After(grace):
	}
	p.cmd.Process.Kill()
	<-p.done
}

// within waits for a value.
func within[T any](d time.Duration, what string, c <-chan T, ended <-chan struct{}) (T, error) {
	var zero T
	select {
	case v := <-c:
		return v, nil
	case <-ended:
		return zero, fmt.Errorf("%s: the program ended", what)
	case <-time.After(d):
		return zero, fmt.Errorf("%s: nothing within %s", what, d)
	}
}
