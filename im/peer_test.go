package im_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/auth"
	"rollcall/im"
	"rollcall/policy"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
	"rollcall/store/embedded"
)

// peerServer is the server of a foreign domain on real sockets, UDP and TCP on
// one port. It answers every request with the status.
type peerServer struct {
	addr string
	got  chan string // requests as they came
}

func newPeerServer(t *testing.T, status int) *peerServer {
	t.Helper()
	p := &peerServer{got: make(chan string, 16)}
	var tr *transport.Transport
	tr = transport.New(func(m *sip.Message, f transport.Flow) {
		if m.Check() != nil || !m.IsRequest() {
			return
		}
		p.got <- f.Proto.String() + "\n" + strings.Clone(m.Raw())
		if status != 0 {
			_ = tr.Send(f, m.AppendReply(nil, f.Remote, &sip.Reply{Status: status, ToTag: "peer"}))
		}
	}, transport.Options{UDPSockets: 1})
	t.Cleanup(func() { _ = tr.Close() })
	for range 20 { // until one number is free for both
		a, err := tr.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.ListenUDP(a); err == nil {
			p.addr = a.String()
			return p
		}
	}
	t.Fatal("no free port")
	return nil
}

// realRelay is a relay on real sockets whose answers to a sender go to answers.
func realRelay(t *testing.T, set im.Settings) (send func(to, body string) int) {
	t.Helper()
	dir := t.TempDir()
	db, err := embedded.Open(filepath.Join(dir, "store"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	j, err := archive.Open(filepath.Join(dir, "archive"), archive.Options{Node: "test"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := auth.NewDirectory(db, []string{"example.com"})
	if err != nil {
		t.Fatal(err)
	}
	var layer *transaction.Layer
	tr := transport.New(func(m *sip.Message, _ transport.Flow) {
		if m.Check() == nil && !m.IsRequest() {
			layer.Response(m)
		}
	}, transport.Options{UDPSockets: 1})
	layer = transaction.New(tr, transaction.Options{})
	local, err := tr.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	relay := im.New(im.Options{
		Journal: j, Store: db, Locations: registrar.New(db, registrar.Options{}), Accounts: d, Transport: tr, Transactions: layer,
		Key: []byte("0123456789abcdef"), Log: zap.NewNop(), Go: wg.Go, Panicked: func(_ *sip.Message, p any) { t.Error(p) },
	}, set)
	client, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		relay.Close()
		_ = tr.Close()
		wg.Wait()
		layer.Close()
		d.Close()
		_ = j.Close()
		_ = db.Close()
	})
	source := client.LocalAddr().(*net.UDPAddr).AddrPort()
	n := 0
	return func(to, body string) int {
		t.Helper()
		n++
		text := siptest.Text(fmt.Sprintf("MESSAGE sip:%s SIP/2.0\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%d\nMax-Forwards: 70\n"+
			"From: <sip:alice@example.com>;tag=a\nTo: <sip:%[2]s>\nCall-ID: %[4]d\nCSeq: 1 MESSAGE\nContent-Type: text/plain", to, source, n, n), body)
		text = []byte(strings.Replace(string(text), "To: <sip:"+source.String(), "To: <sip:"+to, 1))
		m := new(sip.Message)
		if err := m.Parse(text); err != nil {
			t.Fatal(err)
		}
		if fault := m.Check(); fault != nil {
			t.Fatal(fault)
		}
		a, fault := relay.Admit(m, 0)
		if fault != nil {
			return fault.Status
		}
		flow := transport.Flow{Proto: transport.UDP, Local: local, Remote: source}
		tx, fault := layer.Begin(layer.KeyOf(m), m, flow, flow, time.Now())
		if fault != nil {
			t.Fatal(fault)
		}
		relay.ServeSIP(tx, alice, a)
		b := make([]byte, 65536)
		for {
			_ = client.SetReadDeadline(time.Now().Add(40 * time.Second))
			k, err := client.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			var answer sip.Message
			if answer.Parse(b[:k]) == nil && answer.Status() >= 200 {
				return answer.Status()
			}
		}
	}
}

func TestPeerDomain(t *testing.T) {
	for _, c := range []struct {
		proto  transport.Proto
		body   string
		status int
		over   string
	}{
		{transport.UDP, "hello", 200, "UDP"},
		{transport.TCP, "hello", 200, "TCP"},
		{transport.UDP, strings.Repeat("漢", 1000), 200, "TCP"}, // too long for UDP
		{transport.UDP, "hello", 480, "UDP"},                   // a peer's answer is passed on: here is no queue for its users
		{transport.TCP, "hello", 603, "TCP"},
		{transport.UDP, "hello", 408, "UDP"},
	} {
		t.Run(fmt.Sprint(c.proto, " ", len(c.body), " ", c.status), func(t *testing.T) {
			t.Parallel()
			peer := newPeerServer(t, c.status)
			set := settings()
			set.Rules = policy.New([]string{"example.com"}, map[string]string{"example.net": "partner"})
			set.Peers = []im.Peer{{Name: "partner", Domain: "example.net", Address: peer.addr, Proto: c.proto}}
			send := realRelay(t, set)
			want := c.status
			if want == 408 { // RFC 4320 §4.2: never to a request other than INVITE
				want = 504
			}
			if got := send("carol@example.net", c.body); got != want {
				t.Errorf("answered %d, want %d", got, want)
			}
			proto, text, _ := strings.Cut(<-peer.got, "\n")
			if proto != c.over {
				t.Errorf("came over %s, want %s", proto, c.over)
			}
			if !strings.HasPrefix(text, "MESSAGE sip:carol@example.net SIP/2.0\r\nVia: SIP/2.0/"+c.over+" 127.0.0.1:") || !strings.HasSuffix(text, "\r\n\r\n"+c.body) {
				t.Errorf("peer got\n%s", text)
			}
			if got := send("x@example.org", "hello"); got != 403 {
				t.Errorf("a domain that is no peer's: %d", got)
			}
		})
	}
}

// A peer that does not take a connection is told to the sender as 504 (RFC 3261
// §21.5.5): nothing waits for a user of another domain.
func TestPeerThatIsNotThere(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	_ = l.Close()
	set := settings()
	set.Rules = policy.New([]string{"example.com"}, map[string]string{"example.net": "partner", "example.org": "nameless"})
	set.Peers = []im.Peer{
		{Name: "partner", Domain: "example.net", Address: free, Proto: transport.TCP},
		{Name: "nameless", Domain: "example.org", Address: "no port", Proto: transport.UDP},
	}
	send := realRelay(t, set)
	for _, domain := range []string{"example.net", "example.org"} {
		if got := send("carol@"+domain, "hello"); got != 504 {
			t.Errorf("%s: answered %d, want 504", domain, got)
		}
	}
}
