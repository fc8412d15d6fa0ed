package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"go.uber.org/zap"

	"rollcall/auth"
	"rollcall/config"
	"rollcall/sip"
	"rollcall/sip/digest"
)

// house is a server that runs on loopback, on ports of its own choice.
type house struct {
	*Server
	t    *testing.T
	stop func() error // ends Run and returns what it returned

	roots *x509.CertPool // what clients over TLS trust
}

// testConfig is a configuration with everything on free ports of loopback.
func testConfig(t *testing.T, change ...func(*config.Config)) *config.Config {
	t.Helper()
	c := config.Default()
	c.Domains = []string{"example.com", "example.org"}
	c.DataDir = t.TempDir()
	c.KeysDir = c.DataDir + "/keys"
	c.Listen = []config.Listen{{Address: "127.0.0.1:0", Transport: "udp"}, {Address: "127.0.0.1:0", Transport: "tcp"}}
	c.HTTP.Address = "127.0.0.1:0"
	for _, f := range change {
		f(c)
	}
	return c
}

func start(t *testing.T, change ...func(*config.Config)) *house {
	t.Helper()
	return startWith(t, testConfig(t, change...), zap.NewNop())
}

func startWith(t *testing.T, c *config.Config, log *zap.Logger) *house {
	t.Helper()
	s, err := New(c, log)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, s)
}

// run adds the accounts alice and bob, whose passwords are their names, and
// serves.
func run(t *testing.T, s *Server) *house {
	t.Helper()
	for _, user := range []string{"alice", "bob"} {
		err := s.directory.Add(t.Context(), auth.Account{AOR: aor(t, user)}, user)
		if err != nil && !errors.Is(err, auth.ErrExists) {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var result error
	ended := false
	h := &house{Server: s, t: t}
	h.stop = func() error {
		if !ended {
			cancel()
			result, ended = <-done, true
		}
		return result
	}
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	eventually(t, "listening", func() bool { return s.Addrs() != nil || len(done) > 0 })
	if s.Addrs() == nil {
		t.Fatal(h.stop())
	}
	return h
}

func aor(t testing.TB, user string) sip.AOR {
	t.Helper()
	a, err := sip.ParseAORString("sip:" + user + "@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s within 20 s", what)
		}
	}
}

// client is a user agent on a real socket.
type client struct {
	t     *testing.T
	user  string
	proto string // UDP, TCP, TLS or WS
	conn  net.Conn
	in    chan *sip.Message
}

func (h *house) client(user, proto string) *client {
	h.t.Helper()
	var conn net.Conn
	var err error
	switch addrs := h.Addrs(); proto {
	case "TLS":
		conn, err = tls.Dial("tcp", addrs[2].String(), &tls.Config{RootCAs: h.roots, ServerName: "example.com"})
	case "WS":
		d := ws.Dialer{Protocols: []string{"sip"}}
		conn, _, _, err = d.Dial(h.t.Context(), "ws://"+addrs[2].String())
		conn = webSocket{conn}
	case "TCP":
		conn, err = net.Dial("tcp", addrs[1].String())
	default:
		conn, err = net.Dial("udp", addrs[0].String())
	}
	if err != nil {
		h.t.Fatal(err)
	}
	c := &client{t: h.t, user: user, proto: proto, conn: conn, in: make(chan *sip.Message, 1000)}
	h.t.Cleanup(func() { _ = conn.Close() })
	go c.read()
	return c
}

// webSocket reads and writes whole messages.
type webSocket struct{ net.Conn }

func (c webSocket) Read(b []byte) (int, error) {
	p, _, err := wsutil.ReadServerData(c.Conn)
	return copy(b, p), err
}

func (c webSocket) Write(b []byte) (int, error) {
	return len(b), wsutil.WriteClientText(c.Conn, b)
}

func (c *client) read() {
	defer close(c.in)
	b := make([]byte, 128<<10)
	stream := bufio.NewReaderSize(c.conn, 128<<10)
	for {
		var n int
		var err error
		if c.proto == "UDP" || c.proto == "WS" {
			n, err = c.conn.Read(b)
		} else {
			n, err = readMessage(stream, b)
		}
		if err != nil {
			return
		}
		m := new(sip.Message)
		if m.Parse(append([]byte(nil), b[:n]...)) != nil {
			continue
		}
		_ = m.Check()
		c.in <- m
	}
}

// readMessage reads one message off a stream by its Content-Length.
func readMessage(r *bufio.Reader, b []byte) (int, error) {
	n, length := 0, 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		n += copy(b[n:], line)
		name, value, _ := strings.Cut(line, ":")
		if textproto.CanonicalMIMEHeaderKey(name) == "Content-Length" {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
		if line == "\r\n" && n > 2 {
			break
		}
		if line == "\r\n" {
			n = 0
		}
	}
	for end := n + length; n < end; {
		k, err := r.Read(b[n:end])
		if err != nil {
			return 0, err
		}
		n += k
	}
	return n, nil
}

var numbers atomic.Int64

// request writes a request; a line that begins with the name of a field that it
// has anyway takes that field's place, and a line "Name:" leaves it out.
func (c *client) request(method, uri, body string, lines ...string) string {
	n := numbers.Add(1)
	head := []string{
		fmt.Sprintf("Via: SIP/2.0/%s %s;rport;branch=z9hG4bK%d", c.proto, c.conn.LocalAddr(), n),
		"Max-Forwards: 70",
		fmt.Sprintf("From: <sip:%s@example.com>;tag=%d", c.user, n),
		fmt.Sprintf("To: <%s>", uri),
		fmt.Sprintf("Call-ID: %d", n),
		fmt.Sprintf("CSeq: %d %s", n, method),
	}
	if method == "REGISTER" {
		head[3] = fmt.Sprintf("To: <sip:%s@example.com>", c.user)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		placed := false
		for i := range head {
			if strings.HasPrefix(head[i], name+":") {
				head[i], placed = line, true
			}
		}
		if !placed && value != "" {
			head = append(head, line)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", method, uri)
	for _, line := range head {
		if !strings.HasSuffix(line, ":") {
			b.WriteString(line + "\r\n")
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next message but for 100, or nil after d.
func (c *client) next(d time.Duration) *sip.Message {
	limit := time.After(d)
	for {
		select {
		case m := <-c.in:
			if m == nil || m.Status() != sip.StatusTrying {
				return m
			}
		case <-limit:
			return nil
		}
	}
}

// ask sends text and returns the answer.
func (c *client) ask(text string) *sip.Message {
	c.t.Helper()
	c.send(text)
	m := c.next(15 * time.Second)
	if m == nil {
		c.t.Fatalf("no answer to\n%.600s", text)
	}
	return m
}

// authorized is request with the credentials that the server asks for.
func (c *client) authorized(method, uri, body string, lines ...string) string {
	c.t.Helper()
	m := c.ask(c.request(method, uri, body, lines...))
	return c.session(m).request(method, uri, body, lines...)
}

// session is a client that uses one nonce for many requests.
type session struct {
	c         *client
	challenge digest.Challenge
	count     int
}

// session answers a challenge.
func (c *client) session(m *sip.Message) *session {
	c.t.Helper()
	field := m.Other("WWW-Authenticate")
	if m.Status() == sip.StatusProxyAuthRequired {
		field = m.Other("Proxy-Authenticate")
	}
	ch, err := digest.ParseChallenge(field)
	if err != nil {
		c.t.Fatalf("%v in\n%s", err, m.Raw())
	}
	return &session{c: c, challenge: ch}
}

// request is the client's request with credentials.
func (s *session) request(method, uri, body string, lines ...string) string {
	s.count++
	cr := digest.Credentials{
		Username: s.c.user, Realm: s.challenge.Realm, Nonce: s.challenge.Nonce, URI: uri, Algorithm: s.challenge.Algorithm,
		CNonce: "c", QOP: "auth", Count: uint32(s.count), NC: fmt.Sprintf("%08x", s.count),
	}
	secrets := digest.NewSecrets(s.c.user, s.challenge.Realm, s.c.user)
	cr.Response = string(cr.AppendResponse(nil, &secrets, method))
	name := "Authorization"
	if method == "MESSAGE" {
		name = "Proxy-Authorization"
	}
	return s.c.request(method, uri, body, append(lines, name+": "+string(cr.Append(nil)))...)
}

// reply makes the answer of a user agent to a request of the server.
func reply(m *sip.Message, status int) []byte {
	return m.AppendReply(nil, netip.AddrPort{}, &sip.Reply{Status: status, ToTag: "t"})
}

// want sends the request with credentials and checks the status.
func (c *client) want(status int, method, uri, body string, lines ...string) *sip.Message {
	c.t.Helper()
	m := c.ask(c.authorized(method, uri, body, lines...))
	if m.Status() != status {
		c.t.Fatalf("%s: answered %d %s, want %d", method, m.Status(), m.Reason(), status)
	}
	return m
}

// register binds the client at its own address.
func (c *client) register(params string) {
	c.t.Helper()
	c.want(200, "REGISTER", "sip:example.com", "", fmt.Sprintf("Contact: <sip:%s@%s;transport=%s>%s", c.user, c.conn.LocalAddr(), strings.ToLower(c.proto), params), "Expires: 600")
}

// answer takes the next request and answers it.
func (c *client) answer(status int) *sip.Message {
	c.t.Helper()
	m := c.next(15 * time.Second)
	if m == nil || !m.IsRequest() {
		c.t.Fatalf("%s got no request", c.user)
	}
	c.send(string(reply(m, status)))
	return m
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
