package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a running redis-server. Its methods end the test if they fail and
// are for one goroutine.
type Server struct {
	t    testing.TB
	addr string
	args []string
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// Start starts a redis-server that writes each change to its disk before it
// answers, and returns its URL. It is stopped when the test ends. Further
// arguments are those of redis-server and win over the ones set here.
func Start(t testing.TB, args ...string) (url string, srv *Server) {
	t.Helper()
	return start(t, append([]string{"--appendonly", "yes", "--appendfsync", "always"}, args...))
}

func start(t testing.TB, args []string) (string, *Server) {
	t.Helper()
	return startWith(t, nil, append([]string{"--save", ""}, args...))
}

// startWith has arguments that go before those that are always set, and behind.
func startWith(t testing.TB, first, last []string) (string, *Server) {
	t.Helper()
	// The port may be taken by another between our look and the start.
	for try := 0; ; try++ {
		port := freePort(t)
		s := &Server{t: t, addr: "127.0.0.1:" + port}
		s.args = append(append([]string{}, first...), "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(),
			"--loglevel", "warning", "--daemonize", "no")
		s.args = append(s.args, last...)
		err := s.start()
		if err == nil {
			t.Cleanup(s.end)
			return "redis://" + s.addr + "/0", s
		}
		if try == 3 {
			t.Fatalf("start redis-server (Debian package redis-server): %v", err)
		}
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if port < 55000 { // the bus of a cluster node has the port 10000 above
			return strconv.Itoa(port)
		}
	}
}

// Addr returns host and port.
func (s *Server) Addr() string { return s.addr }

func (s *Server) start() error {
	s.cmd = exec.Command("redis-server", s.args...)
	// The server must not outlive a test that is killed.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out strings.Builder
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, done := s.cmd, make(chan struct{})
	s.done = done
	go func() {
		defer close(done)
		_ = cmd.Wait() // however it ended, it is gone
	}()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case <-done:
			return fmt.Errorf("redis-server ended: %s", out.String())
		case <-timeout:
			s.end()
			return fmt.Errorf("no answer at %s: %s", s.addr, out.String())
		case <-time.After(10 * time.Millisecond):
		}
		// One that wants a password is up as well.
		if answer, err := s.do("PING"); err == nil && (answer == "+PONG" || strings.HasPrefix(answer, "-NOAUTH")) {
			return nil
		}
	}
}

// do sends one inline command and returns the first line of the answer.
func (s *Server) do(command string) (string, error) {
	c, err := net.DialTimeout("tcp", s.addr, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSuffix(line, "\r\n"), err
}

// Do sends one command whose words have no blanks, and returns the first line of
// the answer.
func (s *Server) Do(command string) string {
	s.t.Helper()
	answer, err := s.do(command)
	if err != nil {
		s.t.Fatalf("%s to redis-server: %v", command, err)
	}
	return answer
}

// Kill ends the server at once, as a crash does.
func (s *Server) Kill() { s.signal(syscall.SIGKILL) }

// Stop ends the server in order.
func (s *Server) Stop() { s.signal(syscall.SIGTERM) }

// Pause makes the server hang, connections open, until Resume.
func (s *Server) Pause() { s.send(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.send(syscall.SIGCONT) }

func (s *Server) send(sig syscall.Signal) {
	s.t.Helper()
	if s.cmd == nil {
		s.t.Fatal("redis-server does not run")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	s.send(sig)
	<-s.done
	s.cmd = nil
}

// Restart starts the server again, after Kill or Stop, on the same port and with
// what it has on disk.
func (s *Server) Restart() {
	s.t.Helper()
	if s.cmd != nil {
		s.t.Fatal("redis-server runs already")
	}
	if err := s.start(); err != nil {
		s.t.Fatalf("restart redis-server: %v", err)
	}
}

func (s *Server) end() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // it may have ended by itself
		<-s.done
		s.cmd = nil
	}
}

// StartCluster starts a cluster of that many masters and returns its URL.
func StartCluster(t testing.TB, n int) (url string, nodes []*Server) {
	t.Helper()
	const slots = 16384
	var addrs []string
	for i := range n {
		_, s := start(t, []string{"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000", "--appendonly", "yes"})
		s.Do(fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*slots/n, (i+1)*slots/n-1))
		s.Do(fmt.Sprintf("CLUSTER SET-CONFIG-EPOCH %d", i+1))
		nodes, addrs = append(nodes, s), append(addrs, s.addr)
	}
	for _, s := range nodes[1:] {
		host, port, _ := net.SplitHostPort(nodes[0].addr)
		s.Do("CLUSTER MEET " + host + " " + port)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ready := 0
		for _, s := range nodes {
			if s.clusterSees(n) {
				ready++
			}
		}
		if ready == n {
			return "redis+cluster://" + strings.Join(addrs, ","), nodes
		}
		if time.Now().After(end) {
			t.Fatal("the cluster does not come together")
		}
	}
}

// clusterSees reports whether the node finds all slots and nodes well.
func (s *Server) clusterSees(n int) bool {
	return s.says("CLUSTER INFO", "cluster_state:ok") && s.says("CLUSTER INFO", fmt.Sprintf("cluster_known_nodes:%d\r", n))
}

// says reports whether what the server answers to a command has a text in it.
func (s *Server) says(command, text string) bool {
	c, err := net.DialTimeout("tcp", s.addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(c, "%s\r\n", command)
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	var size int
	if n, _ := fmt.Sscanf(line, "$%d", &size); err != nil || n != 1 {
		return false
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return false
	}
	return strings.Contains(string(b), text)
}
