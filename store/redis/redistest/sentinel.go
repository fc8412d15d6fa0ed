package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// StartSentinel starts a master, a replica of it that is in step, and one
// sentinel that promotes the replica about a second after the master is gone.
func StartSentinel(t testing.TB) (url string, master, replica *Server) {
	t.Helper()
	durable := []string{"--appendonly", "yes", "--repl-diskless-sync-delay", "0"}
	_, master = start(t, durable)
	host, port, _ := net.SplitHostPort(master.addr)
	_, replica = start(t, append(durable, "--replicaof", host+" "+port))
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	rules := fmt.Sprintf("sentinel monitor main %s %s 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n", host, port)
	if err := os.WriteFile(conf, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	_, sentinel := startWith(t, []string{conf}, []string{"--sentinel"})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if replica.says("INFO replication", "master_link_status:up") && sentinel.says("INFO sentinel", "slaves=1") {
			return "redis+sentinel://" + sentinel.addr + "/main", master, replica
		}
		if time.Now().After(end) {
			t.Fatal("the sentinel does not find the replica")
		}
	}
}
