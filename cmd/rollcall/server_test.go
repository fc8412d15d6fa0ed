package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/api"
)

// initialize writes a configuration for free ports and returns the SIP and HTTP addresses.
func (s *shell) initialize() (sip, web string) {
	s.t.Helper()
	sip, web = freeAddress(s.t), freeAddress(s.t)
	s.ok("init", "--domain", "example.com", "--data-dir", "data", "--listen", sip, "--http", web, "--yes")
	return sip, web
}

// serve starts the server and waits until it answers on its socket.
func (s *shell) serve() *process {
	s.t.Helper()
	p := s.start("serve")
	await(s.t, "the server", func() bool {
		client, err := api.Dial(s.t.Context(), filepath.Join(s.dir, "data", "rollcall.sock"))
		if err == nil {
			client.Close()
		}
		return err == nil
	})
	return p
}

// notifications collects what the server tells systemd.
func (s *shell) notifications() *buffer {
	s.t.Helper()
	path := filepath.Join(s.dir, "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	b := &buffer{}
	go func() {
		p := make([]byte, 4096)
		for {
			n, err := conn.Read(p)
			if err != nil {
				return
			}
			_, _ = b.Write(append(p[:n:n], '\n'))
		}
	}()
	s.env = append(s.env, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=200000")
	return b
}

// From nothing to messages and a record, as docs/start.md has it.
func TestInitCheckServe(t *testing.T) {
	s := newShell(t)
	sip, web := s.initialize()
	if out := s.ok("check"); !strings.Contains(out, "udp "+sip+" is free") {
		t.Errorf("check:\n%s", out)
	}
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	s.ok("user", "add", "alice", "--display-name", "Alice Adams", "--unit", "sales")
	s.fails(1, "account exists", "user", "add", "alice@example.com")
	s.fails(1, "in none of the domains", "user", "add", "alice@example.net")

	told := s.notifications()
	server := s.start("serve")
	await(t, "READY=1", func() bool { return strings.Contains(told.String(), "READY=1\n") })
	await(t, "WATCHDOG=1", func() bool { return strings.Contains(told.String(), "WATCHDOG=1\n") })

	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/": 404, "/openapi.json": 200, "/api/v1/users": 401, "/api/v1/status": 401} {
		res, err := http.Get("http://" + web + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("GET %s: %s, want %d", path, res.Status, want)
		}
	}
	if info, err := os.Stat(filepath.Join(s.dir, "data", "rollcall.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("control socket: %v, %v", info, err)
	}
	s.fails(0, "held by the running server", "check")
	s.fails(1, "a server is running on", "serve") // a second one of the same folder

	s.ok("user", "add", "bob")
	s.write("carol.pw", "other secret\n")
	s.ok("user", "add", "carol", "--password-file", "carol.pw")
	if got, want := s.ok("user", "list"), "sip:alice@example.com\tenabled\tAlice Adams\t\tsales\t\nsip:bob@example.com\tenabled\t\t\t\t\nsip:carol@example.com\tenabled\t\t\t\t\n"; got != want {
		t.Errorf("user list\n got %q\nwant %q", got, want)
	}

	watch := s.start("watch", "bob", "--json")
	watch.await(`"kind":"registered"`)
	if out := s.ok("send", "alice", "bob", "grüße"); out != "200 OK\n" {
		t.Errorf("send printed %q", out)
	}
	watch.await(`"text":"grüße"`)
	var regs []api.Registration
	if err := json.Unmarshal([]byte(s.ok("registrations", "bob", "--json")), &regs); err != nil || len(regs) != 1 || regs[0].AOR != "sip:bob@example.com" || !regs[0].Expires.After(time.Now()) {
		t.Errorf("registrations %+v, %v", regs, err)
	}
	if out := s.ok("registrations", "alice", "--json"); out != "[]\n" {
		t.Errorf("registrations of alice: %s", out)
	}
	s.fails(1, "no such account", "registrations", "nobody")
	if out := s.ok("send", "alice", "carol", "call me", "--transport", "tcp"); out != "202 Accepted\n" {
		t.Errorf("send to one who is away printed %q", out)
	}
	s.fails(1, "404", "send", "alice", "nobody", "hello")
	s.fails(2, "is not udp or tcp", "send", "alice", "bob", "hello", "--transport", "tls")
	if out := s.run("from standard input", "send", "alice", "bob", "-", "--server", sip, "--json"); out.code != 0 || !strings.Contains(out.stdout, `"status": 200`) {
		t.Errorf("send from standard input: %+v", out)
	}
	tail := s.start("archive", "tail", "-n", "1000")
	tail.await("from standard input")
	s.write("wrong.pw", "wrong\n")
	s.fails(1, "the password is not that of the account", "send", "alice", "bob", "hello", "--password-file", "wrong.pw")

	found := s.ok("archive", "search", "grüße", "from:alice")
	if !strings.Contains(found, "\tsip:alice@example.com\tsip:bob@example.com\tgrüße\n") {
		t.Errorf("archive search printed %q", found)
	}
	id, _, _ := strings.Cut(found, "\t")
	if out := s.ok("archive", "show", id); !strings.Contains(out, "grüße") || !strings.Contains(out, "delivered") {
		t.Errorf("archive show:\n%s", out)
	}
	var stats struct{ Records, Messages, Bytes int64 }
	if err := json.Unmarshal([]byte(s.ok("archive", "stats", "--json", "--dir", "data/archive")), &stats); err != nil || stats.Messages < 2 || stats.Records <= stats.Messages || stats.Bytes == 0 {
		t.Errorf("archive stats %+v, %v", stats, err)
	}
	s.ok("archive", "verify")

	s.ok("user", "disable", "alice")
	s.fails(1, "403", "send", "alice", "bob", "hello")
	s.ok("user", "enable", "alice")
	s.ok("user", "passwd", "alice", "--password-file", "carol.pw")
	s.ok("send", "alice", "bob", "again", "--password-file", "carol.pw")
	s.fails(1, "no such account", "user", "disable", "nobody")

	// A reload takes what is good and leaves what is not.
	path := filepath.Join(s.dir, "rollcall.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s.write("rollcall.toml", strings.Replace(string(text), `# min_expires = "1m"`, `min_expire = "1m"`, 1))
	if err := server.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	server.await("min_expire: unknown key")
	s.write("rollcall.toml", strings.Replace(string(text), `# min_expires = "1m"`, `min_expires = "2m"`, 1))
	if err := server.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await(t, "a second RELOADING=1", func() bool {
		parts := strings.Split(told.String(), "RELOADING=1\nMONOTONIC_USEC=")
		return len(parts) == 3 && strings.Contains(parts[2], "READY=1\n")
	})
	// 90 s are too short since then: the agent hears 423 and takes the shortest there is.
	brief := s.start("watch", "alice", "--password-file", "carol.pw", "--expires", "90s")
	brief.await("registered for 2m0s")
	brief.stop(syscall.SIGINT)

	tail.await("\tagain\n")
	if code := tail.stop(syscall.SIGINT); code != 0 {
		t.Errorf("archive tail ended with %d", code)
	}
	if r := s.run(s.ok("bench", "users", "--users", "3"), "user", "import", "-"); r.code != 0 {
		t.Errorf("import of the users of a load: %+v", r)
	}
	var load struct{ Load struct{ OK int } }
	if err := json.Unmarshal([]byte(s.ok("bench", "message", "--users", "3", "--count", "5", "--warmup", "0s", "--json")), &load); err != nil || load.Load.OK < 5 {
		t.Errorf("bench: %+v, %v", load, err)
	}
	if err := json.Unmarshal([]byte(s.ok("bench", "presence", "--users", "3", "--watchers", "2", "--count", "5", "--warmup", "0s", "--json")), &load); err != nil || load.Load.OK != 5 {
		t.Errorf("bench presence: %+v, %v", load, err)
	}
	if code := watch.stop(syscall.SIGINT); code != 0 {
		t.Errorf("watch ended with %d", code)
	}
	if code := server.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("serve ended with %d", code)
	}
	if !strings.Contains(told.String(), "STOPPING=1\n") {
		t.Errorf("systemd was told %q", told)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "data", "rollcall.sock")); err == nil {
		t.Error("the control socket is still there")
	}
	// Accounts and the record are there without a server.
	if out := s.ok("user", "list"); strings.Count(out, "\n") != 6 {
		t.Errorf("accounts after the end:\n%s", out)
	}
	s.ok("archive", "verify")
	for _, line := range []string{"registrations", "presence alice", "subscriptions", "explain bob alice", "send alice bob hello", "publish alice open", "watch bob",
		"bench register"} {
		s.fails(1, "no server is running", strings.Fields(line)...)
	}
	s.ok("check")
}

const csvHeader = "aor,password,display_name,email,unit,groups\n"

// The same accounts with and without a server.
func TestImportExport(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("server %v", running), func(t *testing.T) {
			s := newShell(t)
			s.initialize()
			if running {
				s.serve()
			}
			s.write("staff.csv", csvHeader+
				"sip:alice@example.com,correct horse,\"Able, Alice\",alice@example.com,Sales,sales;berlin\n"+
				"sip:bob@example.com,battery staple,Bob Baker,,Support,\n")
			if out := s.ok("user", "import", "staff.csv", "--json"); !strings.Contains(out, `"added": 2`) {
				t.Errorf("import printed %s", out)
			}
			exported := s.ok("user", "export")
			want := csvHeader + "sip:alice@example.com,,\"Able, Alice\",alice@example.com,Sales,sales;berlin\nsip:bob@example.com,,Bob Baker,,Support,\n"
			if exported != want {
				t.Errorf("export\n got %q\nwant %q", exported, want)
			}
			// An export can be imported: the passwords stay.
			s.write("again.csv", strings.Replace(exported, "Support", "Help", 1))
			s.ok("user", "import", "again.csv")
			s.ok("user", "export", "--output", "out.csv")
			if b, err := os.ReadFile(filepath.Join(s.dir, "out.csv")); err != nil || !strings.Contains(string(b), "Bob Baker,,Help,") {
				t.Errorf("export after the change: %s, %v", b, err)
			}
			// One faulty line refuses all, with its number.
			s.write("bad.csv", csvHeader+"sip:dave@example.com,pw,,,,\nsip:@,pw,,,,\n")
			s.fails(1, "line 3", "user", "import", "bad.csv")
			s.write("bad.csv", csvHeader+"sip:dave@example.com,,,,,\n") // new, and no password
			s.fails(1, "line 2", "user", "import", "bad.csv")
			s.write("bad.csv", "name,password\nx,y\n")
			s.fails(1, "line 1", "user", "import", "bad.csv")
			if out := s.ok("user", "export"); strings.Contains(out, "dave") {
				t.Errorf("a refused file has left an account:\n%s", out)
			}
			if r := s.run(csvHeader+"sip:erin@example.com,pw,,,,\n", "user", "import", "-"); r.code != 0 {
				t.Errorf("import from standard input: %+v", r)
			}
		})
	}
}

func TestImportManyLines(t *testing.T) {
	s := newShell(t)
	s.initialize()
	var b strings.Builder
	b.WriteString(csvHeader)
	const n = 20000
	for i := range n {
		fmt.Fprintf(&b, "sip:user%d@example.com,password%d,User %d,,unit%d,\n", i, i, i, i%50)
	}
	s.write("many.csv", b.String())
	s.serve()
	if out := s.ok("user", "import", "many.csv"); !strings.Contains(out, fmt.Sprintf("added %d", n)) {
		t.Errorf("import printed %s", out)
	}
	if got := strings.Count(s.ok("user", "list"), "\n"); got != n {
		t.Errorf("%d accounts, want %d", got, n)
	}
}

// Commands that open the store and a server that starts at the same time all succeed.
func TestCommandsBesideStart(t *testing.T) {
	s := newShell(t)
	s.initialize()
	s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
	var commands []*process
	for i := range 6 {
		commands = append(commands, s.start("user", "add", fmt.Sprintf("user%d", i)))
		if i == 2 {
			s.start("serve")
		}
	}
	for _, c := range commands {
		c.await("added sip:user")
	}
	if out := s.ok("user", "list"); strings.Count(out, "\n") != 6 {
		t.Errorf("accounts:\n%s", out)
	}
}

func TestDev(t *testing.T) {
	s := newShell(t)
	addr := freeAddress(t)
	dev := s.start("dev", "--listen", addr)
	dev.await("Ctrl-C ends")
	if strings.Contains(dev.out.String(), "--config") {
		t.Errorf("dev shows flags that are not needed:\n%s", dev.out)
	}
	if out := s.ok("send", "alice", "carol", "hello"); out != "202 Accepted\n" {
		t.Errorf("send printed %q", out)
	}
	watch := s.start("watch", "carol")
	watch.await("hello")
	if out := s.ok("archive", "search", "hello"); !strings.Contains(out, "carol@localhost") {
		t.Errorf("archive search printed %q", out)
	}
	if r := s.run("", "dev", "--listen", addr); r.code != 1 || !strings.Contains(r.stderr, addr+" is taken by rollcall (pid ") {
		t.Errorf("a second dev on the same port: %+v", r)
	}
	// A second one elsewhere, where another configuration comes first: its hints name its own.
	s.write("rollcall.toml", "domains = [\"example.com\"]\ndata_dir = \"data\"\n")
	second := s.start("dev", "--listen", freeAddress(t), "--http", "127.0.0.1:0")
	second.await("Ctrl-C ends")
	if !strings.Contains(second.out.String(), "watch bob alice --config "+s.dir) {
		t.Errorf("dev beside ./rollcall.toml shows\n%s", second.out)
	}
	if code := second.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("the second dev ended with %d", code)
	}
	watch.stop(syscall.SIGINT)
	if code := dev.stop(syscall.SIGINT); code != 0 {
		t.Errorf("dev ended with %d", code)
	}
	left, err := filepath.Glob(filepath.Join(s.dir, "rollcall-dev-*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
