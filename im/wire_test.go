package im_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/sip"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
)

const boot = 7

var serverAddr = netip.MustParseAddrPort("203.0.113.1:5060")

// wire carries packets between the relay and phones, in memory and on package
// time. It keeps every packet that the relay sent.
type wire struct {
	check  func(m *sip.Message) // sees each MESSAGE before it leaves
	panics func() bool          // makes Alive panic

	mu      sync.Mutex
	layer   *transaction.Layer // responses go there
	phones  map[netip.AddrPort]*phone
	conns   map[transport.Flow]bool
	noTCP   map[netip.AddrPort]bool // refuse connections
	dials   int
	next    uint64
	sent    []packet
	closed  func(transport.Flow)
	stopped bool // a process that is no more sends nothing
}

type packet struct {
	flow transport.Flow
	m    *sip.Message
	at   time.Time
}

func newWire() *wire {
	return &wire{phones: map[netip.AddrPort]*phone{}, conns: map[transport.Flow]bool{}, noTCP: map[netip.AddrPort]bool{}}
}

// Send implements transaction.Sender.
func (w *wire) Send(f transport.Flow, b []byte) error {
	m := new(sip.Message)
	if err := m.Parse(slices.Clone(b)); err != nil {
		panic(fmt.Sprintf("the relay sent what is no message: %v\n%q", err, b))
	}
	if fault := m.Check(); fault != nil {
		panic(fmt.Sprintf("the relay sent a bad message: %v\n%s", fault, b))
	}
	w.mu.Lock()
	if w.stopped || f.Proto.Stream() && !w.conns[f] {
		w.mu.Unlock()
		return errors.New("flow is gone")
	}
	w.sent = append(w.sent, packet{f, m, time.Now()})
	p := w.phones[f.Remote]
	w.mu.Unlock()
	if m.IsRequest() && m.Method() == "MESSAGE" && w.check != nil {
		w.check(m)
	}
	if p != nil {
		time.AfterFunc(10*time.Millisecond, func() { p.receive(f, m) })
	}
	return nil
}

// respond brings a phone's response to the relay that runs now.
func (w *wire) respond(f transport.Flow, b []byte) {
	m := new(sip.Message)
	if err := m.Parse(b); err != nil {
		panic(err)
	}
	if fault := m.Check(); fault != nil {
		panic(fault)
	}
	w.mu.Lock()
	layer := w.layer
	gone := f.Proto.Stream() && !w.conns[f]
	w.mu.Unlock()
	if layer != nil && !gone {
		layer.Response(m)
	}
}

// Alive implements im.Transport.
func (w *wire) Alive(f transport.Flow) bool {
	if w.panics != nil && w.panics() {
		panic("alive")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.Proto == transport.UDP {
		return f.Local == serverAddr
	}
	return w.conns[f]
}

// Dial implements im.Transport.
func (w *wire) Dial(_ context.Context, to transport.Target) (transport.Flow, error) {
	time.Sleep(10 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials++
	if to.Proto != transport.TCP || w.noTCP[to.Remote] || w.phones[to.Remote] == nil {
		return transport.Flow{}, errors.New("connection refused")
	}
	return w.open(to.Remote), nil
}

func (w *wire) open(remote netip.AddrPort) transport.Flow {
	w.next++
	f := transport.Flow{Proto: transport.TCP, Boot: boot, Conn: w.next, Local: serverAddr, Remote: remote}
	w.conns[f] = true
	return f
}

// connect opens a connection of a phone to the server.
func (w *wire) connect(remote netip.AddrPort) transport.Flow {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open(remote)
}

// cut closes a connection.
func (w *wire) cut(f transport.Flow) {
	w.mu.Lock()
	delete(w.conns, f)
	layer, closed := w.layer, w.closed
	w.mu.Unlock()
	layer.FlowClosed(f)
	if closed != nil {
		closed(f)
	}
}

// UDPFlow implements im.Transport.
func (w *wire) UDPFlow(remote netip.AddrPort) (transport.Flow, bool) {
	if !remote.Addr().Is4() {
		return transport.Flow{}, false
	}
	return transport.Flow{Proto: transport.UDP, Local: serverAddr, Remote: remote}, true
}

// SentBy implements im.Transport.
func (w *wire) SentBy(f transport.Flow) netip.AddrPort { return f.Local }

// messages returns the MESSAGE requests that left, retransmissions too.
func (w *wire) messages() []packet {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.sent), func(p packet) bool { return !p.m.IsRequest() })
}

// phone is a user agent behind the wire. It knows retransmissions by their
// branch and repeats its answer to them (RFC 3261 §17.2.3).
type phone struct {
	t    testing.TB
	w    *wire
	addr netip.AddrPort

	mu       sync.Mutex
	answer   func(m *sip.Message) (status int, after time.Duration) // 0: silence
	lines    []string                                               // added to its answers
	body     string
	oneVia   bool           // its answers have our Via only
	answered map[string]int // by branch
	ready    map[string]time.Time
	requests []*sip.Message // without retransmissions
	flows    []transport.Flow
	took     map[string]int            // Call-ID → branches answered 2xx
	final    map[string][]*sip.Message // responses to what it sent, by branch
}

func (w *wire) phone(t testing.TB, addr string) *phone {
	p := &phone{t: t, w: w, addr: netip.MustParseAddrPort(addr), answered: map[string]int{}, ready: map[string]time.Time{}, took: map[string]int{}, final: map[string][]*sip.Message{}}
	p.answers(200)
	w.mu.Lock()
	w.phones[p.addr] = p
	w.mu.Unlock()
	return p
}

// answers makes the phone give these statuses, one for each request, the last
// for all that follow.
func (p *phone) answers(statuses ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = func(*sip.Message) (int, time.Duration) {
		s := statuses[0]
		if len(statuses) > 1 {
			statuses = statuses[1:]
		}
		return s, 0
	}
}

func (p *phone) receive(f transport.Flow, m *sip.Message) {
	p.mu.Lock()
	if !m.IsRequest() {
		p.final[m.Via().Branch] = append(p.final[m.Via().Branch], m)
		p.mu.Unlock()
		return
	}
	branch := m.Via().Branch
	status, seen := p.answered[branch]
	var after time.Duration
	if !seen {
		status, after = p.answer(m)
		p.answered[branch], p.ready[branch] = status, time.Now().Add(after)
		p.requests = append(p.requests, m)
		p.flows = append(p.flows, f)
		if status/100 == 2 {
			p.took[m.CallID()]++
		}
	}
	r := &sip.Reply{Status: status, ToTag: "phone"}
	for _, l := range p.lines {
		r.Lines = append(r.Lines, l+"\r\n"...)
	}
	if p.body != "" {
		r.Body, r.BodyTyp = []byte(p.body), "text/plain"
	}
	oneVia := p.oneVia
	silent := status == 0 || seen && time.Now().Before(p.ready[branch])
	p.mu.Unlock()
	if silent {
		return
	}
	b := m.AppendReply(nil, serverAddr, r)
	if oneVia {
		text := string(b)
		at := strings.LastIndex(text, "Via: ")
		b = []byte(text[:at] + text[at+strings.Index(text[at:], "\r\n")+2:])
	}
	time.AfterFunc(after+10*time.Millisecond, func() { p.w.respond(f, b) })
}

// hear makes a phone take what it was silent to, when it comes again.
func (p *phone) hear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for branch, status := range p.answered {
		if status == 0 {
			delete(p.answered, branch)
		}
	}
}

// got returns the bodies of the requests that came, in order.
func (p *phone) got() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, m := range p.requests {
		list = append(list, strings.Clone(m.Body()))
	}
	return list
}

func (p *phone) last() *sip.Message {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.requests) == 0 {
		p.t.Fatalf("%s got no request", p.addr)
	}
	return p.requests[len(p.requests)-1]
}

// want fails the test unless the phone got exactly these bodies, in order.
func (p *phone) want(bodies ...string) {
	p.t.Helper()
	if got := p.got(); !slices.Equal(got, bodies) {
		p.t.Fatalf("%s got %q, want %q", p.addr, got, bodies)
	}
}

// udp is the flow between the server and the phone.
func (p *phone) udp() transport.Flow {
	return transport.Flow{Proto: transport.UDP, Local: serverAddr, Remote: p.addr}
}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
