package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/config"
	"rollcall/server"
)

// start runs a whole server and returns a client of its control socket, and its configuration.
func start(t *testing.T) (*api.Client, *config.Config, *server.Server) {
	t.Helper()
	dir, err := os.MkdirTemp("", "rc") // short: a socket's name must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := config.Default()
	cfg.Domains, cfg.DataDir, cfg.KeysDir, cfg.HTTP.Address = []string{"example.com"}, dir, filepath.Join(dir, "keys"), "127.0.0.1:0"
	cfg.Listen = []config.Listen{{Address: "127.0.0.1:0", Transport: "udp"}, {Address: "127.0.0.1:0", Transport: "tcp"}}
	s, err := server.New(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("server ended: %v", err)
		}
	})
	for range 1000 {
		if c, err := api.Dial(t.Context(), cfg.Socket()); err == nil {
			t.Cleanup(func() { c.Close() })
			return c, cfg, s
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the server does not answer")
	return nil, nil, nil
}

// request sends bytes to an address and returns the status line of the answer.
func request(t *testing.T, network, addr, raw string) string {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Logf("the server stopped reading: %v", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.Status + " " + strings.TrimSpace(string(body))
}

// Strangers reach health and metrics, and nothing else.
func TestPublic(t *testing.T) {
	_, _, s := start(t)
	for raw, want := range map[string]string{
		"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n":                             "200 OK ok",
		"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n":                              "200 OK ready",
		"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi":     "405 Method Not Allowed",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n":                                    "404 Not Found",
		"GET /api/v1/users HTTP/1.1\r\nHost: x\r\n\r\n":                        "401 Unauthorized",
		"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n": "401 Unauthorized",
		"GET /../rollcall.sock HTTP/1.1\r\nHost: x\r\n\r\n":                    "Temporary Redirect",
		"nonsense\r\n\r\n": "400 Bad Request",
		"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n": "431 Request Header Fields Too Large",
	} {
		if got := request(t, "tcp", s.HTTPAddr(), raw); !strings.Contains(got, want) {
			t.Errorf("%.40q: %s, want %s", raw, got, want)
		}
	}
	res, err := http.Get("http://" + s.HTTPAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(body), "rollcall_") {
		t.Errorf("metrics: %v\n%s", err, body)
	}
}

// The control socket refuses what it does not understand and changes nothing then.
func TestControlRefuses(t *testing.T) {
	c, cfg, _ := start(t)
	alice := api.User{AOR: "sip:alice@example.com", DisplayName: "Alice", Groups: []string{"a", "b"}}
	if err := c.Add(t.Context(), alice, "secret"); err != nil {
		t.Fatal(err)
	}
	call := func(method, path, body string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
	}
	for _, test := range []struct{ raw, want string }{
		{call("POST", "/api/v1/users", `{"aor":"sip:bob@example.com","pasword":"x"}`), `400 Bad Request {"error":"invalid: body: unknown field`},
		{call("POST", "/api/v1/users", `{"aor":`), "400 Bad Request"},
		{call("POST", "/api/v1/users", `{"aor":"sip:bob@example.com","password":"x","unit":"`+strings.Repeat("u", 100<<10)+`"}`), "400 Bad Request"},
		{call("POST", "/api/v1/users", `{"aor":"sip:bob@example.com","password":""}`), "400 Bad Request"},
		{call("POST", "/api/v1/users", `{"aor":"bob","password":"x"}`), "400 Bad Request"},
		{call("POST", "/api/v1/users", `{"aor":"sip:bob@example.net","password":"x"}`), "400 Bad Request"},
		{call("POST", "/api/v1/users", `{"aor":"sip:alice@example.com","password":"x"}`), "409 Conflict"},
		{call("PATCH", "/api/v1/users/sip:bob@example.com", `{"password":"x"}`), "404 Not Found"},
		{call("PATCH", "/api/v1/users/sip:alice@example.com", `{"password":"x","disabled":true}`), "400 Bad Request"},
		{call("PATCH", "/api/v1/users/sip:alice@example.com", `{}`), "400 Bad Request"},
		{call("PUT", "/api/v1/users/sip:alice@example.com", ""), "405 Method Not Allowed"},
		{call("GET", "/api/v1/registrations?aor=sip:bob@example.com", ""), "404 Not Found"},
		{call("POST", "/api/v1/reload", ""), "500 Internal Server Error"}, // it has no file
		{call("POST", "/api/v1/users/import", "aor,password\nsip:bob@example.com,x\nsip:@,x\n"), "line 3"},
		{call("GET", "/nonsense", ""), "404 Not Found"},
	} {
		if got := request(t, "unix", cfg.Socket(), test.raw); !strings.Contains(got, test.want) {
			t.Errorf("%.60q: %s, want %s", test.raw, got, test.want)
		}
	}
	var users []api.User
	if err := c.List(t.Context(), func(u api.User) error { users = append(users, u); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(users) != 1 || fmt.Sprint(users[0]) != fmt.Sprint(alice) {
		t.Errorf("accounts %+v, want alice alone as she was", users)
	}
}

// The errors of Users are the same at both ends of the socket.
func TestClientErrors(t *testing.T) {
	c, _, _ := start(t)
	alice := api.User{AOR: "sip:alice@example.com"}
	if err := c.Add(t.Context(), alice, "secret"); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(t.Context(), alice, "secret"); !errors.Is(err, api.ErrExists) || !strings.Contains(err.Error(), "alice") {
		t.Errorf("add again: %v", err)
	}
	if err := c.SetPassword(t.Context(), "sip:bob@example.com", "x"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("password of nobody: %v", err)
	}
	if err := c.SetPassword(t.Context(), alice.AOR, ""); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("empty password: %v", err)
	}
	if _, err := c.Import(t.Context(), strings.NewReader("aor\nsip:bob@example.com\n"), nil); !errors.Is(err, api.ErrInvalid) || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("import of a new account without a password: %v", err)
	}
	if _, err := c.Registrations(t.Context(), "sip:bob@example.com"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("registrations of nobody: %v", err)
	}
	if _, err := c.Presence(t.Context(), "sip:bob@example.com"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("presence of nobody: %v", err)
	}
	if _, err := c.Subscriptions(t.Context(), "sip:bob@example.com"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("subscriptions of nobody: %v", err)
	}
	if _, err := c.Subscriptions(t.Context(), "bob"); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("subscriptions of no address: %v", err)
	}
	if _, err := c.Explain(t.Context(), "", alice.AOR); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("explain for no watcher: %v", err)
	}
	if _, err := c.Explain(t.Context(), alice.AOR, "sip:bob@example.com"); !errors.Is(err, api.ErrNotFound) || !strings.Contains(err.Error(), "bob") {
		t.Errorf("explain of nobody: %v", err)
	}
	enough := errors.New("enough")
	if err := c.List(t.Context(), func(api.User) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("list that was stopped: %v", err)
	}
}

// An import whose sender goes away half way changes nothing.
func TestImportCutOff(t *testing.T) {
	c, cfg, _ := start(t)
	conn, err := net.Dial("unix", cfg.Socket())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /api/v1/users/import HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\naor,password\nsip:bob@example.com,x\n")
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err == nil && strings.Contains(string(answer), "imported") {
		t.Errorf("half an import was taken: %s", answer)
	}
	conn.Close()
	var users []string
	if err := c.List(t.Context(), func(u api.User) error { users = append(users, u.AOR); return nil }); err != nil || len(users) != 0 {
		t.Errorf("accounts %v, %v; want none", users, err)
	}
}

// A server that does not speak our language is not taken for one that does.
func TestClientOfSomethingElse(t *testing.T) {
	dir, err := os.MkdirTemp("", "rc")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.Listener = l
	other.Start()
	defer other.Close()
	c, err := api.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("status: %v", err)
	}
}
