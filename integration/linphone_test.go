package integration

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/linphone.py
var linphoneScript string

// linphone is liblinphone, driven through its C API by a Python script.
type linphone struct {
	*child
	addr, transport string
	account         account
	publishes       bool // from its registration on; set before Register
	registered      chan string
	sent            chan string
	received        chan message
	contacts        *roster
}

func startLinphone(t testing.TB, addr, transport string, a, _ account) client {
	t.Helper()
	return newLinphone(t, addr, transport, a)
}

func newLinphone(t testing.TB, addr, transport string, a account) *linphone {
	t.Helper()
	home := t.TempDir()
	script := filepath.Join(home, "linphone.py")
	if err := os.WriteFile(script, []byte(linphoneScript), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &linphone{addr: addr, transport: transport, account: a,
		registered: make(chan string, 100), sent: make(chan string, 100), received: make(chan message, 1000), contacts: newRoster()}
	// Debian's own interpreter: one in PATH may be of another kind.
	l.child = startChild(t, home, l.line, program(t, "/usr/bin/python3", "python3"), script, home)
	return l
}

// line reads an event of the script.
func (l *linphone) line(s string) {
	var e struct {
		Event, State, Reason, From, Text, Type, URI, Basic, Note string
		Activities                                               []string
	}
	if json.Unmarshal([]byte(s), &e) != nil {
		return // the library's own chatter
	}
	switch e.Event {
	case "registration":
		if e.State == "ok" || e.State == "failed" || e.State == "cleared" {
			l.registered <- e.State + " " + e.Reason
		}
	case "sent":
		if e.State == "delivered" || e.State == "failed" {
			l.sent <- e.State
		}
	case "message":
		l.received <- message{From: e.From, Text: e.Text}
	case "presence":
		l.contacts.set(e.URI, shown{Basic: e.Basic, Activity: strings.Join(e.Activities, " "), Note: e.Note})
	}
}

func (l *linphone) Register() error {
	err := l.command(map[string]any{"cmd": "register", "identity": l.account.AOR(), "server": "sip:" + l.addr + ";transport=" + l.transport,
		"user": l.account.User, "password": l.account.Password, "publish": l.publishes})
	if err != nil {
		return err
	}
	state, err := within(20*time.Second, "linphone registers", l.registered, l.done)
	if err == nil && state[:2] != "ok" {
		err = fmt.Errorf("linphone's registration: %s", state)
	}
	return err
}

func (l *linphone) Send(to, text string) error {
	if err := l.command(map[string]any{"cmd": "send", "id": 1, "to": to, "text": text}); err != nil {
		return err
	}
	state, err := within(20*time.Second, "linphone sends", l.sent, l.done)
	if err == nil && state != "delivered" {
		err = fmt.Errorf("linphone's message: %s", state)
	}
	return err
}

// Watch subscribes to each contact, or once for all of them at the address of a
// list if that is not empty.
func (l *linphone) Watch(list string, contacts ...account) error {
	var uris []string
	for _, c := range contacts {
		uris = append(uris, c.AOR())
	}
	return l.command(map[string]any{"cmd": "watch", "list": list, "uris": uris})
}

// Publish tells the user's own state. Nothing is sent before Register.
func (l *linphone) Publish(s shown) error {
	return l.command(map[string]any{"cmd": "publish", "basic": s.Basic, "activity": s.Activity, "note": s.Note})
}

func (l *linphone) Shows(of account, want shown) error { return l.contacts.wait(of, want, l.done) }

func (l *linphone) Received() <-chan message { return l.received }

func (l *linphone) Close() { l.end(5 * time.Second) }
