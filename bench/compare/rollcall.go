package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const rollcallName = "rollcall"

// rollcallConfig leaves everything at its default but addresses and folders:
// messages are recorded, and durable before they are relayed.
const rollcallConfig = `domains  = ["{{domain}}"]
data_dir = "{{dir}}/data"

[[listen]]
address   = "{{addr}}"
transport = "udp"

[[listen]]
address   = "{{addr}}"
transport = "tcp"

[store]
url = "{{store}}"

[archive]
journal    = "file"
durability = "fsync"
{{archive}}

[http]
address = "{{http}}"

[xcap]
documents = 1000

{{more}}`

// configure fills rollcallConfig in.
func (p *plan) configure(addr, httpAddr, dir, store string) []byte {
	r := strings.NewReplacer("{{addr}}", addr, "{{http}}", httpAddr, "{{domain}}", domain, "{{dir}}", dir, "{{store}}", store,
		"{{archive}}", p.archive, "{{more}}", p.more)
	return []byte(r.Replace(rollcallConfig))
}

// build makes the rollcall binary of this source tree.
func build(ctx context.Context, binary string, flags ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", binary}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "rollcall/cmd/rollcall")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build rollcall: %w\n%s", err, out)
	}
	return nil
}

// startRollcall sets up a rollcall with its accounts and starts it. The store
// is "embedded:" or the URL of an empty Redis.
func (p *plan) startRollcall(ctx context.Context, store string, accounts int) (*server, time.Duration, error) {
	dir, err := os.MkdirTemp(p.dir, "rollcall-")
	if err != nil {
		return nil, 0, err
	}
	port, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	httpPort, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	httpAddr := fmt.Sprintf("127.0.0.1:%d", httpPort)
	file := filepath.Join(dir, "rollcall.toml")
	if err := os.WriteFile(file, p.configure(addr, httpAddr, dir, store), 0o644); err != nil {
		return nil, 0, err
	}
	csv := filepath.Join(dir, "accounts.csv")
	if err := writeAccounts(csv, accounts); err != nil {
		return nil, 0, err
	}
	began := time.Now()
	if err := execute(ctx, dir, p.binary, "user", "import", "--config", file, csv); err != nil {
		return nil, 0, err
	}
	imported := time.Since(began)

	began = time.Now()
	proc, err := start(dir, "rollcall", p.binary, "serve", "--config", file)
	if err != nil {
		return nil, 0, err
	}
	s := &server{name: rollcallName, addr: addr, http: httpAddr}
	s.add(proc)
	client := &http.Client{Timeout: time.Second}
	ready := func() bool {
		answer, err := client.Get("http://" + httpAddr + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}
	if err := proc.await(ctx, time.Minute, ready); err != nil {
		s.stop()
		return nil, 0, err
	}
	s.ready = time.Since(began)
	client.CloseIdleConnections()
	if p.documents > 0 {
		if err := p.fill(ctx, httpAddr, accounts, p.documents); err != nil {
			s.stop()
			return nil, 0, err
		}
	}
	return s, imported, nil
}

// writeAccounts writes the accounts of the load in the format of
// `rollcall user import`; the password is the user name.
func writeAccounts(file string, n int) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "aor,password,display_name,email,unit,groups")
	for i := range n {
		fmt.Fprintf(w, "sip:u%06d@%s,u%06d,,,,\n", i, domain, i)
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// startRedis starts an empty Redis that keeps an append-only file, flushed
// each second, and no snapshots.
func (p *plan) startRedis(ctx context.Context) (*process, string, error) {
	program, err := need(ctx, p.log, "redis-server", "redis-server")
	if err != nil {
		return nil, "", err
	}
	dir, err := os.MkdirTemp(p.dir, "redis-")
	if err != nil {
		return nil, "", err
	}
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	proc, err := start(dir, "redis", program, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--daemonize", "no")
	if err != nil {
		return nil, "", err
	}
	if err := proc.await(ctx, 10*time.Second, func() bool { return ping(addr) }); err != nil {
		proc.stop()
		return nil, "", err
	}
	return proc, "redis://" + addr + "/0", nil
}
