package auth

import (
	"net/netip"
	"testing"
	"time"
)

// A source that guesses heavily at an account gets one try a second, and nobody
// else is touched.
func TestHeavyGuesserIsSlowed(t *testing.T) {
	f := newFailures(0, 10, 0)
	now := f.start.Add(time.Hour)
	guesser, office := netip.MustParseAddr("192.0.2.66"), netip.MustParseAddr("192.0.2.1")
	tries := 0
	guess := func() bool {
		if !f.mayTry(guesser, "alice", "example.com", now) {
			return false
		}
		tries++
		f.add(guesser, "alice", "example.com", now)
		return true
	}
	for range 100_000 { // 23,000 guesses a second
		guess()
		now = now.Add(time.Second / 23_000)
	}
	if tries < 100 || tries > 100+5+1 {
		t.Errorf("%d guesses in four seconds", tries)
	}
	if !f.mayTry(office, "alice", "example.com", now) {
		t.Error("alice is kept out at her own address")
	}
	if !f.mayTry(guesser, "bob", "example.com", now) {
		t.Error("bob is kept out")
	}
	now = now.Add(failureWindow)
	for range 2 {
		if !guess() {
			t.Error("still slowed a minute later")
		}
	}
	if n := newFailures(0, -1, 0); !n.mayTry(guesser, "alice", "example.com", now) {
		t.Error("slowed without a threshold")
	}
}
