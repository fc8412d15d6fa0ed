package transaction_test

import (
	"bytes"
	"errors"
	"fmt"
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

// TestReleasedMemory: memory that somebody may still refer to is not used again: that
// of a transaction that goes on, whose 100 was due, or which sent it again.
func TestReleasedMemory(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, _ *wire) {
		begin := func(branch string) *transaction.Server {
			m := request(t, "MESSAGE", branch)
			s, fault := l.Begin(l.KeyOf(m), m, udp, udp, time.Now())
			if s == nil || fault != nil {
				t.Fatal(fault)
			}
			return s
		}
		late, open := begin("z9hG4bKlate"), begin("z9hG4bKopen")
		sleep(4 * time.Second) // the 100 of both
		late.Reply(answer(late.Request(), 200))
		late.Release()
		open.Release()
		again := begin("z9hG4bKagain")
		again.Release()
		quick := begin("z9hG4bKquick")
		text := quick.Request().Raw()
		quick.Reply(answer(quick.Request(), 200))
		quick.Release()
		for i := range 100 {
			s := begin(fmt.Sprintf("z9hG4bKnew%d", i))
			if s == late || s == open || s == again {
				t.Fatal("memory that is referred to was used again")
			}
			if s == quick && s.Request().Raw() == text {
				t.Fatal("a new transaction has an old request")
			}
		}
		if want := request(t, "MESSAGE", "z9hG4bKquick").Raw(); text != want {
			t.Error("the strings of a request did not outlive it")
		}
		if got := open.Request().Via().Branch; got != "z9hG4bKopen" {
			t.Errorf("an open transaction has the request %s", got)
		}
		open.Reply(answer(open.Request(), 200))
	})
}

// counted is a Writer that counts.
type counted struct {
	text        []byte
	done, overs int
}

func (o *counted) Append(b []byte) []byte   { return append(b, o.text...) }
func (o *counted) Done(*sip.Message, error) { o.done++ }
func (o *counted) Over()                    { o.overs++ }
func (o *counted) want(t *testing.T, n int, when string) {
	t.Helper()
	if o.done != 1 || o.overs != n {
		t.Errorf("%s: done %d times, over %d times, want 1 and %d", when, o.done, o.overs, n)
	}
}

// TestOver: a Writer hears that nobody refers to it any more only when that is so.
func TestOver(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, _ *wire) {
		write := func(branch string, f transport.Flow) (*counted, *sip.Message) {
			m := request(t, "MESSAGE", branch)
			o := &counted{text: []byte(m.Raw())}
			l.Write(f, []byte(branch), time.Now(), o)
			return o, m
		}
		o, m := write("z9hG4bK1", udp)
		l.Response(parse(t, answer(m, 200)))
		l.Response(parse(t, answer(m, 200)))
		o.want(t, 1, "at once")
		o, m = write("z9hG4bK2", udp)
		sleep(700 * time.Millisecond)
		l.Response(parse(t, answer(m, 200)))
		o.want(t, 0, "behind Timer E")
		o, _ = write("z9hG4bK3", udp)
		sleep(40 * time.Second)
		o.want(t, 0, "Timer F")
		first, m := write("z9hG4bK4", udp)
		o, _ = write("z9hG4bK4", udp)
		o.want(t, 0, "running already")
		o, _ = write("z9hG4bK4", tcp)
		first.want(t, 1, "moved")
		l.FlowClosed(tcp)
		o.want(t, 0, "flow closed")
		l.Response(parse(t, answer(m, 200)))
		first.want(t, 1, "moved, and answered")
	})
}
