package integration

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// binary is the path of the rollcall that TestMain built, or of the one that
// ROLLCALL_BINARY names, such as that of a package.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "rollcall-integration-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if binary = os.Getenv("ROLLCALL_BINARY"); binary != "" {
			return m.Run()
		}
		binary = filepath.Join(dir, "rollcall")
		build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "rollcall/cmd/rollcall")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build rollcall: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// ports hands out each port once in a run. They lie below the range from which
// the kernel takes ports for outgoing connections, so that a port stays free
// between its choice and its use, and while a server is being restarted.
var ports struct {
	sync.Mutex
	next int
}

// freePorts returns the first of n consecutive loopback ports that are free for
// UDP and TCP.
func freePorts(t testing.TB, n int) int {
	t.Helper()
	const low, high = 11000, 31000
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		ports.next = low + rand.IntN(high-low)
	}
	for range high - low {
		if ports.next+n > high {
			ports.next = low
		}
		first := ports.next
		if free(first, n) {
			ports.next += n
			return first
		}
		ports.next++
	}
	t.Fatal("no free ports")
	return 0
}

func free(first, n int) bool {
	for port := first; port < first+n; port++ {
		at := loopback(port)
		l, err := net.Listen("tcp", at)
		if err != nil {
			return false
		}
		l.Close()
		pc, err := net.ListenPacket("udp", at)
		if err != nil {
			return false
		}
		pc.Close()
	}
	return true
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
