package siptest_test

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/sip/siptest"
)

func TestDiff(t *testing.T) {
	const a = "MESSAGE sip:bob@example.com SIP/2.0\r\nTo: <sip:bob@example.com>\r\nSubject: one\r\n\r\nbody"
	if d := siptest.Diff(a, []byte(a)); d != "" {
		t.Errorf("equal messages differ:\n%s", d)
	}
	for _, c := range []struct{ name, got, want string }{
		{"a changed line", strings.Replace(a, "one", "two", 1), "- Subject: one\n+ Subject: two\n"},
		{"a line more", strings.Replace(a, "Subj", "Date: now\r\nSubj", 1), "+ Date: now\n  Subject: one\n"},
		{"a line less", strings.Replace(a, "Subject: one\r\n", "", 1), "- Subject: one\n"},
		{"another line end", strings.Replace(a, "one\r\n", "one\n", 1), "+ Subject: one\\n\n"},
		{"an end of line behind the body", a + "\r\n", "- body (end)\n+ body\n"},
	} {
		if d := siptest.Diff(a, c.got); !strings.Contains(d, c.want) {
			t.Errorf("%s: want %q in\n%s", c.name, c.want, d)
		}
	}
}

func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("192.0.2.2:5060")
		n := siptest.NewNetwork(1)
		n.Delay, n.Jitter, n.Loss, n.Duplicate = 20*time.Millisecond, 10*time.Millisecond, 0.2, 0.1
		start := time.Now()
		var arrived atomic.Int32
		n.Attach(b, func(_ []byte, from netip.AddrPort) {
			if d := time.Since(start); from != a || d < 20*time.Millisecond || d > 30*time.Millisecond {
				t.Errorf("a packet from %s after %v", from, d)
			}
			arrived.Add(1)
		})
		for range 1000 {
			n.Send(a, b, []byte("x"))
		}
		n.Send(b, a, []byte("nobody there"))
		for range 31 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		if got := arrived.Load(); got < 800 || got > 960 { // 1000 * 0.8 * 1.1 = 880
			t.Errorf("%d of 1000 arrived", got)
		}
		if len(n.Trace()) != 1001 {
			t.Errorf("%d packets in the trace", len(n.Trace()))
		}
	})
}

func TestUA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := siptest.NewNetwork(1)
		n.Delay = 10 * time.Millisecond
		alice, bob := siptest.NewUA(t, n, "192.0.2.1:5060"), siptest.NewUA(t, n, "192.0.2.2:5060")
		alice.Send(bob.Addr, siptest.Request("MESSAGE", "z9hG4bK1", alice.Addr, "Subject: hello"))
		if got := bob.Answer(200, time.Second).Other("X"); got != "" {
			t.Errorf("a field that nobody sent: %q", got)
		}
		if m := alice.Expect(200, time.Second); m.Method() != "MESSAGE" {
			t.Errorf("method %q", m.Method())
		}
		bob.Quiet(time.Minute)
		n.Drop = func(p siptest.Packet) bool { return p.To == bob.Addr }
		alice.Send(bob.Addr, siptest.Request("MESSAGE", "z9hG4bK2", alice.Addr))
		bob.Quiet(time.Minute)
	})
}
