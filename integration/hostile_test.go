package integration

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRetransmissionIsRelayedOnce repeats a request byte for byte: the answer
// comes again, the message does not.
func TestRetransmissionIsRelayedOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	sender, receiver := newPhone(t, s.addr, "udp", alice), newPhone(t, s.addr, "udp", bob)
	receiver.mustRegister()
	m := sender.newText(bob, greeting)
	if a, err := sender.do(t.Context(), m); err != nil || a.status() != 200 {
		t.Fatalf("MESSAGE: %v, %v", a, err)
	}
	again := make(chan *packet, 10)
	sender.mu.Lock()
	sender.waiting[m.branch()] = again
	sender.mu.Unlock()
	for range 5 {
		if err := sender.send(m); err != nil {
			t.Fatal(err)
		}
		if a, err := within(5*time.Second, "a repeated answer", again, nil); err != nil || a.status() != 200 {
			t.Fatalf("answer to a retransmission: %v, %v", a, err)
		}
	}
	receiver.wantTexts(greeting)
	if n := len(receiver.got()); n != 1 {
		t.Errorf("the device received %d packets", n)
	}
	s.wantArchived(1)
}

// TestReplayedCredentials sends the credentials of one request with another.
func TestReplayedCredentials(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	sender := newPhone(t, s.addr, "udp", alice)
	m := sender.newText(bob, "mine")
	if a, err := sender.do(t.Context(), m); err != nil || a.status() != 202 {
		t.Fatalf("MESSAGE: %v, %v", a, err)
	}
	thief := newPhone(t, s.addr, "udp", alice)
	stolen := thief.newText(bob, "forged")
	stolen.set("Proxy-Authorization", m.get("Proxy-Authorization"))
	if a, err := thief.transact(t.Context(), stolen); err != nil || a.status() != 407 {
		t.Errorf("MESSAGE with used credentials: %v, %v", a, err)
	}
	receiver := newPhone(t, s.addr, "udp", bob)
	receiver.mustRegister()
	receiver.wantTexts("mine")
}

// TestContactFlood registers more devices than an account may have. Those that
// are there stay.
func TestContactFlood(t *testing.T) {
	t.Parallel()
	const limit = 5
	s := startServerWith(t, setup{accounts: []account{alice, bob}, toml: fmt.Sprintf("[registrar]\nmax_contacts = %d\n", limit)})
	first := newPhone(t, s.addr, "udp", bob)
	first.mustRegister()
	refused := 0
	flood := newPhone(t, s.addr, "udp", bob)
	for i := range 3 * limit {
		flood.instance = "urn:uuid:" + uuid()
		if a := flood.register(600, fmt.Sprintf("Contact: <sip:bob@127.0.0.1:%d>", 40000+i)); a.status()/100 == 4 || a.status() == 503 {
			refused++
		}
	}
	if refused != 2*limit+1 {
		t.Errorf("%d of %d further contacts were refused, want %d", refused, 3*limit, 2*limit+1)
	}
	a := first.register(600)
	if n := len(a.all("Contact")); a.status() != 200 || n > limit && !strings.Contains(a.get("Contact"), ",") {
		t.Errorf("REGISTER after the flood: %s with %d contacts", a.first, n)
	}
}

// TestGarbage throws bytes at the server that are no SIP, or break off, or are
// too large. It lives, and serves who speaks SIP.
func TestGarbage(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	before := s.memory()
	udp, err := net.Dial("udp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	noise := make([]byte, 1400)
	heads := []string{"", "MESSAGE sip:bob@example.com SIP/2.0\r\n", "SIP/2.0 200 OK\r\nVia: ", "REGISTER  sip: SIP/2.0\r\nContent-Length: -1\r\n\r\n",
		"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 0;branch=z9hG4bKx\r\nVia: SIP/2.0/UDP\r\n\r\n", "\r\n\r\n", "\x00\x01\x00\x00"}
	for i := range 5000 {
		rand.Read(noise)
		udp.Write(append([]byte(heads[i%len(heads)]), noise[:i%1400]...))
	}
	for i := range 200 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		rand.Read(noise)
		c.Write(append([]byte(heads[i%len(heads)]), noise...))
		c.Close()
	}
	sender, receiver := newPhone(t, s.addr, "udp", alice), newPhone(t, s.addr, "tcp", bob)
	receiver.mustRegister()
	sender.mustMessage(bob, greeting, 200)
	receiver.wantTexts(greeting)
	if grown := s.memory() - before; grown > 64<<20 {
		t.Errorf("garbage took %d bytes", grown)
	}
	if _, text := s.get("/metrics"); !strings.Contains(text, "rollcall_") {
		t.Error("/metrics counts nothing")
	}
}

// TestTooLarge sends a message above the limit over TCP. RFC 3261 §21.5.7.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "MESSAGE %s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: <%s>;tag=1\r\nTo: <%s>\r\n"+
		"Call-ID: %s\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n",
		bob.AOR(), c.LocalAddr(), token(), alice.AOR(), bob.AOR(), token())
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	a, err := readPacket(bufio.NewReader(c), 1<<16)
	if err != nil || a.status() != 513 {
		t.Errorf("a message of a megabyte: %v, %v", a, err)
	}
}

// TestTornRecord cuts the last write of the record in the middle, as a crash of
// the machine does. The server mends it and goes on; what came before is whole.
func TestTornRecord(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	sender := newPhone(t, s.addr, "udp", alice)
	for i := range 10 {
		sender.mustMessage(bob, fmt.Sprint("text ", i), 202)
	}
	s.kill()
	files, err := filepath.Glob(filepath.Join(s.data, "archive", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in the archive: %v", err)
	}
	slices.Sort(files)
	last := files[len(files)-1]
	text, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	// Room that was taken in advance is no record.
	end := len(strings.TrimRight(string(text), "\x00"))
	if err := os.Truncate(last, int64(end-7)); err != nil {
		t.Fatal(err)
	}
	s.start()
	sender.mustMessage(bob, "after", 202)
	s.mustVerify()
	s.wantArchived(10)
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.mustVerify()
}
