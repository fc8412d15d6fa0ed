package transaction_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
)

// TestClientMovesToAnotherFlow: a device that came back elsewhere is sent the
// request there, under the same branch, and the old flow is left alone.
func TestClientMovesToAnotherFlow(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, w *wire) {
		data := siptest.Request("MESSAGE", "z9hG4bKmoves", remote)
		elsewhere := udp
		elsewhere.Remote = local
		var first, second, third outcome
		l.Request(udp, "z9hG4bKmoves", data, first.done)
		l.Request(elsewhere, "z9hG4bKmoves", data, second.done)
		l.Request(elsewhere, "z9hG4bKmoves", data, third.done)
		first.want(t, 0, transaction.ErrMoved)
		third.want(t, 0, transaction.ErrLimit)
		w.take()
		sleep(time.Second)
		for _, s := range w.take() {
			if s.flow != elsewhere {
				t.Errorf("sent again over %v", s.flow)
			}
		}
		m := new(sip.Message)
		if err := m.Parse(answer(parse(t, data), 200)); err != nil || m.Check() != nil {
			t.Fatal(err)
		}
		l.Response(m)
		second.want(t, 200, nil)
		if n := l.Counters.Clients.Load() + l.Counters.UnfinishedBytes.Load(); n != 0 {
			t.Errorf("%d left in the counters", n)
		}
	})
}

// TestUnfinishedBytes: large messages to silent devices take no more memory than
// the limit, and all of it is given back.
func TestUnfinishedBytes(t *testing.T) {
	data := append(siptest.Request("MESSAGE", "z9hG4bKlarge", remote), bytes.Repeat([]byte("x"), 10_000)...)
	run(t, transaction.Options{MaxBytes: 100_000}, func(t *testing.T, l *transaction.Layer, _ *wire) {
		limited, ended := 0, 0
		for i := range 20 {
			l.Request(tcp, "z9hG4bKlarge"+string(rune('a'+i)), data, func(_ *sip.Message, err error) {
				ended++
				if errors.Is(err, transaction.ErrLimit) {
					limited++
				}
			})
		}
		if ended != limited || limited < 10 || limited > 12 {
			t.Errorf("%d of 20 refused, %d ended", limited, ended)
		}
		other := tcp
		other.Conn++
		l.FlowClosed(other)
		if ended != limited {
			t.Error("another connection's end ended them")
		}
		l.FlowClosed(transport.Flow{Proto: tcp.Proto, Boot: tcp.Boot, Conn: tcp.Conn, Local: tcp.Local, Remote: tcp.Remote})
		if ended != 20 || l.Counters.UnfinishedBytes.Load() != 0 || l.Counters.Clients.Load() != 0 {
			t.Errorf("%d ended, %d bytes and %d transactions left", ended, l.Counters.UnfinishedBytes.Load(), l.Counters.Clients.Load())
		}
	})
}
