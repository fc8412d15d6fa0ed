package integration

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

//go:embed testdata/purple.py
var purpleScript string

// purple is a SIMPLE account of libpurple, the library of Pidgin and Finch,
// driven through its C API by a Python script. It publishes by itself when it
// has registered, and watches the peer from then on.
type purple struct {
	*child
	addr, transport string
	account, peer   account
	publishes       int
	connection      chan string
	answers         chan purpleAnswer
	received        chan message
	contacts        *roster
}

// purpleAnswer is an answer that the library received.
type purpleAnswer struct {
	Method string
	Status int
}

func startPurple(t testing.TB, addr, transport string, a, peer account) client {
	t.Helper()
	return newPurple(t, addr, transport, a, peer)
}

// newPurple starts the library with one contact, peer.
func newPurple(t testing.TB, addr, transport string, a, peer account) *purple {
	t.Helper()
	home := t.TempDir()
	script := filepath.Join(home, "purple.py")
	if err := os.WriteFile(script, []byte(purpleScript), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &purple{addr: addr, transport: transport, account: a, peer: peer, connection: make(chan string, 100),
		answers:  make(chan purpleAnswer, 1000),
		received: make(chan message, 1000), contacts: newRoster()}
	p.child = startChild(t, home, p.line, program(t, "/usr/bin/python3", "python3"), script, home)
	return p
}

// signOnPurple signs on until the contact is shown, as a user would who sees
// nothing. Now and then the library loses the answer to its first SUBSCRIBE when
// its PUBLISH is being challenged at the same moment, and asks again only after
// twenty minutes.
func signOnPurple(t testing.TB, addr string, a, peer account, want shown) *purple {
	t.Helper()
	var err error
	for range 4 {
		p := newPurple(t, addr, "udp", a, peer)
		if err = p.Register(); err == nil {
			if err = p.contacts.waitFor(10*time.Second, peer, want, p.done); err == nil {
				return p
			}
		}
		t.Logf("libpurple signs on again: %v", err)
		p.Close()
	}
	t.Fatal(err)
	return nil
}

// line reads an event of the script.
func (p *purple) line(s string) {
	var e struct {
		Event, State, Reason, From, Text, URI, Method string
		Code                                          int
		Online                                        bool
	}
	if json.Unmarshal([]byte(s), &e) != nil {
		return // what the library tells about itself
	}
	switch e.Event {
	case "connection":
		p.connection <- e.State + " " + e.Reason
	case "answer":
		p.answers <- purpleAnswer{e.Method, e.Code}
	case "buddy":
		s := closed
		if e.Online {
			s = open
		}
		p.contacts.set(e.URI, s)
	case "message":
		p.received <- message{From: e.From, Text: e.Text}
	}
}

// Register signs on, and waits until the state is published as well: a text
// that the library sends while its first PUBLISH is being challenged is lost.
func (p *purple) Register() error {
	host, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	if err := p.command(map[string]any{"cmd": "register", "account": p.account.User + "@" + domain, "password": p.account.Password,
		"proxy": host, "port": number, "transport": p.transport, "local": freePorts(p.t, 1), "buddies": []string{p.peer.AOR()}}); err != nil {
		return err
	}
	state, err := within(20*time.Second, "libpurple registers", p.connection, p.done)
	if err == nil && state != "on " {
		err = fmt.Errorf("libpurple's registration: %s", state)
	}
	if err != nil {
		return err
	}
	_, err = p.answered("PUBLISH")
	return err
}

// answered waits for the final answer to a request, challenges apart.
func (p *purple) answered(method string) (status int, err error) {
	for {
		a, err := within(20*time.Second, "libpurple's "+method+" is answered", p.answers, p.done)
		if err != nil {
			return 0, err
		}
		if a.Method == method && a.Status != 401 && a.Status != 407 {
			return a.Status, nil
		}
	}
}

// Send writes to the peer and waits for the answer.
func (p *purple) Send(to, text string) error {
	if err := p.command(map[string]any{"cmd": "send", "to": to, "text": text}); err != nil {
		return err
	}
	status, err := p.answered("MESSAGE")
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("libpurple's message: %d", status)
	}
	return err
}

// Shows waits for open or closed: the library reads no activities and no notes.
func (p *purple) Shows(of account, want shown) error { return p.contacts.wait(of, want, p.done) }

// Publish tells again that the user is there. The protocol has no other state,
// and closed is what it says by Close.
func (p *purple) Publish(shown) error {
	p.publishes++ // the same text again would be no change
	if err := p.command(map[string]any{"cmd": "status", "message": fmt.Sprint("here ", p.publishes)}); err != nil {
		return err
	}
	status, err := p.answered("PUBLISH")
	if err == nil && status != 200 {
		err = fmt.Errorf("libpurple's PUBLISH: %d", status)
	}
	return err
}

func (p *purple) Received() <-chan message { return p.received }

// Close signs off: the library publishes closed, unregisters, and waits for no
// answer.
func (p *purple) Close() {
	p.command(map[string]any{"cmd": "unregister"})
	p.end(5 * time.Second)
}
