package transaction_test

import (
	"bytes"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
)

var (
	local  = netip.MustParseAddrPort("192.0.2.5:5060")
	remote = netip.MustParseAddrPort("192.0.2.1:5060")
	udp    = transport.Flow{Proto: transport.UDP, Local: local, Remote: remote}
	tcp    = transport.Flow{Proto: transport.TCP, Boot: 1, Conn: 7, Local: local, Remote: remote}
)

// wire is a Sender that keeps what was sent.
type wire struct {
	mu    sync.Mutex
	start time.Time
	sent  []sent
	fail  error
}

type sent struct {
	at   time.Duration // since the wire was made
	flow transport.Flow
	data string
}

func (w *wire) Send(f transport.Flow, b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return w.fail
	}
	w.sent = append(w.sent, sent{time.Since(w.start), f, string(b)})
	return nil
}

// take returns what was sent since the last call.
func (w *wire) take() []sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sent
	w.sent = nil
	return s
}

func (w *wire) times() []time.Duration {
	var all []time.Duration
	for _, s := range w.take() {
		all = append(all, s.at)
	}
	return all
}

// run runs f in a bubble with a layer that ends with it.
func run(t *testing.T, o transaction.Options, f func(t *testing.T, l *transaction.Layer, w *wire)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{start: time.Now()}
		l := transaction.New(w, o)
		defer l.Close()
		f(t, l, w)
	})
}

// parse returns a message that must be right.
func parse(t testing.TB, b []byte) *sip.Message {
	t.Helper()
	m := new(sip.Message)
	if err := m.Parse(bytes.Clone(b)); err != nil {
		t.Fatalf("%v\n%q", err, b)
	}
	if fault := m.Check(); fault != nil {
		t.Fatalf("%v\n%s", fault, b)
	}
	return m
}

func request(t testing.TB, method, branch string) *sip.Message {
	t.Helper()
	return parse(t, siptest.Request(method, branch, remote))
}

func answer(m *sip.Message, status int) []byte {
	return m.AppendReply(nil, remote, &sip.Reply{Status: status, ToTag: "srv"})
}

// outcome keeps what a client transaction told.
type outcome struct {
	mu     sync.Mutex
	n      int
	status int
	err    error
	at     time.Time
}

func (o *outcome) done(m *sip.Message, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n++
	o.err, o.at = err, time.Now()
	if m != nil {
		o.status = m.Status()
	}
}

// calls tells how often it was told.
func (o *outcome) calls() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n
}

// since tells how long after start it ended.
func (o *outcome) since(start time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.at.Sub(start)
}

func (o *outcome) want(t *testing.T, status int, err error) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n != 1 || o.status != status || !errors.Is(o.err, err) {
		t.Errorf("told %d times, status %d, %v; want once %d, %v", o.n, o.status, o.err, status, err)
	}
}

// sleep lets time pass and everything settle.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
