package integration

import (
	"fmt"
	"testing"

	"rollcall/sip/siptest"
)

// startServerTLS starts a server that listens over TLS too, and returns where.
func startServerTLS(t testing.TB) (s *server, addr string) {
	t.Helper()
	cert := siptest.NewCertificate(t, nil, domain)
	addr = loopback(freePorts(t, 1))
	return startServerWith(t, setup{accounts: []account{alice, bob, carol}, toml: fmt.Sprintf(
		"[[listen]]\naddress = %q\ntransport = \"tls\"\ncert_file = %q\nkey_file = %q\n", addr, cert.CertFile, cert.KeyFile)}), addr
}

// startServerFor starts a server and returns where it listens over a transport.
func startServerFor(t testing.TB, transport string) (addr string) {
	t.Helper()
	if transport == "tls" {
		_, addr = startServerTLS(t)
		return addr
	}
	return startServer(t).addr
}

// TestClientsOverTLS has clients over TLS write to each other, and to one over
// UDP.
func TestClientsOverTLS(t *testing.T) {
	type start func(t testing.TB, addr, transport string, a, peer account) client
	for name, c := range map[string]struct {
		first, second start
		transport     string // of the second
	}{
		"baresip-linphone":  {startBaresip, startLinphone, "tls"},
		"linphone-linphone": {startLinphone, startLinphone, "tls"},
		"baresip-baresip":   {startBaresip, startBaresip, "tls"},
		"linphone-sipp":     {startLinphone, startSipp, "udp"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, addr := startServerTLS(t)
			second := addr
			if c.transport != "tls" {
				second = s.addr
			}
			exchange(t, c.first(t, addr, "tls", alice, bob), c.second(t, second, c.transport, bob, alice))
		})
	}
}

// TestKeptForAClientOverTLS has a message wait for a client that comes over TLS.
func TestKeptForAClientOverTLS(t *testing.T) {
	for name, start := range map[string]func(t testing.TB, addr, transport string, a, peer account) client{"baresip": startBaresip, "linphone": startLinphone} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, addr := startServerTLS(t)
			newPhone(t, s.addr, "udp", alice).mustMessage(bob, greeting, 202)
			receiver := start(t, addr, "tls", bob, alice)
			if err := receiver.Register(); err != nil {
				t.Fatal(err)
			}
			expect(t, receiver, alice, greeting)
			receiver.Close()
		})
	}
}
