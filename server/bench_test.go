package server

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/zap"

	"rollcall/config"
	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
)

// answering stands in for the sockets: what a device would answer comes back at
// once, what goes to senders is dropped. It leaves the cost of this server alone.
type answering struct{ s **Server }

func (a answering) Send(f transport.Flow, b []byte) error {
	if !bytes.HasPrefix(b, []byte("MESSAGE")) {
		return nil
	}
	var m, r sip.Message
	if m.Parse(b) != nil || m.Check() != nil {
		return transport.ErrFlow
	}
	reply := m.AppendReply(nil, f.Remote, &sip.Reply{Status: 200, ToTag: "x"})
	go func() {
		if r.Parse(reply) == nil && r.Check() == nil {
			(*a.s).tx.Response(&r)
		}
	}()
	return nil
}

const benchUsers = 20_000

func benchServer(b *testing.B) (*Server, []digest.Secrets) {
	cfg := config.Default()
	cfg.Domains = []string{"example.com"}
	cfg.DataDir, cfg.KeysDir = b.TempDir(), b.TempDir()
	cfg.Listen = []config.Listen{{Address: "127.0.0.1:0", Transport: "udp"}}
	var s *Server
	s, err := open(cfg, zap.NewNop(), func(*transport.Transport) transaction.Sender { return answering{&s} })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.close() })
	if _, err := s.transport.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0")); err != nil {
		b.Fatal(err)
	}
	csv := bytes.NewBufferString("aor,password\n")
	secrets := make([]digest.Secrets, benchUsers)
	for i := range benchUsers {
		name := fmt.Sprintf("u%06d", i)
		fmt.Fprintf(csv, "sip:%s@example.com,%s\n", name, name)
		secrets[i] = digest.NewSecrets(name, "example.com", name)
	}
	if _, err := s.directory.Import(context.Background(), csv, nil); err != nil {
		b.Fatal(err)
	}
	return s, secrets
}

func benchRequest(s *Server, secrets []digest.Secrets, nonce, method string, i int) []byte {
	user := (i * 7919) % benchUsers
	name := fmt.Sprintf("u%06d", user)
	uri, field, to := "sip:example.com", "Authorization", name
	if method == "MESSAGE" {
		to = fmt.Sprintf("u%06d", (user+1)%benchUsers)
		uri, field = "sip:"+to+"@example.com", "Proxy-Authorization"
	}
	c := digest.Credentials{Username: name, Realm: "example.com", Nonce: nonce, URI: uri, Algorithm: digest.MD5,
		CNonce: "0a4f113b", QOP: "auth", Count: uint32(i/benchUsers + 1), NC: fmt.Sprintf("%08x", i/benchUsers+1)}
	c.Response = string(c.AppendResponse(nil, &secrets[user], method))
	body := ""
	extra := "Contact: <sip:" + name + "@127.0.0.1:9>\r\nExpires: 3600\r\n"
	if method == "MESSAGE" {
		body = "Hello, this is message number 0000000000 of a conversation that goes on for a while."
		extra = "Content-Type: text/plain\r\n"
	}
	return fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK%016x;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%s@example.com>;tag=f%08x\r\nTo: <sip:%s@example.com>\r\nCall-ID: c%06d@127.0.0.1\r\nCSeq: %d %s\r\n"+
		"%s: %s\r\n%sUser-Agent: bench\r\nContent-Length: %d\r\n\r\n%s",
		method, uri, i, name, i, to, user, i+1, method, field, c.Append(nil), extra, len(body), body)
}

func benchReceive(b *testing.B, method string) {
	s, secrets := benchServer(b)
	local := s.transport
	flow, _ := local.UDPFlow(netip.MustParseAddrPort("127.0.0.1:9"))
	nonces := make([]string, benchUsers)
	for i := range nonces {
		nonces[i] = string(s.authn.Nonces().Append(nil, time.Now()))
	}
	var m sip.Message
	give := func(raw []byte) {
		if err := m.Parse(raw); err != nil {
			b.Fatal(err)
		}
		s.receive(&m, flow)
	}
	if method == "MESSAGE" {
		for i := range benchUsers {
			give(benchRequest(s, secrets, nonces[(i*7919)%benchUsers], "REGISTER", i))
			nonces[(i*7919)%benchUsers] = string(s.authn.Nonces().Append(nil, time.Now()))
		}
	}
	raw := make([][]byte, b.N)
	for i := range raw {
		raw[i] = benchRequest(s, secrets, nonces[(i*7919)%benchUsers], method, i)
	}
	before := s.authn.Stats().Accepted
	b.ReportAllocs()
	b.ResetTimer()
	for i := range raw {
		give(raw[i])
	}
	for s.tx.Counters.Active.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	if n := s.relay.Counters.Delivered.Load(); method == "MESSAGE" && n != uint64(b.N) {
		b.Fatalf("%d of %d messages were delivered", n, b.N)
	}
	if n := s.authn.Stats().Accepted - before; n != uint64(b.N) {
		b.Fatalf("%d of %d requests were accepted", n, b.N)
	}
}

func BenchmarkRegister(b *testing.B) { benchReceive(b, "REGISTER") }
func BenchmarkMessage(b *testing.B)  { benchReceive(b, "MESSAGE") }
