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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// output collects what a process writes, for a reader beside it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) add(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(bytes.ReplaceAll(p, []byte("\r"), nil))
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
	return terminal{dir: dir, env: append(env, "TMPDIR="+temp, "HOME="+dir, "TERM=xterm", "NO_COLOR=1")}
}

// start runs one line of a page on a terminal of its own, as a person would, and
// returns what appears there. Only the binary runs; it needs no shell.
func (term terminal) start(ctx context.Context, t *testing.T, line string) (*output, func() error) {
	t.Helper()
	words := fields(line)
	if words[0] != "./bin/rollcall" {
		t.Fatalf("the page runs %q, which this test does not know", line)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(term.dir, words[0]), words[1:]...)
	cmd.Args[0] = words[0]
	cmd.Dir, cmd.Env = term.dir, term.env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	screen, tty := openPTY(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	err := cmd.Start()
	tty.Close()
	if err != nil {
		screen.Close()
		t.Fatal(err)
	}
	out := &output{}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := screen.Read(buf)
			out.add(buf[:n])
			if err != nil {
				return // EIO: nobody has the terminal any more
			}
		}
	}()
	return out, func() error {
		err := cmd.Wait()
		<-read
		screen.Close()
		return err
	}
}

// run is start for a command that ends by itself.
func (term terminal) run(t *testing.T, line string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, wait := term.start(ctx, t, line)
	err := wait()
	return out.String(), err
}

// background is start for a command that runs until the test ends.
func (term terminal) background(t *testing.T, line string) *output {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, wait := term.start(ctx, t, line)
	t.Cleanup(func() {
		cancel()
		_ = wait() // it ends by our signal
		if t.Failed() {
			t.Logf("$ %s\n%s", line, out)
		}
	})
	return out
}

// openPTY opens a terminal: what a program writes to tty is read from screen.
func openPTY(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(screen.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return screen, tty
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
			// A line tells of the registration, and one of the state of each presentity.
			lines := len(words) - len([]string{"rollcall", "watch"})
			await(t, "the first lines of "+s.command, func() bool { return strings.Count(out.String(), "\n") >= lines })
			watching = append(watching, running{s, out})
		default:
			out, err := term.run(t, s.command)
			if err != nil {
				t.Errorf("$ %s\n%s%v", s.command, out, err)
			} else if !matches(s.shown, out) {
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
			words := fields(strings.TrimPrefix(s.command, "sudo -u rollcall "))
			at := slices.IndexFunc(words, func(w string) bool { return w == "rollcall" || w == "./bin/rollcall" })
			if at < 0 || at+1 == len(words) {
				continue
			}
			name := words[at+1]
			line := append([]string{"./bin/rollcall"}, words[at+1:]...)
			help, err := term.run(t, strings.Join(append(line, "--help"), " "))
			if err != nil || !strings.Contains(help, "rollcall "+name) {
				t.Errorf("%s runs %q, and there is no such command: %v\n%s", page, s.command, err, help)
			}
			for _, w := range words {
				if flag, _, _ := strings.Cut(w, "="); strings.HasPrefix(w, "--") && at < slices.Index(words, w) && !strings.Contains(help, flag) {
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
