package transport_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transport"
)

// TestTurns: of many connections full of what may wait, no more than half the processors
// are at work, and what may not wait comes in between over another one. Nothing is lost,
// and each connection's requests are served in their order.
func TestTurns(t *testing.T) {
	const conns, each = 8, 50
	most := max(1, runtime.GOMAXPROCS(0)/2)
	var mu sync.Mutex
	inside, highest := 0, 0
	served := map[transport.Flow][]string{}
	gate := make(chan struct{})
	n := new(node)
	n = start(t, transport.Options{Later: func(b []byte) bool { return bytes.HasPrefix(b, []byte("SUBSCRIBE ")) }}, func(m *sip.Message, f transport.Flow) {
		if m.Check() != nil || m.Method() != "SUBSCRIBE" {
			n.answer(m, f)
			return
		}
		mu.Lock()
		inside++
		highest = max(highest, inside)
		served[f] = append(served[f], strings.Clone(m.Via().Branch))
		mu.Unlock()
		<-gate
		n.answer(m, f)
		mu.Lock()
		inside--
		mu.Unlock()
	})
	t.Cleanup(sync.OnceFunc(func() { // a failed test must not leave readers behind
		select {
		case <-gate:
		default:
			close(gate)
		}
	}))
	var peers []*peer
	for i := range conns {
		p := dial(t, n.tcp)
		var b []byte
		for j := range each {
			b = append(b, siptest.Request("SUBSCRIBE", fmt.Sprintf("%s%d.%d", sip.MagicCookie, i, j), addrPort(p.LocalAddr()))...)
		}
		p.send(b)
		peers = append(peers, p)
	}
	until(t, "the turns are taken", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return inside == min(most, conns)
	})
	other := dial(t, n.tcp)
	for i := range 20 {
		other.send(siptest.Request("REGISTER", fmt.Sprint(sip.MagicCookie, "r", i), addrPort(other.LocalAddr())))
		if m := other.next(); m.Status() != 200 {
			t.Fatalf("REGISTER beside: %d", m.Status())
		}
	}
	close(gate)
	for i, p := range peers {
		for j := range each {
			m := p.next()
			if m.Check() != nil || m.Via().Branch != fmt.Sprintf("%s%d.%d", sip.MagicCookie, i, j) {
				t.Fatalf("answer %d over connection %d: %s", j, i, m.Raw())
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if highest > most {
		t.Errorf("%d at once, of %d", highest, most)
	}
	for f, branches := range served {
		var want []string
		prefix, _, _ := strings.Cut(branches[0], ".")
		for j := range each {
			want = append(want, fmt.Sprint(prefix, ".", j))
		}
		if !slices.Equal(branches, want) {
			t.Errorf("%s: served %v", f, branches)
		}
	}
}
