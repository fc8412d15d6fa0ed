package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// baresip is driven through its ctrl_tcp module: JSON in netstrings.
type baresip struct {
	*child
	ctrl       net.Conn
	account    account
	transport  string
	addr       string
	registered chan string
	answers    chan string
	received   chan message
}

// startBaresip starts the program with one contact, peer: its message command
// knows no other recipient than the current contact.
func startBaresip(t testing.TB, addr, transport string, a, peer account) client {
	t.Helper()
	return newBaresip(t, addr, transport, a, peer, false)
}

// newBaresip starts the program. With presence it watches the peer and tells
// its own state; it then registers at once, because only an account that is
// there at the start is published.
func newBaresip(t testing.TB, addr, transport string, a, peer account, presence bool) *baresip {
	t.Helper()
	path := program(t, "baresip", "baresip-core")
	home := t.TempDir()
	port := freePorts(t, 3) // SIP, SIP over TLS on the next one, control
	modules := ""
	for _, dir := range []string{"/usr/lib/baresip/modules", "/usr/lib/x86_64-linux-gnu/baresip/modules", "/usr/lib/aarch64-linux-gnu/baresip/modules"} {
		if fileExists(dir) {
			modules = dir
		}
	}
	b := &baresip{account: a, transport: transport, addr: addr, registered: make(chan string, 100),
		answers: make(chan string, 100), received: make(chan message, 1000)}
	module, accounts, watched := "", "", ""
	if presence {
		module, accounts, watched = "module_app presence.so\n", b.accountLine()+";pubint=600\n", ";presence=p2p"
	}
	for name, text := range map[string]string{
		"config": fmt.Sprintf("module_path %s\nsip_listen %s\nctrl_tcp_listen %s\nnet_interface 127.0.0.1\n"+
			"module stdio.so\nmodule_tmp account.so\nmodule_app contact.so\nmodule_app menu.so\n%smodule_app ctrl_tcp.so\n",
			modules, loopback(port), loopback(port+2), module),
		"accounts": accounts,
		"contacts": fmt.Sprintf("\"%s\" <%s>%s\n", peer.User, peer.AOR(), watched),
	} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.child = startChild(t, home, b.line, path, "-f", home, "-s")
	eventually(t, 20*time.Second, "controllable", func() (err error) {
		b.ctrl, err = net.Dial("tcp", loopback(port+2))
		return err
	})
	t.Cleanup(func() { b.ctrl.Close() })
	go b.read()
	return b
}

// incoming is how the program shows a text: the sender and the quoted text.
var incoming = regexp.MustCompile(`^\r?(sips?:[^ "]+): "(.*)"$`)

func (b *baresip) line(s string) {
	if m := incoming.FindStringSubmatch(s); m != nil {
		b.received <- message{From: m[1], Text: m[2]}
	}
}

// read takes netstrings off the control connection.
func (b *baresip) read() {
	r, last := bufio.NewReader(b.ctrl), ""
	for {
		size, err := r.ReadString(':')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
		if err != nil || n > 1<<20 {
			return
		}
		body := make([]byte, n+1) // and the comma
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		if line := string(body[:n]) + "\n"; line != last { // an answer that is polled for is written once
			last = line
			b.note(line)
		}
		var e struct {
			Response, OK      bool
			Data, Type, Param string
		}
		if json.Unmarshal(body[:n], &e) != nil {
			continue
		}
		switch {
		case e.Response:
			b.answers <- fmt.Sprintf("%v %s", e.OK, e.Data)
		case e.Type == "REGISTER_OK" || e.Type == "REGISTER_FAIL":
			b.registered <- e.Type + " " + e.Param
		}
	}
}

func (b *baresip) do(command, params string) (string, error) {
	text, err := json.Marshal(map[string]string{"command": command, "params": params, "token": "t"})
	if err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(b.ctrl, "%d:%s,", len(text), text); err != nil {
		return "", err
	}
	answer, err := within(10*time.Second, "baresip "+command, b.answers, b.done)
	if err == nil && !strings.HasPrefix(answer, "true") {
		err = fmt.Errorf("baresip %s: %s", command, answer)
	}
	return answer, err
}

func (b *baresip) accountLine() string {
	return fmt.Sprintf(`<sip:%s@%s>;auth_user=%s;auth_pass=%s;outbound="sip:%s;transport=%s";regint=600`,
		b.account.User, domain, b.account.User, b.account.Password, b.addr, b.transport)
}

// Register makes the account, which registers it.
func (b *baresip) Register() error {
	if _, err := b.do("uanew", b.accountLine()); err != nil {
		return err
	}
	state, err := within(20*time.Second, "baresip registers", b.registered, b.done)
	if err == nil && !strings.HasPrefix(state, "REGISTER_OK") {
		err = fmt.Errorf("baresip's registration: %s", state)
	}
	return err
}

// Send writes to the contact. The program says nothing about the answer.
func (b *baresip) Send(_, text string) error {
	_, err := b.do("message", text)
	return err
}

// Publish tells the user's own state, of which it knows open and closed.
func (b *baresip) Publish(s shown) error {
	_, err := b.do(map[string]string{"open": "presence_online", "closed": "presence_offline"}[s.Basic], "")
	return err
}

// contact is a line of its list of contacts, in colors.
var contact = regexp.MustCompile(`(Online|Busy|Offline|Unknown|Away)\S* (\S+) <`)

// Shows waits until the list of contacts says so: online, busy or offline.
func (b *baresip) Shows(of account, want shown) error {
	for late := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		list, err := b.do("contacts", "")
		if err != nil {
			return err
		}
		for _, m := range contact.FindAllStringSubmatch(list, -1) {
			s, known := map[string]shown{"Online": open, "Busy": busy, "Offline": closed}[m[1]]
			if m[2] == of.User && known && s == want {
				return nil
			}
		}
		if time.Now().After(late) {
			return fmt.Errorf("%s is to be shown as %s: baresip has %q", of.User, want, list)
		}
	}
}

func (b *baresip) Received() <-chan message { return b.received }

func (b *baresip) Close() {
	b.do("quit", "")
	b.end(5 * time.Second)
}
