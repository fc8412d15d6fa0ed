package auth_test

import (
	"errors"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rollcall/auth"
	"rollcall/sip"
)

// guess sends a wrong password and returns the status.
func (c *client) guess() *sip.Error {
	c.t.Helper()
	pass := c.pass
	c.pass = "wrong"
	line := c.credentials()
	c.pass = pass
	_, err := c.send(line)
	var answer *sip.Error
	if !errors.As(err, &answer) {
		c.t.Fatalf("a wrong password gets %v", err)
	}
	return answer
}

func TestWrongPasswordsAreSlowed(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	a := open(t, openStore(t), auth.Options{WrongPerAccount: 3, WrongPerSource: 5, Log: zap.New(core)})
	alice := newClient(t, a)
	if _, err := alice.login(); err != nil {
		t.Fatal(err)
	}
	for range 100 { // tries without credentials are not counted
		_, err := alice.send()
		wantStatus(t, err, 401)
	}
	for i, want := range []int{401, 401, 401, 503, 503} {
		if got := alice.guess(); got.Status != want {
			t.Fatalf("guess %d: %v, want %d", i, got, want)
		}
	}
	// The account from elsewhere, and a right password from here, are as before.
	elsewhere := newClient(t, a)
	elsewhere.source = netip.MustParseAddr("192.0.2.2")
	if _, err := elsewhere.login(); err != nil {
		t.Fatal(err)
	}
	if got := elsewhere.guess(); got.Status != 401 {
		t.Errorf("a guess from elsewhere: %v", got)
	}
	i, err := alice.send(alice.credentials())
	wantIdentity(t, i, err, "alice@example.com")

	// The source has used up its five with alice.
	bob := newClient(t, a)
	bob.user, bob.pass, bob.from, bob.to = "bob", "bob", "sip:bob@example.com", "sip:bob@example.com"
	if _, err := bob.login(); err != nil {
		t.Fatal(err)
	}
	bob.now = bob.now.Add(20 * time.Second)
	got := bob.guess()
	if got.Status != 503 || len(got.Headers) != 1 || got.Headers[0].Name != "Retry-After" {
		t.Fatalf("a guess above the source's threshold: %v, %v", got, got.Headers)
	}
	if wait, err := strconv.Atoi(got.Headers[0].Value); err != nil || wait < 38 || wait > 40 {
		t.Errorf("Retry-After %s, want 40 or a little less", got.Headers[0].Value)
	}
	i, err = bob.send(bob.credentials())
	wantIdentity(t, i, err, "bob@example.com")

	// A minute after the first wrong password it begins anew.
	alice.now = alice.now.Add(time.Minute)
	if got := alice.guess(); got.Status != 401 {
		t.Errorf("a minute later: %v", got)
	}
	if n := logs.Len(); n != 2 { // the account's threshold, and the source's
		t.Errorf("%d warnings: %v", n, logs.All())
	}
	for _, l := range logs.All() {
		if l.ContextMap()["peer"] != "192.0.2.1/32" {
			t.Errorf("warning %v", l.ContextMap())
		}
	}
	if s := a.Stats(); s.Wrong != 8 || s.Slowed != 3 {
		t.Errorf("stats %+v", s)
	}
}

func TestSourceOfIPv6IsItsNetwork(t *testing.T) {
	a := open(t, openStore(t), auth.Options{WrongPerAccount: -1, WrongPerSource: 2})
	c := newClient(t, a)
	_, err := c.send()
	c.take(err)
	for i, s := range []struct {
		source string
		want   int
	}{
		{"2001:db8::1", 401}, {"2001:db8::2", 401}, {"2001:db8:0:0:ffff::3", 503}, {"2001:db8:0:1::1", 401},
		{"192.0.2.1", 401}, {"::ffff:192.0.2.1", 401}, {"192.0.2.1", 503}, {"192.0.2.3", 401},
	} {
		c.source = netip.MustParseAddr(s.source)
		if got := c.guess(); got.Status != s.want {
			t.Errorf("guess %d from %s: %v, want %d", i, s.source, got, s.want)
		}
	}
}

// A flood of sources does not grow anything, and does not make the server forget
// who guesses at the moment more than its size demands.
func TestManySources(t *testing.T) {
	a := open(t, openStore(t), auth.Options{WrongPerAccount: -1, WrongPerSource: 1, Sources: 1024})
	c := newClient(t, a)
	_, err := c.send()
	c.take(err)
	for i := range 5000 {
		c.source = netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		if got := c.guess(); got.Status != 401 {
			t.Fatalf("first guess of source %d: %v", i, got)
		}
	}
	if got := c.guess(); got.Status != 503 {
		t.Errorf("second guess of the last source: %v", got)
	}
	guesser := c.source // who is above the threshold is not washed out by others
	for i := range 5000 {
		c.source = netip.AddrFrom4([4]byte{198, 19, byte(i >> 8), byte(i)})
		c.guess()
	}
	c.source = guesser
	if got := c.guess(); got.Status != 503 {
		t.Errorf("third guess after 5000 other sources: %v", got)
	}
	i, err := c.send(c.credentials())
	wantIdentity(t, i, err, "alice@example.com")
}
