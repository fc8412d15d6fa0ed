package integration

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// memory is the resident memory of the server in bytes.
func (s *server) memory() int {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	var kb int
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	if _, err := fmt.Sscan(after, &kb); err != nil {
		s.t.Fatal(err)
	}
	return kb << 10
}

// soon makes a request that must be answered within 5 s.
func (p *phone) soon(m *packet) *packet {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	a, err := p.do(ctx, m)
	if err != nil {
		p.t.Fatalf("%s: %v", m.first, err)
	}
	return a
}

// TestIdleConnections opens 10,000 TCP connections that say nothing. They cost
// little, and who has something to say is served.
func TestIdleConnections(t *testing.T) {
	const idle, perConnection = 10000, 16 << 10
	s := startServer(t)
	before := s.memory()
	var connections []net.Conn
	t.Cleanup(func() {
		for _, c := range connections {
			c.Close()
		}
	})
	for i := range idle {
		// From four addresses: one source may not hold all connections.
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%4))}, Timeout: 5 * time.Second}
		c, err := d.Dial("tcp", s.addr)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		connections = append(connections, c)
	}
	sender, receiver := newPhone(t, s.addr, "udp", alice), newPhone(t, s.addr, "tcp", bob)
	receiver.mustRegister()
	if a := sender.soon(sender.newText(bob, greeting)); a.status() != 200 {
		t.Errorf("MESSAGE beside idle connections: %s", a.first)
	}
	receiver.wantTexts(greeting)
	if grown := s.memory() - before; grown > idle*perConnection {
		t.Errorf("%d idle connections took %d bytes each", idle, grown/idle)
	}
	// All of them are still there: the last one can speak.
	fmt.Fprintf(connections[idle-1], "\r\n\r\n")
	connections[idle-1].SetReadDeadline(time.Now().Add(5 * time.Second))
	pong := make([]byte, 2)
	if _, err := connections[idle-1].Read(pong); err != nil || string(pong) != "\r\n" {
		t.Errorf("ping on an idle connection: %q, %v", pong, err) // RFC 5626 §4.4.1
	}
}

// TestConnectionsOfOneSource expects the limit of one address to hold while
// another is served.
func TestConnectionsOfOneSource(t *testing.T) {
	t.Parallel()
	s := startServerWith(t, setup{accounts: []account{alice, bob}, toml: "[limits]\ntcp_per_source = 50\n"})
	closed := 0
	for i := range 80 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
		c, err := d.Dial("tcp", s.addr)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		fmt.Fprintf(c, "\r\n\r\n")
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 2)); err != nil {
			closed++
		}
	}
	if closed != 30 {
		t.Errorf("%d of 80 connections were closed, want those above 50", closed)
	}
	newPhone(t, s.addr, "tcp", bob).mustRegister()
}

// TestSlowSenders has many connections send a request one byte at a time. Each
// is answered in the end, and nobody waits for them.
func TestSlowSenders(t *testing.T) {
	t.Parallel()
	const slow = 200
	s := startServer(t)
	answers := make(chan error, slow)
	started := make(chan struct{}, slow)
	for range slow {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go func() {
			m := fmt.Sprintf("OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: <%s>;tag=1\r\n"+
				"To: <sip:%s>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", domain, c.LocalAddr(), token(), alice.AOR(), domain, token())
			for i := range len(m) {
				if _, err := c.Write([]byte(m[i : i+1])); err != nil {
					answers <- err
					return
				}
				if i == 10 {
					started <- struct{}{}
				}
				time.Sleep(10 * time.Millisecond)
			}
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			a, err := readPacket(bufio.NewReader(c), 1<<16)
			if err == nil && a.status() != 200 {
				err = fmt.Errorf("answer %s", a.first)
			}
			answers <- err
		}()
	}
	for range slow {
		<-started
	}
	sender, receiver := newPhone(t, s.addr, "tcp", alice), newPhone(t, s.addr, "tcp", bob)
	receiver.mustRegister()
	if a := sender.soon(sender.newText(bob, greeting)); a.status() != 200 {
		t.Errorf("MESSAGE beside slow senders: %s", a.first)
	}
	receiver.wantTexts(greeting)
	for range slow {
		if err := <-answers; err != nil {
			t.Fatalf("slow sender: %v", err)
		}
	}
}

// TestReceiverThatDoesNotRead has a device whose connection fills up. Messages
// to it are kept, and messages to others do not wait.
func TestReceiverThatDoesNotRead(t *testing.T) {
	t.Parallel()
	s := startServerWith(t, setup{accounts: []account{alice, bob, carol},
		toml: "[im]\nanswer_after = \"2s\"\n[limits]\ntcp_write = \"2s\"\n"})
	deaf := newPhone(t, s.addr, "tcp", bob)
	deaf.mustRegister()
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	deaf.answerWith(func(*packet) int { <-hold; return 0 })
	sender, hearing := newPhone(t, s.addr, "udp", alice), newPhone(t, s.addr, "udp", carol)
	hearing.mustRegister()
	const parallel = 40
	done := make(chan int, parallel)
	large := strings.Repeat("x", 50000)
	tcp := newPhone(t, s.addr, "tcp", alice)
	for range parallel {
		go func() {
			a, err := tcp.do(context.Background(), tcp.newText(bob, large))
			if err != nil {
				done <- 0
				return
			}
			done <- a.status()
		}()
	}
	if a := sender.soon(sender.newText(carol, greeting)); a.status() != 200 {
		t.Errorf("MESSAGE beside a deaf device: %s", a.first)
	}
	hearing.wantTexts(greeting)
	for range parallel {
		if got := <-done; got != 202 {
			t.Errorf("MESSAGE to a deaf device was answered %d", got)
		}
	}
	s.mustVerify()
}
