package transaction_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
)

// TestServer: swallowed while there is no answer, answered from the cache
// afterwards, forgotten after Timer J (RFC 3261 §17.2.2).
func TestServer(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, w *wire) {
		m := request(t, "MESSAGE", "z9hG4bK1")
		k := l.KeyOf(m)
		if l.Absorb(k, udp) {
			t.Fatal("a new request was absorbed")
		}
		s, fault := l.Begin(k, m, udp, udp, time.Now())
		if s == nil || fault != nil {
			t.Fatal(fault)
		}
		if s.Request().Raw() != m.Raw() || s.Request() == m || s.Source() != udp || !s.Begun().Equal(time.Now()) {
			t.Error("the transaction does not know its request")
		}
		sleep(time.Second)
		if !l.Absorb(k, udp) || len(w.take()) != 0 {
			t.Error("a retransmission was not swallowed")
		}
		if again, fault := l.Begin(k, m, udp, udp, time.Now()); again != nil || fault != nil {
			t.Errorf("begun twice: %v, %v", again, fault)
		}
		final := answer(m, 200)
		s.Reply(final)
		s.Reply(answer(m, 500))
		s.Forget(answer(m, 500))
		if got := w.take(); len(got) != 1 || got[0].data != string(final) || got[0].flow != udp {
			t.Errorf("sent %v", got)
		}
		for range 31 {
			sleep(time.Second)
			if !l.Absorb(k, udp) {
				t.Fatal("the answer is gone before Timer J")
			}
			if got := w.take(); len(got) != 1 || siptest.Diff(final, got[0].data) != "" {
				t.Errorf("answered again with %v", got)
			}
		}
		if s, fault := l.Begin(k, m, udp, udp, time.Now()); s != nil || fault != nil {
			t.Error("an answered request begins again")
		}
		if got := w.take(); len(got) != 1 || got[0].data != string(final) {
			t.Errorf("Begin answered with %v", got)
		}
		sleep(1100 * time.Millisecond)
		if l.Absorb(k, udp) {
			t.Error("the answer is there after Timer J")
		}
		if n, bytes := l.FinishedBytes(); n != 0 || bytes != 0 {
			t.Errorf("%d transactions in %d bytes left", n, bytes)
		}
		if n := l.Counters.Active.Load(); n != 0 {
			t.Errorf("%d active", n)
		}
		if n := l.Counters.Retransmitted.Load(); n != 34 {
			t.Errorf("%d retransmissions counted", n)
		}
	})
}

// TestTrying: RFC 4320 §4.1: a 100 when the client's Timer E has reached T2, and
// not before. It is sent once, and again for a retransmission (RFC 3261 §17.2.2).
func TestTrying(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, w *wire) {
		m := request(t, "MESSAGE", "z9hG4bK1")
		k := l.KeyOf(m)
		s, _ := l.Begin(k, m, udp, udp, time.Now())
		sleep(20 * time.Second)
		got := w.take()
		if len(got) != 1 || got[0].at != 3500*time.Millisecond {
			t.Fatalf("sent %v", got)
		}
		trying := parse(t, []byte(got[0].data))
		if to, err := trying.To(); trying.Status() != 100 || err != nil || to.Tag() != "" {
			t.Errorf("sent\n%s", got[0].data)
		}
		if !l.Absorb(k, udp) {
			t.Error("a retransmission was not absorbed")
		}
		if again := w.take(); len(again) != 1 || again[0].data != got[0].data {
			t.Errorf("answered with %v", again)
		}
		s.Reply(answer(m, 200))
		sleep(time.Minute)
		if got := w.take(); len(got) != 1 || !strings.HasPrefix(got[0].data, "SIP/2.0 200 ") {
			t.Errorf("sent %v", got)
		}

		m = request(t, "MESSAGE", "z9hG4bK2")
		s, _ = l.Begin(l.KeyOf(m), m, udp, udp, time.Now())
		sleep(3 * time.Second)
		s.Reply(answer(m, 200))
		w.take()
		sleep(10 * time.Second)
		if got := w.take(); len(got) != 0 {
			t.Errorf("sent %v behind the answer", got)
		}
	})
}

// TestNothingKept: over a connection, after Forget and after Drop.
func TestNothingKept(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, w *wire) {
		m := request(t, "MESSAGE", "z9hG4bK1")
		k := l.KeyOf(m)
		for name, end := range map[string]func(){
			"stream": func() {
				s, _ := l.Begin(k, m, tcp, tcp, time.Now())
				s.Reply(answer(m, 200))
			},
			"stream, at once": func() { l.Finish(k, tcp, answer(m, 200)) },
			"challenge": func() {
				s, _ := l.Begin(k, m, udp, udp, time.Now())
				s.Forget(answer(m, 407))
			},
			"dropped": func() {
				s, _ := l.Begin(k, m, udp, udp, time.Now())
				s.Drop()
				_ = w.Send(udp, nil) // for the count below
			},
		} {
			end()
			if n, _ := l.FinishedBytes(); n != 0 || l.Absorb(k, udp) {
				t.Errorf("%s: %d kept", name, n)
			}
			if got := w.take(); len(got) != 1 {
				t.Errorf("%s: sent %v", name, got)
			}
		}
		if n := l.Counters.Active.Load(); n != 0 {
			t.Errorf("%d active", n)
		}
	})
}

func TestFinish(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, w *wire) {
		m := request(t, "OPTIONS", "z9hG4bK1")
		k := l.KeyOf(m)
		l.Finish(k, udp, answer(m, 200))
		if !l.Absorb(k, udp) {
			t.Error("not kept")
		}
		if got := w.take(); len(got) != 2 || got[0].data != got[1].data {
			t.Errorf("sent %v", got)
		}
		sleep(32100 * time.Millisecond)
		if l.Absorb(k, udp) {
			t.Error("kept beyond Timer J")
		}
	})
}

// TestKey: RFC 3261 §17.2.3: branch, sent-by and method; without the magic
// cookie the fields that RFC 2543 compared.
func TestKey(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, _ *wire) {
		base := string(siptest.Request("MESSAGE", "z9hG4bKbase", remote))
		old := string(siptest.Request("MESSAGE", "oldbranch", remote))
		for _, c := range []struct {
			name, from, old, with string
			same                  bool
		}{
			{"as it is", base, "Max-Forwards", "Max-Forwards", true},
			{"another branch", base, "branch=z9hG4bKbase", "branch=z9hG4bKother", false},
			{"another sent-by", base, "UDP 192.0.2.1", "UDP 192.0.2.2", false},
			{"another port", base, ":5060;rport", ":5061;rport", false},
			{"no port", base, ":5060;rport", ";rport", false},
			{"another tag", base, "tag=a", "tag=b", true},
			{"old, as it is", old, "Max-Forwards", "Max-Forwards", true},
			{"old, another tag", old, "tag=a", "tag=b", false},
			{"old, another Request-URI", old, "sip:bob@example.com SIP", "sip:carol@example.com SIP", false},
			{"old, another Call-ID", old, "Call-ID: oldbranch", "Call-ID: other", false},
			{"old, another CSeq", old, "CSeq: 1", "CSeq: 2", false},
			{"old, another Via", old, "branch=oldbranch", "branch=other", false},
			{"old, other hops", old, "Max-Forwards: 70", "Max-Forwards: 69", true},
			{"cookie alone", strings.ReplaceAll(old, "branch=oldbranch", "branch=z9hG4bK"), "Call-ID: oldbranch", "Call-ID: other", false},
		} {
			if !strings.Contains(c.from, c.old) {
				t.Fatalf("%s: no %q", c.name, c.old)
			}
			a, b := parse(t, []byte(c.from)), parse(t, []byte(strings.Replace(c.from, c.old, c.with, 1)))
			if (l.KeyOf(a) == l.KeyOf(b)) != c.same {
				t.Errorf("%s: the same key is %v", c.name, !c.same)
			}
		}
		if l.KeyOf(request(t, "MESSAGE", "z9hG4bKx")) == l.KeyOf(request(t, "OPTIONS", "z9hG4bKx")) {
			t.Error("methods share a key")
		}
	})
}

// TestTag: the To tag of an answer without state is the same for the same
// request (RFC 3261 §8.2.7).
func TestTag(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, _ *wire) {
		a, b := request(t, "MESSAGE", "z9hG4bKa"), request(t, "MESSAGE", "z9hG4bKb")
		s, _ := l.Begin(l.KeyOf(a), a, udp, udp, time.Now())
		if tag := l.KeyOf(a).Tag(); tag != s.Tag() || tag == l.KeyOf(b).Tag() || len(tag) < 8 { // §19.3 asks for 32 random bits
			t.Errorf("tags %q, %q and %q", tag, s.Tag(), l.KeyOf(b).Tag())
		}
	})
}

// TestBudget: when the bytes are used up the oldest answers leave first.
func TestBudget(t *testing.T) {
	run(t, transaction.Options{Bytes: 64 * (256 << 10)}, func(t *testing.T, l *transaction.Layer, w *wire) {
		const n = 40_000 // of about 1 kB each, in 16 MiB
		body := make([]byte, 1000)
		key := func(i int) transaction.Key { return transaction.Key(uint64(i) * 0x9e3779b97f4a7c15) }
		for i := range n {
			l.Finish(key(i), udp, body)
		}
		w.take()
		kept, bytes := l.FinishedBytes()
		if bytes > 16<<20 || kept < 15_000 {
			t.Errorf("%d transactions in %d bytes", kept, bytes)
		}
		if evicted := int(l.Counters.Evicted.Load()); evicted != n-kept {
			t.Errorf("%d evicted, %d kept of %d", evicted, kept, n)
		}
		for i := range n {
			// Each of the 64 shards keeps its newest; they fill evenly.
			if was := l.Absorb(key(i), udp); was && i < n-kept-2000 || !was && i >= n-kept+2000 {
				t.Fatalf("number %d of %d is kept: %v", i, n, was)
			}
		}
		sleep(33 * time.Second)
		if kept, bytes := l.FinishedBytes(); kept != 0 || bytes != 0 {
			t.Errorf("%d transactions in %d bytes left", kept, bytes)
		}
	})
}

func TestMaxActive(t *testing.T) {
	run(t, transaction.Options{MaxActive: 3}, func(t *testing.T, l *transaction.Layer, _ *wire) {
		var all []*transaction.Server
		for i := range 3 {
			m := request(t, "MESSAGE", fmt.Sprintf("z9hG4bK%d", i))
			s, fault := l.Begin(l.KeyOf(m), m, udp, udp, time.Now())
			if fault != nil {
				t.Fatal(fault)
			}
			all = append(all, s)
		}
		m := request(t, "MESSAGE", "z9hG4bKx")
		s, fault := l.Begin(l.KeyOf(m), m, udp, udp, time.Now())
		if s != nil || fault == nil || fault.Status != sip.StatusServiceUnavailable || len(fault.Headers) != 1 || fault.Headers[0].Name != "Retry-After" {
			t.Errorf("over the limit: %v, %v", s, fault)
		}
		if n := l.Counters.Refused.Load(); n != 1 {
			t.Errorf("Refused is %d", n)
		}
		all[0].Drop()
		if s, fault = l.Begin(l.KeyOf(m), m, udp, udp, time.Now()); s == nil || fault != nil {
			t.Errorf("after one ended: %v", fault)
		}
	})
}

// TestMemory: a finished transaction takes under 1 KB for its 32 s.
func TestMemory(t *testing.T) {
	const n = 100_000
	l := transaction.New(discard{}, transaction.Options{})
	defer l.Close()
	final := answer(request(t, "REGISTER", "z9hG4bKnashds7"), 200)
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	for i := range n {
		l.Finish(transaction.Key(uint64(i+1)*0x9e3779b97f4a7c15), udp, final)
	}
	after := heap()
	kept, _ := l.FinishedBytes()
	if kept != n {
		t.Fatalf("%d kept", kept)
	}
	each := float64(after-before) / n
	t.Logf("%.0f bytes for each, of which the answer %d", each, len(final))
	if each >= 1024 {
		t.Errorf("%.0f bytes for each finished transaction", each)
	}
}

type discard struct{}

func (discard) Send(transport.Flow, []byte) error { return nil }

// TestNeverTwice: many goroutines see copies of the same requests; each request
// is handed on once, whatever they do at the same time.
func TestNeverTwice(t *testing.T) {
	l := transaction.New(discard{}, transaction.Options{})
	defer l.Close()
	const requests, copies = 500, 8
	handled := make([]atomic.Int32, requests)
	messages := make([]*sip.Message, requests)
	for i := range messages {
		messages[i] = request(t, "MESSAGE", fmt.Sprintf("z9hG4bK%d", i))
	}
	var wg sync.WaitGroup
	for range copies {
		wg.Go(func() {
			for i, m := range messages {
				k := l.KeyOf(m)
				if l.Absorb(k, udp) {
					continue
				}
				runtime.Gosched() // the window between the two calls
				s, fault := l.Begin(k, m, udp, udp, time.Now())
				if fault != nil {
					t.Error(fault)
				}
				if s == nil {
					continue
				}
				handled[i].Add(1)
				if i%2 == 0 {
					s.Reply([]byte("SIP/2.0 200 OK\r\n\r\n"))
				} else {
					wg.Go(func() { s.Reply([]byte("SIP/2.0 200 OK\r\n\r\n")) })
				}
			}
		})
	}
	wg.Wait()
	for i := range handled {
		if n := handled[i].Load(); n != 1 {
			t.Errorf("request %d was handed on %d times", i, n)
		}
	}
	if n := l.Counters.Active.Load(); n != 0 {
		t.Errorf("%d active", n)
	}
}

// TestResponseRaces: a final response, a timer and the end of a flow come
// together; the outcome is told once.
func TestResponseRaces(t *testing.T) {
	l := transaction.New(discard{}, transaction.Options{Timers: transaction.Timers{T1: 2 * time.Millisecond, T2: 4 * time.Millisecond}})
	defer l.Close()
	var told atomic.Int32
	const n = 300
	var wg sync.WaitGroup
	for i := range n {
		m := request(t, "MESSAGE", fmt.Sprintf("z9hG4bK%d", i))
		final := parse(t, answer(m, 200))
		flow := tcp
		flow.Conn = uint64(i)
		wg.Go(func() {
			l.Request(flow, m.Via().Branch, m.Bytes(), func(*sip.Message, error) { told.Add(1) })
			wg.Go(func() { l.Response(final) })
			wg.Go(func() { l.FlowClosed(flow) })
		})
	}
	wg.Wait()
	if got := told.Load(); got != n {
		t.Errorf("%d outcomes of %d", got, n)
	}
}
