package transaction_test

import (
	"fmt"
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

// over sends a layer's messages through a network.
type over struct{ n *siptest.Network }

func (o over) Send(f transport.Flow, b []byte) error {
	o.n.Send(f.Local, f.Remote, b)
	return nil
}

// TestLossyNetwork: with a third of all packets lost and some doubled, each
// request is handled once at most, and whoever gets a final response has been
// handled.
func TestLossyNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := siptest.NewNetwork(4711)
		n.Loss, n.Duplicate, n.Delay, n.Jitter = 0.33, 0.1, 30*time.Millisecond, 400*time.Millisecond
		client, server := transaction.New(over{n}, transaction.Options{}), transaction.New(over{n}, transaction.Options{})
		defer client.Close()
		defer server.Close()
		var mu sync.Mutex
		handled := map[string]int{}
		n.Attach(remote, func(b []byte, _ netip.AddrPort) { client.Response(parse(t, b)) })
		n.Attach(local, func(b []byte, from netip.AddrPort) {
			m := parse(t, b)
			flow := transport.Flow{Proto: transport.UDP, Local: local, Remote: from}
			k := server.KeyOf(m)
			if server.Absorb(k, flow) {
				return
			}
			s, fault := server.Begin(k, m, flow, flow, time.Now())
			if fault != nil {
				t.Error(fault)
			}
			if s == nil {
				return
			}
			mu.Lock()
			handled[m.CallID()]++
			slow := len(handled)%10 == 0
			mu.Unlock()
			if slow {
				time.Sleep(6 * time.Second)
			}
			s.Reply(m.AppendReply(nil, from, &sip.Reply{Status: 200, ToTag: "srv"}))
		})
		const requests = 500
		answered := map[string]bool{}
		told := 0
		for i := range requests {
			branch := fmt.Sprintf("z9hG4bK%d", i)
			m := request(t, "MESSAGE", branch)
			client.Request(transport.Flow{Proto: transport.UDP, Local: remote, Remote: local}, branch, m.Bytes(), func(r *sip.Message, err error) {
				mu.Lock()
				defer mu.Unlock()
				told++
				if err == nil && r.Status() == 200 {
					answered[r.CallID()] = true
				}
			})
		}
		sleep(2 * time.Minute)
		for id, times := range handled {
			if times != 1 {
				t.Errorf("%s was handled %d times", id, times)
			}
		}
		for id := range answered {
			if handled[id] != 1 {
				t.Errorf("%s was answered and not handled", id)
			}
		}
		if told != requests || len(answered) < requests*98/100 {
			t.Errorf("%d outcomes, %d answered of %d", told, len(answered), requests)
		}
		if a, c := server.Counters.Active.Load(), client.Counters.Clients.Load(); a != 0 || c != 0 {
			t.Errorf("%d servers and %d clients left", a, c)
		}
	})
}
