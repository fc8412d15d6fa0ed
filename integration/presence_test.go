package integration

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// shown is what a client shows of a contact. A client that has no words for
// activities or notes leaves them empty.
type shown struct {
	Basic    string // open or closed (RFC 3863 §4.1.4)
	Activity string // RFC 4480 §3.2
	Note     string
}

func (s shown) String() string {
	return fmt.Sprintf("%s activity=%q note=%q", s.Basic, s.Activity, s.Note)
}

var (
	open   = shown{Basic: "open"}
	busy   = shown{Basic: "open", Activity: "busy"}
	closed = shown{Basic: "closed"}
)

// buddy is a client that shows the presence of its contacts.
type buddy interface {
	// Shows waits until the client shows that of a contact.
	Shows(of account, want shown) error
	// Publish tells the client's own state, as far as it has words for it.
	Publish(shown) error
	// Close ends the client, which takes back what it published.
	Close()
}

// roster is what a client shows of its contacts now.
type roster struct {
	mu      sync.Mutex
	of      map[string]shown // by AOR
	changed chan struct{}    // closed at the next change
}

func newRoster() *roster {
	return &roster{of: map[string]shown{}, changed: make(chan struct{})}
}

func (r *roster) set(aor string, s shown) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of[aor] = s
	close(r.changed)
	r.changed = make(chan struct{})
}

// wait returns when a contact is shown as wanted.
func (r *roster) wait(of account, want shown, ended <-chan struct{}) error {
	return r.waitFor(20*time.Second, of, want, ended)
}

func (r *roster) waitFor(limit time.Duration, of account, want shown, ended <-chan struct{}) error {
	late := time.After(limit)
	for {
		r.mu.Lock()
		now, known := r.of[of.AOR()]
		changed := r.changed
		r.mu.Unlock()
		if known && now == want {
			return nil
		}
		select {
		case <-changed:
		case <-ended:
			return fmt.Errorf("%s is to be shown as %s: the program ended", of.User, want)
		case <-late:
			if !known {
				return fmt.Errorf("nothing is shown of %s, want %s", of.User, want)
			}
			return fmt.Errorf("%s is shown as %s, want %s", of.User, now, want)
		}
	}
}

// shows fails the test when a client does not come to show that.
func shows(t *testing.T, c buddy, of account, want shown) {
	t.Helper()
	if err := c.Shows(of, want); err != nil {
		t.Fatal(err)
	}
}

// must fails the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
