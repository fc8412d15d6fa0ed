package main

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/sip/siptest"
	"rollcall/store/redis/redistest"
)

// Each fault is found, and said with what to do.
func TestCheckFindsFaults(t *testing.T) {
	find := func(t *testing.T, s *shell, what, text, fix string) {
		t.Helper()
		r := s.run("", "check", "--json")
		var found []finding
		if err := json.Unmarshal([]byte(r.stdout), &found); err != nil {
			t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
		}
		for _, f := range found {
			if f.What == what && !f.OK && strings.Contains(f.Text, text) && strings.Contains(f.Fix, fix) {
				if r.code != 1 {
					t.Errorf("exit code %d with a fault", r.code)
				}
				return
			}
		}
		t.Errorf("no fault of %s with %q and %q in\n%s", what, text, fix, r.stdout)
	}

	t.Run("ports", func(t *testing.T) {
		s := newShell(t)
		sip, web := s.initialize()
		u, err := net.ListenPacket("udp", sip)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		l, err := net.Listen("tcp", web)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		find(t, s, "listen", "udp port "+sip+" is taken by ", "choose another address")
		find(t, s, "http", "tcp port "+web+" is taken by ", "choose another address")
	})

	t.Run("folders", func(t *testing.T) {
		s := newShell(t)
		s.initialize()
		s.write("data", "a file")
		find(t, s, "data_dir", "is not a folder", "")
		if err := os.Remove(filepath.Join(s.dir, "data")); err != nil {
			t.Fatal(err)
		}
		keys := filepath.Join(s.dir, "data", "keys")
		if err := os.MkdirAll(keys, 0o755); err != nil {
			t.Fatal(err)
		}
		find(t, s, "keys_dir", "can be read by others", "chmod 700")
	})

	t.Run("certificates", func(t *testing.T) {
		day := 24 * time.Hour
		for _, test := range []struct {
			change    func(*x509.Certificate)
			names     []string
			text, fix string
		}{
			{nil, []string{"example.com"}, "", ""},
			{func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "sip", Opaque: "example.com"}} }, []string{"example.org"}, "", ""},
			{nil, []string{"sip.example.com", "*.example.com"}, "is not for example.com", "have the domain among its names"},
			{func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "sip", Opaque: "example.org"}} }, []string{"example.com"}, "is not for example.com", ""},
			{func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-day / 2); c.NotBefore = c.NotAfter.Add(-day) }, []string{"example.com"}, " expired on ", "renew it"},
			{func(c *x509.Certificate) { c.NotBefore = time.Now().Add(day) }, []string{"example.com"}, "is valid from ", "clock"},
		} {
			cert := siptest.NewCertificate(t, test.change, test.names...)
			s := newShell(t)
			s.write("rollcall.toml", fmt.Sprintf("domains = [\"example.com\"]\ndata_dir = \"data\"\n[[listen]]\naddress = %q\ntransport = \"tls\"\ncert_file = %q\nkey_file = %q\n[http]\naddress = %q\n",
				freeAddress(t), cert.CertFile, cert.KeyFile, freeAddress(t)))
			if test.text != "" {
				find(t, s, "certificate", test.text, test.fix)
			} else if r := s.run("", "check"); r.code != 0 || !strings.Contains(r.stdout, cert.CertFile+", until ") {
				t.Errorf("%d\n%s%s", r.code, r.stdout, r.stderr)
			}
			if err := os.Remove(cert.KeyFile); err != nil {
				t.Fatal(err)
			}
			find(t, s, "certificate", "no such file", "name the chain and its key in PEM")
		}
		s := newShell(t)
		s.write("rollcall.toml", "domains = [\"example.com\"]\ndata_dir = \"data\"\n[[peer]]\ndomain = \"example.net\"\naddress = \"sip.example.net:5061\"\ntransport = \"tls\"\nca_file = \"ca.pem\"\n")
		find(t, s, "certificate", "peer example.net: open ", "in PEM")
		s.write("ca.pem", "no certificate")
		find(t, s, "certificate", "has no certificate in PEM", "")
	})

	t.Run("store", func(t *testing.T) {
		s := newShell(t)
		s.write("rollcall.toml", "domains = [\"example.com\"]\ndata_dir = \"data\"\nstore.url = \"redis://"+freeAddress(t)+"\"\n")
		find(t, s, "store", "open store", "whether Redis runs")
	})

	t.Run("redis", func(t *testing.T) {
		for _, test := range []struct {
			args []string
			code int
			say  string
		}{
			{nil, 0, "keeps all it has acknowledged"},
			{[]string{"--appendfsync", "everysec"}, 0, "may lose a second"},
			{[]string{"--appendonly", "no"}, 0, "set appendonly yes"},
			{[]string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, 1, "set maxmemory-policy noeviction"},
			{[]string{"--requirepass", "secret"}, 1, "store.password_file"},
		} {
			s := newShell(t)
			url, _ := redistest.Start(t, test.args...)
			s.write("rollcall.toml", fmt.Sprintf("domains = [\"example.com\"]\ndata_dir = \"data\"\n[[listen]]\naddress = %q\ntransport = \"udp\"\n[http]\naddress = %q\n[store]\nurl = %q\n",
				freeAddress(t), freeAddress(t), url))
			s.fails(test.code, test.say, "check")
		}
	})

	t.Run("archive", func(t *testing.T) {
		s := newShell(t)
		s.initialize()
		s.env = append(s.env, "ROLLCALL_PASSWORD=secret")
		s.ok("user", "add", "alice")
		server := s.serve()
		for _, text := range []string{"one", "two", "three"} {
			s.ok("send", "alice", "alice", text)
		}
		server.stop(syscall.SIGTERM)
		s.ok("check")
		files, err := filepath.Glob(filepath.Join(s.dir, "data", "archive", "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("archive files %v, %v", files, err)
		}
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		at := strings.Index(string(b), "sip:alice@example.com")
		if at < 0 {
			t.Fatal("the first message is not in the file")
		}
		b[at+4] ^= 1
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		find(t, s, "archive", filepath.Base(files[0]), "archive verify")
		s.fails(1, "fault\t", "archive", "verify")
		s.fails(1, "damaged\t", "archive", "verify")
	})

	t.Run("dead socket", func(t *testing.T) {
		s := newShell(t)
		s.initialize()
		server := s.serve()
		server.stop(syscall.SIGKILL)
		if out := s.ok("check"); !strings.Contains(out, "not running") {
			t.Errorf("check after kill -9:\n%s", out)
		}
		s.fails(1, "no server is running", "registrations")
		s.ok("user", "list")
		s.serve()
	})
}
