package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"rollcall/config"
	"rollcall/sip"
	"rollcall/store"
	"rollcall/store/storetest"
)

// A handler that panics is answered 500 and counted, on the receive loop and off
// it, and the process lives.
func TestPanic(t *testing.T) {
	methods["PANIC"] = method{func(*request) { panic("on purpose") }, true}
	t.Cleanup(func() { delete(methods, "PANIC") })
	for _, local := range []bool{true, false} {
		s, err := New(testConfig(t), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		s.local = local
		h := run(t, s)
		for i, proto := range []string{"UDP", "TCP"} {
			c := h.client("alice", proto)
			text := c.request("PANIC", "sip:example.com", "")
			if m := c.ask(text); m.Status() != 500 || m.Reason() != "Server Internal Error" {
				t.Errorf("answered %d %s", m.Status(), m.Reason())
			}
			if proto == "UDP" && c.ask(text).Status() != 500 {
				t.Error("the retransmission was answered otherwise")
			}
			if n := h.counters.panics.n.Load(); n != uint64(i+1) {
				t.Errorf("%d panics counted", n)
			}
			if m := c.ask(c.request("OPTIONS", "sip:example.com", "")); m.Status() != 200 {
				t.Errorf("afterwards: %d", m.Status())
			}
		}
		eventually(t, "done", func() bool { return h.tx.Counters.Active.Load() == 0 })
		if err := h.stop(); err != nil {
			t.Error(err)
		}
	}
}

// A store that is not local is served off the receive loop, with the same
// answers.
func TestOffTheReceiveLoop(t *testing.T) {
	t.Parallel()
	s, err := New(testConfig(t), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	s.local = false
	h := run(t, s)
	alice, bob := h.client("alice", "UDP"), h.client("bob", "TCP")
	bob.register("")
	alice.send(alice.authorized("MESSAGE", "sip:bob@example.com", "hello"))
	bob.answer(200)
	if m := alice.next(10 * time.Second); m == nil || m.Status() != 200 {
		t.Fatalf("alice heard %v", m)
	}
	alice.want(404, "MESSAGE", "sip:nobody@example.com", "hello")
	alice.want(489, "SUBSCRIBE", "sip:bob@example.com", "", "Event: x")
	eventually(t, "done", func() bool { return h.tx.Counters.Active.Load() == 0 })
}

// While the server stops, running requests end and new ones hear 503.
func TestDrain(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *config.Config) { c.IM.AnswerAfter.Duration = 1500 * time.Millisecond })
	alice, bob := h.client("alice", "UDP"), h.client("bob", "UDP")
	other := h.client("alice", "UDP")
	bob.register("")
	alice.send(alice.authorized("MESSAGE", "sip:bob@example.com", "hello"))
	if bob.next(10*time.Second) == nil {
		t.Fatal("bob got nothing")
	}
	done := make(chan error, 1)
	go func() { done <- h.stop() }()
	eventually(t, "draining", h.draining.Load)
	m := other.ask(other.request("OPTIONS", "sip:example.com", ""))
	if m.Status() != 503 || m.Get(sip.HeaderRetryAfter) == "" {
		t.Errorf("a new request:\n%s", m.Raw())
	}
	if problems := (backend{h.Server}).Problems(t.Context()); !slices.Contains(problems, "server: stopping") {
		t.Errorf("problems %q", problems)
	}
	if m := alice.next(10 * time.Second); m == nil || m.Status() != 202 {
		t.Errorf("the running request: %v", m)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not stop when the requests have ended")
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.WarnLevel)
	cfg := testConfig(t, func(c *config.Config) { c.IM.OfflineLimit = 1 })
	h := startWith(t, cfg, zap.New(core))
	alice, bob := h.client("alice", "UDP"), h.client("bob", "UDP")
	alice.want(423, "REGISTER", "sip:example.com", "", "Contact: <sip:alice@192.0.2.1>;expires=20")
	alice.want(202, "MESSAGE", "sip:bob@example.com", "one")
	alice.want(480, "MESSAGE", "sip:bob@example.com", "two")
	next := *cfg
	next.Registrar.MinExpires.Duration = 10 * time.Second
	next.IM.OfflineLimit = 2
	next.Domains = []string{"example.net"} // after a restart
	if err := h.Reload(&next); err != nil {
		t.Fatal(err)
	}
	alice.want(200, "REGISTER", "sip:example.com", "", "Contact: <sip:alice@192.0.2.1>;expires=20")
	alice.want(202, "MESSAGE", "sip:bob@example.com", "two")
	alice.want(480, "MESSAGE", "sip:bob@example.com", "three")
	if m := alice.ask(alice.request("OPTIONS", "sip:example.net", "")); m.Status() != 404 {
		t.Errorf("a domain that comes with the next start: %d", m.Status())
	}
	found := false
	for _, e := range logs.All() {
		found = found || e.ContextMap()["key"] == "domains"
	}
	if !found {
		t.Error("nothing says that domains applies after a restart")
	}
	_ = bob
}

func TestReloadReadsTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "rollcall.toml")
	write := func(more string) {
		text := fmt.Sprintf("domains = [\"example.com\"]\ndata_dir = %q\n[[listen]]\naddress = \"127.0.0.1:0\"\ntransport = \"udp\"\n[http]\naddress = \"\"\n%s", dir+"/data", more)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	h := startWith(t, cfg, zap.NewNop())
	if h.HTTPAddr() != "" {
		t.Errorf("http at %q", h.HTTPAddr())
	}
	write("[im]\noffline_limit = 7\n")
	if err := (backend{h.Server}).Reload(t.Context()); err != nil || h.cfg.Load().IM.OfflineLimit != 7 {
		t.Errorf("%v, offline_limit %d", err, h.cfg.Load().IM.OfflineLimit)
	}
	write("[im]\noffline_limit = 8\nofline_life = \"1h\"\n")
	if err := (backend{h.Server}).Reload(t.Context()); err == nil || h.cfg.Load().IM.OfflineLimit != 7 {
		t.Errorf("a file with a wrong key: %v, offline_limit %d", err, h.cfg.Load().IM.OfflineLimit)
	}
}

// get asks over HTTP.
func (h *house) get(path string) (int, string) {
	h.t.Helper()
	resp, err := http.Get("http://" + h.HTTPAddr() + path)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestXCAP: documents are beside the rest, and paths come to them unchanged.
func TestXCAP(t *testing.T) {
	t.Parallel()
	h := start(t)
	for path, want := range map[string]int{
		"/xcap/xcap-caps/global/index":                                 401,
		"/xcap/resource-lists/users/sip:alice@example.com/../x":        404,
		"/xcap/resource-lists/users/sip:alice@example.com/index/~~/a[": 400,
		"/xcap": 404,
	} {
		if status, body := h.get(path); status != want {
			t.Errorf("%s: %d, want %d: %s", path, status, want, body)
		}
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := h.client("alice", "UDP")
	c.register("")
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": `rollcall_server_requests_total{method="REGISTER"} 2`} {
		if status, body := h.get(path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d, no %q in\n%.2000s", path, status, want, body)
		}
	}
	if status, _ := h.get("/debug/pprof/"); status != 404 {
		t.Errorf("profiles for everybody: %d", status)
	}
}

// Without its journal the server refuses messages, says that it is not ready,
// and does the rest of its work.
func TestReadyWithoutJournal(t *testing.T) {
	t.Parallel()
	s, err := New(testConfig(t), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	h := run(t, s)
	if err := h.journal.Close(); err != nil {
		t.Fatal(err)
	}
	if status, body := h.get("/readyz"); status != 503 || !strings.Contains(body, "journal") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, _ := h.get("/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
	alice, bob := h.client("alice", "UDP"), h.client("bob", "UDP")
	bob.register("")
	if m := alice.want(503, "MESSAGE", "sip:bob@example.com", "lost"); m.Get(sip.HeaderRetryAfter) == "" {
		t.Errorf("no Retry-After:\n%s", m.Raw())
	}
	if m := bob.next(100 * time.Millisecond); m != nil {
		t.Errorf("bob got\n%s", m.Raw())
	}
	h.closers = slices.Delete(h.closers, 2, 3) // the journal is closed already
}

func TestReadyWithoutStore(t *testing.T) {
	t.Parallel()
	s, err := New(testConfig(t), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	faulty := storetest.Faulty(s.store, storetest.Faults{})
	s.store = faulty
	h := run(t, s)
	faulty.Down(true)
	if status, body := h.get("/readyz"); status != 503 || !strings.Contains(body, "store") || strings.Contains(body, "journal") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	faulty.Down(false)
	if status, body := h.get("/readyz"); status != 200 {
		t.Errorf("/readyz: %d %s", status, body)
	}
}

// The server's own keys are made once, for nobody else to read.
func TestKeys(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	files := []string{cfg.DataDir + "/node", cfg.KeysDir + "/branch.key"}
	var first [][]byte
	for range 2 {
		s, err := New(cfg, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		for i, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", file, info.Mode())
			}
			if len(first) <= i {
				first = append(first, b)
			} else if !bytes.Equal(first[i], b) {
				t.Errorf("%s was made anew", file)
			}
		}
	}
	if info, _ := os.Stat(cfg.KeysDir); info.Mode().Perm() != 0o700 {
		t.Errorf("keys_dir has mode %v", info.Mode())
	}
	other := testConfig(t)
	s, err := New(other, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	_ = s.close()
	if b, _ := os.ReadFile(other.KeysDir + "/branch.key"); bytes.Equal(b, first[1]) {
		t.Error("two servers have one key")
	}
	for _, bad := range []string{"", "\n", "not hex\n", "0011\n"} {
		if err := os.WriteFile(files[1], []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := New(cfg, zap.NewNop()); err == nil {
			_ = s.close()
			t.Errorf("a key file with %q was taken", bad)
		} else if !strings.Contains(err.Error(), "branch.key") {
			t.Errorf("the error does not name the file: %v", err)
		}
	}
}

// One server at a time has a data_dir, and the second leaves nothing open.
func TestOneServerOnADataDir(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	h := startWith(t, cfg, zap.NewNop())
	second := *cfg
	if s, err := New(&second, zap.NewNop()); err == nil {
		_ = s.close()
		t.Fatal("a second server took the data_dir")
	}
	c := h.client("alice", "UDP")
	c.register("")
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	startWith(t, &second, zap.NewNop())
}

// Our own sockets share a port; another server's do not join them.
func TestOneServerOnAPort(t *testing.T) {
	t.Parallel()
	h := start(t)
	for i, proto := range []string{"udp", "tcp"} {
		cfg := testConfig(t, func(c *config.Config) {
			c.Listen = []config.Listen{{Address: h.Addrs()[i].String(), Transport: proto}}
		})
		s, err := New(cfg, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		if err := s.Run(ctx); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("%s: a second server on the port: %v", proto, err)
		}
		cancel()
	}
	c := h.client("alice", "UDP")
	for range 50 { // nobody takes packets away
		if m := c.ask(c.request("OPTIONS", "sip:example.com", "")); m.Status() != 200 {
			t.Fatalf("answered %d", m.Status())
		}
	}
}

// A challenge leaves nothing behind, however many are asked for.
func TestFloodWithoutCredentials(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := h.client("alice", "TCP")
	const flood = 5000
	var b strings.Builder
	for i := range flood {
		method, uri := "REGISTER", "sip:example.com"
		if i%2 == 1 {
			method, uri = "MESSAGE", "sip:bob@example.com"
		}
		b.WriteString(c.request(method, uri, ""))
	}
	go func() { _, _ = io.WriteString(c.conn, b.String()) }()
	for i := range flood {
		m := c.next(20 * time.Second)
		if m == nil || m.Status() != 401 && m.Status() != 407 {
			t.Fatalf("answer %d: %v", i, m)
		}
	}
	u := h.client("alice", "UDP")
	for range 500 {
		if m := u.ask(u.request("REGISTER", "sip:example.com", "")); m.Status() != 401 {
			t.Fatalf("answered %d", m.Status())
		}
	}
	if n, bytes := h.tx.FinishedBytes(); n != 0 || h.tx.Counters.Active.Load() != 0 {
		t.Errorf("%d finished transactions with %d bytes, %d running", n, bytes, h.tx.Counters.Active.Load())
	}
	// Clients that answer a challenge under the same branch and CSeq get through.
	text := u.authorized("REGISTER", "sip:example.com", "", "Via: SIP/2.0/UDP "+u.conn.LocalAddr().String()+";rport;branch=z9hG4bKsame", "CSeq: 7 REGISTER")
	if m := u.ask(text); m.Status() != 200 {
		t.Errorf("under the same branch: %d", m.Status())
	}
}

// A connection takes its bindings along.
func TestConnectionClose(t *testing.T) {
	t.Parallel()
	h := start(t)
	c, other := h.client("bob", "TCP"), h.client("bob", "UDP")
	c.register("")
	other.register("")
	bound := func() int {
		list, err := h.registrar.Lookup(t.Context(), aor(t, "bob"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if n := bound(); n != 2 {
		t.Fatalf("%d bindings", n)
	}
	_ = c.conn.Close()
	eventually(t, "gone", func() bool { return bound() == 1 })
	eventually(t, "removed from the store", func() bool {
		for _, k := range store.Kinds() {
			if k.Name() == "binding" {
				set, err := h.store.Load(t.Context(), store.Key{Kind: k, Owner: "sip:bob@example.com"})
				return err == nil && len(set.Items) == 1
			}
		}
		return false
	})
	list, err := (backend{h.Server}).Registrations(t.Context(), "")
	if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].Flow, "udp ") {
		t.Errorf("registrations %v, %v", list, err)
	}
}

// Who is locked out loses the bindings too.
func TestDisable(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := h.client("bob", "UDP")
	c.register("")
	b := backend{h.Server}
	if err := b.Users().SetDisabled(t.Context(), "sip:bob@example.com", true); err != nil {
		t.Fatal(err)
	}
	if list, err := b.Registrations(t.Context(), "sip:bob@example.com"); err != nil || len(list) != 0 {
		t.Errorf("registrations %v, %v", list, err)
	}
	c.want(403, "REGISTER", "sip:example.com", "")
	h.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "mail for it is kept")
}

// Messages that wait, and accounts, are there after a restart.
func TestRestart(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	h := startWith(t, cfg, zap.NewNop())
	h.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "hello")
	tcp := h.client("bob", "TCP")
	_ = tcp
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h = startWith(t, cfg, zap.NewNop())
	bob := h.client("bob", "UDP")
	bob.register("")
	if m := bob.answer(200); m.Body() != "hello" {
		t.Errorf("bob got\n%s", m.Raw())
	}
	eventually(t, "taken", func() bool {
		n, err := h.relay.Waiting(t.Context(), aor(t, "bob"))
		return n == 0 && err == nil
	})
}

func TestWorkers(t *testing.T) {
	t.Parallel()
	var w workers
	done := make(chan int, 100)
	for i := range 100 {
		w.Go(func() { done <- i })
	}
	seen := map[int]bool{}
	for range 100 {
		seen[<-done] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d tasks ran", len(seen))
	}
	slow := make(chan struct{})
	ran := false
	w.Go(func() { <-slow; ran = true })
	go close(slow)
	w.Wait()
	if !ran {
		t.Error("Wait did not wait")
	}
}
