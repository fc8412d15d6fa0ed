package server

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/api"
	"rollcall/archive"
)

// tracing has messages traced until the test ends or stop is called.
func (h *house) tracing(q api.TraceQuery) (seen chan api.Traced, stop func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	seen = make(chan api.Traced, 1000)
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		err := (backend{h.Server}).Trace(ctx, "dora", q, func() { close(ready) }, func(m api.Traced) error { seen <- m; return nil })
		if !errors.Is(err, context.Canceled) {
			h.t.Errorf("trace: %v", err)
		}
	}()
	<-ready
	h.t.Cleanup(cancel)
	return seen, func() { cancel(); <-ended }
}

func next(t *testing.T, seen chan api.Traced) api.Traced {
	t.Helper()
	select {
	case m := <-seen:
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is traced")
		return api.Traced{}
	}
}

// TestTrace: what comes and goes is shown in its order to who asks for it, without credentials and bodies.
func TestTrace(t *testing.T) {
	h := start(t)
	alice, bob := h.client("alice", "UDP"), h.client("bob", "TCP")
	bob.register("")
	mine, stop := h.tracing(api.TraceQuery{AOR: "sip:bob@example.com"})
	others, _ := h.tracing(api.TraceQuery{AOR: "sip:carol@example.com"})
	call, _ := h.tracing(api.TraceQuery{CallID: "the-call"})
	alice.send(alice.authorized("MESSAGE", "sip:bob@example.com", "secret words", "Content-Type: text/plain", "Call-ID: the-call"))
	bob.answer(200)
	if m := alice.next(15 * time.Second); m == nil || m.Status() != 200 {
		t.Fatalf("answered %v", m)
	}
	udp, tcp := "udp "+alice.conn.LocalAddr().String(), "tcp "+bob.conn.LocalAddr().String()
	for i, want := range []api.Traced{
		{Flow: udp, Start: "MESSAGE sip:bob@example.com SIP/2.0"},
		{Flow: udp, Start: "SIP/2.0 407 Proxy Authentication Required", Sent: true},
		{Flow: udp, Start: "MESSAGE sip:bob@example.com SIP/2.0"},
		{Flow: tcp, Start: "MESSAGE sip:bob@" + bob.conn.LocalAddr().String() + ";transport=tcp SIP/2.0", Sent: true},
		{Flow: tcp, Start: "SIP/2.0 200 OK"},
		{Flow: udp, Start: "SIP/2.0 200 OK", Sent: true},
	} {
		got := next(t, mine)
		if got.Flow != want.Flow || got.Start != want.Start || got.Sent != want.Sent || got.From != "sip:alice@example.com" || got.To != "sip:bob@example.com" || got.CallID != "the-call" {
			t.Errorf("message %d: %+v, want %+v", i, got, want)
		}
		if strings.Contains(got.Head, "response=") || strings.Contains(got.Head, "secret") || got.Body != "" {
			t.Errorf("message %d shows\n%s", i, got.Head)
		}
		if i == 2 && (!strings.Contains(got.Head, `Proxy-Authorization: (username="alice", left out)`) || got.Length != len("secret words")) {
			t.Errorf("message %d, %d bytes, shows\n%s", i, got.Length, got.Head)
		}
		if same := next(t, call); same.Start != got.Start || same.Sent != got.Sent {
			t.Errorf("message %d of the call: %+v", i, same)
		}
	}
	stop()
	alice.want(202, "MESSAGE", "sip:alice@example.com", "x", "Content-Type: text/plain")
	select {
	case m := <-mine:
		t.Errorf("traced after the end: %+v", m)
	case m := <-others:
		t.Errorf("of others: %+v", m)
	default:
	}
}

// TestTraceBodies: bodies are shown to who is recorded as seeing them.
func TestTraceBodies(t *testing.T) {
	h := start(t)
	seen, stop := h.tracing(api.TraceQuery{AOR: "sip:alice@example.com", Bodies: true, Reason: "case 7"})
	alice := h.client("alice", "UDP")
	alice.send(alice.request("MESSAGE", "sip:bob@example.com", "words", "Content-Type: text/plain"))
	if m := next(t, seen); m.Body != "words" {
		t.Errorf("%+v", m)
	}
	stop()
	if h.traced.some.Load() {
		t.Error("somebody traces still")
	}
	found := false
	err := archive.Folder{Dir: h.cfg.Load().ArchiveDir(), Keys: h.ring}.Follow(t.Context(), archive.FollowOptions{Once: true}, func(r *archive.Record) error {
		found = found || r.Action == actTrace && r.Actor == "dora" && r.Object == "sip:alice@example.com" && r.Reason == "case 7"
		return nil
	})
	if err != nil || !found {
		t.Errorf("no act of it in the record, %v", err)
	}
}

// TestTraceIsSlow: who takes nothing holds nobody up, and is told how much was left out.
func TestTraceIsSlow(t *testing.T) {
	h := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, begin, got := make(chan struct{}), make(chan struct{}), make(chan api.Traced, 10_000)
	go func() {
		_ = (backend{h.Server}).Trace(ctx, "dora", api.TraceQuery{}, func() { close(ready) }, func(m api.Traced) error { <-begin; got <- m; return nil })
	}()
	<-ready
	alice := h.client("alice", "UDP")
	const n = tracedRoom
	for range n { // twice as many messages, with the answers
		alice.ask(alice.request("OPTIONS", "sip:example.com", ""))
	}
	close(begin)
	eventually(t, "what waited is shown", func() bool { return len(got) >= tracedRoom })
	alice.ask(alice.request("OPTIONS", "sip:example.com", ""))
	eventually(t, "the next is shown", func() bool { return len(got) >= tracedRoom+2 })
	lost := uint64(0)
	for len(got) > 0 {
		m := <-got
		lost += m.Lost
	}
	if lost == 0 || lost > n {
		t.Errorf("%d of %d are left out", lost, 2*n)
	}
}

// TestTakeApart: neither body nor credentials are in the head, however lines end and fold.
func TestTakeApart(t *testing.T) {
	for _, eol := range []string{"\r\n", "\n"} {
		raw := strings.Join([]string{"MESSAGE sip:bob@example.com SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.1", "AUTHORIZATION : Digest username=\"alice\",", " response=\"secret\"",
			"Subject: a", " folded one", "proxy-authorization: Basic secret", "\tsecret", "Content-Length: 6", "", "secret"}, eol)
		start, head, body := takeApart(raw)
		want := "Via: SIP/2.0/UDP 192.0.2.1\r\nAUTHORIZATION: (username=\"alice\", left out)\r\nSubject: a\r\n folded one\r\nproxy-authorization: (left out)\r\nContent-Length: 6"
		if start != "MESSAGE sip:bob@example.com SIP/2.0" || head != want || body != len("secret") {
			t.Errorf("with %q: %q, %d bytes\n%q\n%q", eol, start, body, head, want)
		}
	}
	if start, head, body := takeApart("OPTIONS"); start != "OPTIONS" || head != "" || body != 0 {
		t.Errorf("%q %q %d", start, head, body)
	}
}
