package agent

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

const greeting = "Grüße — 漢字 😀"

func config(r *testRegistrar, user, transport string) Config {
	return Config{
		Server:    r.addr,
		Transport: transport,
		AOR:       "sip:" + user + "@example.com",
		Password:  r.passwords[user],
		Instance:  "urn:uuid:00000000-0000-4000-8000-0000000000" + map[string]string{"alice": "0a", "bob": "0b"}[user],
	}
}

// watch runs Watch and waits until it is registered. The returned stop ends it
// and returns its error; the test ends it anyway.
func watch(t *testing.T, cfg Config) (<-chan Event, func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	events, done := make(chan Event, 100), make(chan error, 1)
	go func() { done <- Watch(ctx, cfg, func(e Event) { events <- e }) }()
	var result error
	stopped := false
	stop := func() error {
		if !stopped {
			stopped = true
			cancel()
			result = <-done
		}
		return result
	}
	t.Cleanup(func() { stop() })
	if e := next(t, events); e.Kind != Registered {
		t.Fatalf("first event is %v, want registered", e)
	}
	return events, stop
}

func next(t *testing.T, events <-chan Event) Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event within 10 s")
		panic("unreachable")
	}
}

func TestSendIsDeliveredToWatch(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			r := startRegistrar(t, nil)
			events, _ := watch(t, config(r, "bob", transport))
			for _, text := range []string{greeting, "", strings.Repeat("long ", 2000)} {
				from := config(r, "alice", transport)
				from.Display = "Alice"
				res, err := Send(t.Context(), from, "sip:bob@example.com", text, SendOptions{})
				if err != nil || res.Status != 200 || !res.Accepted() {
					t.Fatalf("send: %+v, %v", res, err)
				}
				if large := len(text) > maxDatagram; (large || transport == "tcp") != (res.Transport == "tcp") {
					t.Errorf("%d bytes went over %s", len(text), res.Transport)
				}
				e := next(t, events)
				if e.Kind != Message || e.Text != text || e.From != "sip:alice@example.com" ||
					e.Display != "Alice" || e.To != "sip:bob@example.com" || e.CallID != res.CallID ||
					e.ContentType != "text/plain;charset=utf-8" || time.Since(e.Sent) > time.Minute {
					t.Errorf("got %+v", e)
				}
			}
		})
	}
}

func TestSendReportsTheAnswer(t *testing.T) {
	t.Parallel()
	r := startRegistrar(t, nil)
	for _, c := range []struct {
		name, to, password string
		want               int
	}{
		{"kept for an absent recipient", "sip:bob@example.com", "secret", 202},
		{"unknown recipient", "sip:nobody@example.com", "secret", 404},
		{"wrong password", "sip:bob@example.com", "wrong", 407},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(r, "alice", "udp")
			cfg.Password = c.password
			res, err := Send(t.Context(), cfg, c.to, "hello", SendOptions{})
			if err != nil || res.Status != c.want {
				t.Errorf("got %+v, %v; want %d", res, err, c.want)
			}
		})
	}
}

func TestDigestAlgorithms(t *testing.T) {
	for _, c := range []struct{ name, offered, want string }{
		{"SHA-256 beside MD5", "MD5,SHA-256", "SHA-256"},
		{"MD5 alone", "MD5", "MD5"},
		{"SHA-512-256 before MD5", "MD5,SHA-512-256", "SHA-512-256"},
		{"an unknown one is passed over", "SHA-9000,MD5", "MD5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := startRegistrar(t, func(r *testRegistrar) { r.algorithms = strings.Split(c.offered, ",") })
			res, err := Send(t.Context(), config(r, "alice", "udp"), "sip:bob@example.com", "hello", SendOptions{})
			if err != nil || res.Status != 202 {
				t.Fatalf("send: %+v, %v", res, err)
			}
			sent := r.seen(sip.MESSAGE)
			if h := sent[len(sent)-1].GetHeader("Proxy-Authorization"); h == nil || !strings.Contains(h.Value(), "algorithm="+c.want) {
				t.Errorf("credentials %v, want algorithm %s", h, c.want)
			}
		})
	}
}

func TestSendRefusesBadArguments(t *testing.T) {
	cfg := Config{Server: "127.0.0.1:1", AOR: "sip:alice@example.com"}
	for name, change := range map[string]func(*Config, *string, *string){
		"recipient without scheme":  func(_ *Config, to, _ *string) { *to = "bob@example.com" },
		"recipient with a line end": func(_ *Config, to, _ *string) { *to = "sip:bob@example.com\r\nX: y" },
		"own address without user":  func(c *Config, _, _ *string) { c.AOR = "sip:example.com" },
		"unknown transport":         func(c *Config, _, _ *string) { c.Transport = "sctp" },
		"display with a quote":      func(c *Config, _, _ *string) { c.Display = `A" <sip:x@y>` },
		"text that is not UTF-8":    func(_ *Config, _, text *string) { *text = "\xff" },
		"server without port":       func(c *Config, _, _ *string) { c.Server = "127.0.0.1" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg, to, text := cfg, "sip:bob@example.com", "hello"
			change(&cfg, &to, &text)
			if res, err := Send(t.Context(), cfg, to, text, SendOptions{}); err == nil {
				t.Errorf("accepted: %+v", res)
			}
		})
	}
}

func TestSendGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	// The port is taken and silent.
	silent := startSilent(t)
	_, err := Send(ctx, Config{Server: silent, AOR: "sip:alice@example.com"}, "sip:bob@example.com", "hello", SendOptions{})
	if err == nil || ctx.Err() == nil {
		t.Errorf("got %v", err)
	}
}
