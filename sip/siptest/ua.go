package siptest

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rollcall/sip"
)

// Text makes a message of lines written with LF or CRLF: the head's become CRLF,
// the blank line and Content-Length are added, and the body stays as it is.
func Text(head, body string) []byte {
	head = strings.ReplaceAll(strings.Trim(strings.ReplaceAll(head, "\r\n", "\n"), "\n"), "\n", "\r\n")
	return fmt.Appendf(nil, "%s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

// Request makes a request from one user of example.com to another, with the
// fields that RFC 3261 §8.1.1 asks for. More are lines of further fields.
func Request(method, branch string, from netip.AddrPort, more ...string) []byte {
	head := fmt.Sprintf(`%s sip:bob@example.com SIP/2.0
Via: SIP/2.0/UDP %s;rport;branch=%s
Max-Forwards: 70
From: <sip:alice@example.com>;tag=a
To: <sip:bob@example.com>
Call-ID: %s@%s
CSeq: 1 %s`, method, from, branch, branch, from.Addr(), method)
	for _, line := range more {
		head += "\n" + line
	}
	return Text(head, "")
}

// UA is a user agent on a Network that does what its test says. Its methods are
// called from the test's goroutine.
type UA struct {
	Addr netip.AddrPort

	t       testing.TB
	network *Network
	inbox   chan received
}

type received struct {
	m    *sip.Message
	from netip.AddrPort
}

// NewUA attaches a user agent to the network until the test ends.
func NewUA(t testing.TB, n *Network, addr string) *UA {
	u := &UA{Addr: netip.MustParseAddrPort(addr), t: t, network: n, inbox: make(chan received, 1024)}
	n.Attach(u.Addr, func(b []byte, from netip.AddrPort) {
		m := new(sip.Message)
		if err := m.Parse(b); err != nil {
			t.Errorf("%s received what is no message: %v\n%q", addr, err, b)
			return
		}
		if fault := m.Check(); fault != nil {
			t.Errorf("%s received a bad message: %v\n%s", addr, fault, b)
			return
		}
		u.inbox <- received{m, from}
	})
	t.Cleanup(func() { n.Attach(u.Addr, nil) })
	return u
}

// Send sends bytes as they are.
func (u *UA) Send(to netip.AddrPort, b []byte) { u.network.Send(u.Addr, to, b) }

// Next returns the next message and where it came from. The test fails when
// none comes within d.
func (u *UA) Next(d time.Duration) (*sip.Message, netip.AddrPort) {
	u.t.Helper()
	select {
	case r := <-u.inbox:
		return r.m, r.from
	case <-time.After(d):
		u.t.Fatalf("%s heard nothing for %v", u.Addr, d)
		return nil, netip.AddrPort{}
	}
}

// Expect is Next for a response of that status.
func (u *UA) Expect(status int, d time.Duration) *sip.Message {
	u.t.Helper()
	m, _ := u.Next(d)
	if m.Status() != status {
		u.t.Fatalf("%s expected %d and heard\n%s", u.Addr, status, m.Raw())
	}
	return m
}

// Quiet fails the test when anything comes within d.
func (u *UA) Quiet(d time.Duration) {
	u.t.Helper()
	select {
	case r := <-u.inbox:
		u.t.Fatalf("%s expected silence and heard\n%s", u.Addr, r.m.Raw())
	case <-time.After(d):
	}
}

// Answer takes the next message, which must be a request, answers it with the
// status and returns it.
func (u *UA) Answer(status int, d time.Duration) *sip.Message {
	u.t.Helper()
	m, from := u.Next(d)
	if !m.IsRequest() {
		u.t.Fatalf("%s expected a request and heard\n%s", u.Addr, m.Raw())
	}
	u.Send(from, m.AppendReply(nil, from, &sip.Reply{Status: status, ToTag: "ua"}))
	return m
}
