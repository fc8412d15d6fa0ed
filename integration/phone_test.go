package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	t1     = 500 * time.Millisecond // RFC 3261 §17.1.2.2
	t2     = 4 * time.Second
	timerF = 64 * t1
)

var (
	errTimeout = errors.New("no final answer within 64*T1")
	errLost    = errors.New("the connection was closed")
)

// phone is this package's own SIP client: one socket, digest with nonce reuse,
// retransmission by RFC 3261 timers. It answers every MESSAGE 200 and keeps it.
// Its methods are safe for concurrent use.
type phone struct {
	t         testing.TB
	account   account
	transport string
	server    string
	instance  string // +sip.instance; empty means none
	local     string

	udp net.PacketConn
	to  net.Addr
	tcp net.Conn

	lost     chan struct{} // closed when the TCP connection has ended
	mu       sync.Mutex
	write    sync.Mutex
	waiting  map[string]chan *packet // by branch
	auth     map[bool]*challenge     // by proxy
	cseq     int
	reply    func(*packet) int // status for a request; 0 means silence
	messages []*packet         // MESSAGE requests, repeats included
}

func newPhone(t testing.TB, server, transport string, a account) *phone {
	t.Helper()
	p := &phone{t: t, account: a, transport: transport, server: server, instance: "urn:uuid:" + uuid(),
		waiting: map[string]chan *packet{}, auth: map[bool]*challenge{}}
	p.connect()
	t.Cleanup(p.close)
	return p
}

// connect opens the socket.
func (p *phone) connect() {
	p.t.Helper()
	switch p.transport {
	case "udp":
		// Not connected: while the server is down the kernel would report
		// refusals on a connected socket.
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			p.t.Fatal(err)
		}
		if p.to, err = net.ResolveUDPAddr("udp", p.server); err != nil {
			p.t.Fatal(err)
		}
		p.udp, p.local = pc, pc.LocalAddr().String()
		go p.readUDP(pc)
	case "tcp":
		c, err := net.Dial("tcp", p.server)
		if err != nil {
			p.t.Fatal(err)
		}
		p.tcp, p.local = c, c.LocalAddr().String()
		p.lost = make(chan struct{})
		go func() {
			defer close(p.lost)
			p.readTCP(c)
		}()
	}
}

func (p *phone) close() {
	if p.udp != nil {
		p.udp.Close()
	}
	if p.tcp != nil {
		p.tcp.Close()
	}
}

func (p *phone) readUDP(pc net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, _, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if m, err := parsePacket(buf[:n]); err == nil {
			p.take(m)
		}
	}
}

func (p *phone) readTCP(c net.Conn) {
	r := bufio.NewReaderSize(c, 1<<16)
	for {
		m, err := readPacket(r, 1<<20)
		if err != nil {
			return
		}
		p.take(m)
	}
}

// take hands an answer to who waits for it and answers a request.
func (p *phone) take(m *packet) {
	if m.status() != 0 {
		p.mu.Lock()
		c := p.waiting[m.branch()]
		p.mu.Unlock()
		if c != nil {
			select {
			case c <- m:
			default:
			}
		}
		return
	}
	p.mu.Lock()
	status := 200
	if p.reply != nil {
		status = p.reply(m)
	}
	if m.method() == "MESSAGE" {
		p.messages = append(p.messages, m)
	}
	p.mu.Unlock()
	if status != 0 {
		p.send(m.answer(status, "Answer", "phone"))
	}
}

// send writes a packet. A server that is away is the retransmission's business.
func (p *phone) send(m *packet) error {
	p.write.Lock()
	defer p.write.Unlock()
	if p.udp != nil {
		_, err := p.udp.WriteTo(m.bytes(), p.to)
		return err
	}
	_, err := p.tcp.Write(m.bytes())
	return err
}

// answerWith changes how requests are answered.
func (p *phone) answerWith(f func(*packet) int) {
	p.mu.Lock()
	p.reply = f
	p.mu.Unlock()
}

// newRequest makes a request without Via and credentials. headers are
// "Name: value" and replace those of the same name.
func (p *phone) newRequest(method, uri, to, body string, headers ...string) *packet {
	p.mu.Lock()
	p.cseq++
	cseq := p.cseq
	p.mu.Unlock()
	m := &packet{first: method + " " + uri + " SIP/2.0", body: body}
	m.header = []field{
		{"Max-Forwards", "70"},
		{"From", fmt.Sprintf("<%s>;tag=%s", p.account.AOR(), token())},
		{"To", "<" + to + ">"},
		{"Call-ID", token()},
		{"CSeq", fmt.Sprintf("%d %s", cseq, method)},
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		m.set(name, value)
	}
	return m
}

// transact sends a request in one transaction and waits for its final answer.
func (p *phone) transact(ctx context.Context, m *packet) (*packet, error) {
	branch := "z9hG4bK" + token()
	m.drop("Via")
	m.header = append([]field{{"Via", fmt.Sprintf("SIP/2.0/%s %s;branch=%s;rport", strings.ToUpper(p.transport), p.local, branch)}}, m.header...)
	answers := make(chan *packet, 10)
	p.mu.Lock()
	p.waiting[branch] = answers
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, branch)
		p.mu.Unlock()
	}()

	end := time.NewTimer(timerF)
	defer end.Stop()
	pause := t1
	for {
		if err := p.send(m); err != nil && p.transport == "tcp" {
			return nil, err
		}
		again := time.NewTimer(pause)
		if p.transport == "tcp" {
			again.Stop() // the transport repeats by itself
		}
	wait:
		for {
			select {
			case a := <-answers:
				if a.status() >= 200 {
					again.Stop()
					return a, nil
				}
			case <-again.C:
				break wait
			case <-p.lost:
				return nil, errLost
			case <-end.C:
				return nil, errTimeout
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		pause = min(2*pause, t2)
	}
}

// do sends a request and answers challenges; each attempt has its own CSeq.
func (p *phone) do(ctx context.Context, m *packet) (*packet, error) {
	for attempt := 0; ; attempt++ {
		p.mu.Lock()
		for _, c := range p.auth {
			c.sign(m, p.account.User, p.account.Password)
		}
		p.mu.Unlock()
		a, err := p.transact(ctx, m)
		if err != nil || a.status() != 401 && a.status() != 407 || attempt == 4 {
			return a, err
		}
		c := challenged(a)
		if c == nil {
			return a, nil
		}
		p.mu.Lock()
		p.auth[c.proxy] = c
		p.cseq++
		m.set("CSeq", fmt.Sprintf("%d %s", p.cseq, m.method()))
		p.mu.Unlock()
		if attempt > 0 && !c.stale {
			return a, nil // the password is wrong
		}
	}
}

// register registers for so many seconds and returns the answer.
func (p *phone) register(expires int, headers ...string) *packet {
	p.t.Helper()
	contact := fmt.Sprintf("<sip:%s@%s;transport=%s>", p.account.User, p.local, p.transport)
	if p.instance != "" {
		contact += fmt.Sprintf(`;+sip.instance="<%s>"`, p.instance)
	}
	headers = append([]string{"Contact: " + contact, fmt.Sprintf("Expires: %d", expires)}, headers...)
	a, err := p.do(context.Background(), p.newRequest("REGISTER", "sip:"+domain, p.account.AOR(), "", headers...))
	if err != nil {
		p.t.Fatalf("REGISTER of %s: %v", p.account.User, err)
	}
	return a
}

// mustRegister is register for an answer of 200.
func (p *phone) mustRegister() {
	p.t.Helper()
	if a := p.register(3600); a.status() != 200 {
		p.t.Fatalf("REGISTER of %s: %s", p.account.User, a.first)
	}
}

// message sends a text and returns the answer.
func (p *phone) message(to account, text string, headers ...string) *packet {
	p.t.Helper()
	a, err := p.do(context.Background(), p.newText(to, text, headers...))
	if err != nil {
		p.t.Fatalf("MESSAGE from %s to %s: %v", p.account.User, to.User, err)
	}
	return a
}

func (p *phone) newText(to account, text string, headers ...string) *packet {
	return p.newRequest("MESSAGE", to.AOR(), to.AOR(), text, append([]string{"Content-Type: text/plain;charset=utf-8"}, headers...)...)
}

// mustMessage is message for one of the given statuses.
func (p *phone) mustMessage(to account, text string, statuses ...int) *packet {
	p.t.Helper()
	a := p.message(to, text)
	for _, s := range statuses {
		if a.status() == s {
			return a
		}
	}
	p.t.Fatalf("MESSAGE from %s to %s: %s, want %v", p.account.User, to.User, a.first, statuses)
	return nil
}

// got returns the MESSAGE requests so far, repeats included.
func (p *phone) got() []*packet {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*packet(nil), p.messages...)
}

// texts are the bodies of the different MESSAGE requests, in order of arrival.
func (p *phone) texts() []string {
	var out []string
	seen := map[string]bool{}
	for _, m := range p.got() {
		if k := m.key() + m.branch(); !seen[k] {
			seen[k] = true
			out = append(out, m.body)
		}
	}
	return out
}

// wantTexts waits until exactly these texts have arrived, in order, and watches
// a little longer for one too many.
func (p *phone) wantTexts(want ...string) {
	p.t.Helper()
	eventually(p.t, 15*time.Second, "delivered", func() error {
		if n := len(p.texts()); n < len(want) {
			return fmt.Errorf("%s has %d of %d texts", p.account.User, n, len(want))
		}
		return nil
	})
	time.Sleep(300 * time.Millisecond)
	got := p.texts()
	if len(got) != len(want) {
		p.t.Fatalf("%s received %q, want %q", p.account.User, got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			p.t.Fatalf("text %d of %s is %q, want %q", i, p.account.User, got[i], want[i])
		}
	}
}

func uuid() string {
	s := token() + token()
	return s[:8] + "-" + s[8:12] + "-4" + s[13:16] + "-8" + s[17:20] + "-" + s[20:]
}
