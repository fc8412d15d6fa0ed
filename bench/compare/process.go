package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// server is a running server under load.
type server struct {
	name  string
	addr  string // host:port, the same for UDP and TCP
	pids  []int  // its processes; descendants belong to them
	procs []*process
	ready time.Duration // from its start until it was ready
	http  string        // host:port of rollcall's metrics
}

// stop ends the server's processes, the last started first.
func (s *server) stop() {
	for i := len(s.procs) - 1; i >= 0; i-- {
		s.procs[i].stop()
	}
}

func (s *server) add(p *process) {
	s.procs = append(s.procs, p)
	s.pids = append(s.pids, p.cmd.Process.Pid)
}

// process is a child of ours that runs until it is stopped.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
	err  error         // how; read after done
}

// start runs a program in a process group of its own, with its output in
// dir/name.log.
func start(dir, name, program string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stopTime is how long a process may take to end by itself.
const stopTime = 20 * time.Second

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopTime):
	}
	// What is left of the group, if anything.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// await calls ok every few milliseconds until it is true, the process ends,
// or the time is over.
func (p *process) await(ctx context.Context, limit time.Duration, ok func() bool) error {
	over := time.After(limit)
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			err := p.err
			if err == nil {
				err = errors.New("exit status 0")
			}
			return fmt.Errorf("%s ended: %w\n%s", p.cmd.Path, err, p.tail())
		case <-over:
			return fmt.Errorf("%s is not ready after %v\n%s", p.cmd.Path, limit, p.tail())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// tail is the end of the log.
func (p *process) tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(data[max(0, len(data)-2000):]))
}

// execute runs a program to its end.
func execute(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// freePort returns a loopback port that is free for UDP and TCP.
func freePort() (int, error) {
	for range 50 {
		t, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := t.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		t.Close()
		if err == nil {
			u.Close()
			return port, nil
		}
	}
	return 0, errors.New("no port is free for both UDP and TCP")
}

// need finds a program, and installs Debian's package if it is not there.
func need(ctx context.Context, log io.Writer, program, pkg string) (string, error) {
	find := func() (string, error) {
		for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
			if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
				return path, nil
			}
		}
		return "", fmt.Errorf("%s is not installed", program)
	}
	path, err := find()
	if err == nil {
		return path, nil
	}
	if err := install(ctx, log, pkg, err); err != nil {
		return "", err
	}
	return find()
}

// needFile installs Debian's package if a file of it is not there. The name
// may hold a pattern.
func needFile(ctx context.Context, log io.Writer, pattern, pkg string) error {
	if found, _ := filepath.Glob(pattern); len(found) > 0 {
		return nil
	}
	return install(ctx, log, pkg, fmt.Errorf("there is no %s", pattern))
}

// install installs Debian's package, because of the fault.
func install(ctx context.Context, log io.Writer, pkg string, fault error) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("%w, and this system has no apt-get to install Debian's package %s", fault, pkg)
	}
	fmt.Fprintf(log, "installing Debian's package %s\n", pkg)
	sudo := []string{}
	if os.Geteuid() != 0 {
		sudo = []string{"sudo", "-n"}
	}
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", pkg}} {
		line := slices.Concat(sudo, []string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"}, args)
		if err := execute(ctx, "", line[0], line[1:]...); err != nil {
			return fmt.Errorf("%w; install Debian's package %s: %w", fault, pkg, err)
		}
	}
	return nil
}

// probe reports whether a server answers an OPTIONS over UDP, and listens on TCP.
func probe(addr string) bool {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return false
	}
	defer c.Close()
	local := c.LocalAddr().String()
	fmt.Fprintf(c, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKprobe%d\r\nMax-Forwards: 70\r\n"+
		"From: <sip:probe@%s>;tag=p\r\nTo: <sip:probe@%s>\r\nCall-ID: probe-%s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
		addr, local, time.Now().UnixNano(), domain, domain, local)
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(make([]byte, 2000)); err != nil || n == 0 {
		return false
	}
	stream, err := net.DialTimeout("tcp", addr, time.Second) // another process, which may come later
	if err != nil {
		return false
	}
	return stream.Close() == nil
}

// ping reports whether a Redis answers.
func ping(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprint(c, "PING\r\n")
	b := make([]byte, 7)
	_, err = io.ReadFull(c, b)
	return err == nil && string(b) == "+PONG\r\n"
}
