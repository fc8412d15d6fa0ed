package server

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

var granted = regexp.MustCompile(`(pub|temp)-gruu="([^"]*)"`)

// gruus registers a device with an instance, and returns its GRUUs.
func (c *client) gruus(instance string, lines ...string) (public, temporary string) {
	c.t.Helper()
	contact := "Contact: <sip:" + c.user + "@" + c.conn.LocalAddr().String() + `>;+sip.instance="<` + instance + `>"`
	m := c.want(200, "REGISTER", "sip:example.com", "", append([]string{contact, "Supported: gruu", "Expires: 600"}, lines...)...)
	for _, line := range strings.Split(m.Raw(), "\r\n") {
		if !strings.Contains(line, instance) {
			continue
		}
		for _, found := range granted.FindAllStringSubmatch(line, -1) {
			if found[1] == "pub" {
				public = found[2]
			} else {
				temporary = found[2]
			}
		}
	}
	return public, temporary
}

// TestMessageToGRUU: a message to a GRUU goes to the device that it names and waits for none; one that is not valid is
// not found (RFC 5627 §6.1).
func TestMessageToGRUU(t *testing.T) {
	h := start(t)
	desk, phone, bob := h.client("alice", "UDP"), h.client("alice", "TCP"), h.client("bob", "UDP")
	public, temporary := desk.gruus("urn:uuid:00000000-0000-1000-8000-000000000001", "Call-ID: desk", "CSeq: 1 REGISTER")
	phone.gruus("urn:uuid:00000000-0000-1000-8000-000000000002")
	for _, uri := range []string{public, temporary} {
		bob.send(bob.authorized("MESSAGE", uri, "to "+uri, "Content-Type: text/plain"))
		m := desk.answer(200)
		if m.Body() != "to "+uri || strings.Contains(m.RequestURI(), "gr") {
			t.Errorf("%s: the device got\n%s", uri, m.Raw())
		}
		if m := bob.next(15 * time.Second); m == nil || m.Status() != 200 {
			t.Fatalf("%s: answered %v", uri, m)
		}
	}

	text := "Content-Type: text/plain"
	for _, uri := range []string{"sip:alice@example.com;gr", "sip:tgruu.AAAA@example.com;gr"} { // whoever asks
		if m := bob.ask(bob.request("MESSAGE", uri, "to nowhere", text)); m.Status() != 404 {
			t.Errorf("%s: answered %d", uri, m.Status())
		}
	}
	bob.want(404, "MESSAGE", "sip:nobody@example.com;gr=urn:uuid:1", "of nobody", text)
	bob.want(480, "MESSAGE", "sip:alice@example.com;gr=urn:uuid:1", "to a device that is not there", text)

	// The device leaves: its public GRUU stays, the temporary ones end.
	desk.want(200, "REGISTER", "sip:example.com", "", "Contact: <sip:alice@"+desk.conn.LocalAddr().String()+`>;expires=0;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000000000001>"`)
	bob.want(480, "MESSAGE", public, "to who has left", text)
	bob.want(404, "MESSAGE", temporary, "to who has left", text)
	if m := phone.next(300 * time.Millisecond); m != nil {
		t.Errorf("the other device got\n%s", m.Raw())
	}
	desk.gruus("urn:uuid:00000000-0000-1000-8000-000000000001")
	if m := desk.next(300 * time.Millisecond); m != nil {
		t.Errorf("what was refused waited:\n%s", m.Raw())
	}
}
