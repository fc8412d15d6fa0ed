package transaction_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"rollcall/sip/transaction"
)

func seconds(s ...float64) []time.Duration {
	all := make([]time.Duration, len(s))
	for i, x := range s {
		all[i] = time.Duration(x * float64(time.Second))
	}
	return all
}

// TestTimerE: RFC 3261 §17.1.2.2: "intervals of 500 ms, 1 s, 2 s, 4 s, 4 s, 4 s,
// etc." until Timer F after 32 s.
func TestTimerE(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, w *wire) {
		var o outcome
		start := time.Now()
		l.Request(udp, "z9hG4bK1", []byte("request"), o.done)
		sleep(31900 * time.Millisecond)
		if o.calls() != 0 {
			t.Errorf("it ended after %v", o.since(start))
		}
		sleep(time.Minute)
		if got, want := w.times(), seconds(0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5); !slices.Equal(got, want) {
			t.Errorf("sent at %v\nwant    %v", got, want)
		}
		o.want(t, 0, transaction.ErrTimeout)
		if d := o.since(start); d != 32*time.Second {
			t.Errorf("Timer F after %v", d)
		}
		if n := l.Counters.TimedOut.Load(); n != 1 {
			t.Errorf("TimedOut is %d", n)
		}
		if n := l.Counters.Resent.Load(); n != 10 {
			t.Errorf("Resent is %d", n)
		}
		if n := l.Counters.Clients.Load(); n != 0 {
			t.Errorf("%d clients left", n)
		}
	})
}

// TestTimerEBetweenTicks: a request that begins between two ticks of the wheel
// is sent again at most a tick late, and the delays do not add up.
func TestTimerEBetweenTicks(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, w *wire) {
		const offset = 33 * time.Millisecond
		time.Sleep(offset)
		var o outcome
		l.Request(udp, "z9hG4bK1", []byte("request"), o.done)
		sleep(time.Minute)
		got, want := w.times(), seconds(0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)
		if len(got) != len(want) {
			t.Fatalf("sent at %v", got)
		}
		for i := range got {
			if late := got[i] - want[i] - offset; late < 0 || late > 100*time.Millisecond {
				t.Errorf("sent at %v, %v late", got[i], late)
			}
		}
	})
}

// TestProceeding: after a provisional response Timer E is T2 (§17.1.2.2 of RFC
// 3261) and Timer F goes on.
func TestProceeding(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, w *wire) {
		var o outcome
		m := request(t, "MESSAGE", "z9hG4bK1")
		l.Request(udp, "z9hG4bK1", m.Bytes(), o.done)
		sleep(700 * time.Millisecond)
		l.Response(parse(t, answer(m, 100)))
		sleep(time.Minute)
		if got, want := w.times(), seconds(0, 0.5, 1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5); !slices.Equal(got, want) {
			t.Errorf("sent at %v\nwant    %v", got, want)
		}
		o.want(t, 0, transaction.ErrTimeout)
	})
}

// TestStreamClient: nothing is sent twice over a connection; Timer F runs.
func TestStreamClient(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, w *wire) {
		var o outcome
		start := time.Now()
		l.Request(tcp, "z9hG4bK1", []byte("request"), o.done)
		sleep(time.Minute)
		if got := w.times(); len(got) != 1 {
			t.Errorf("sent at %v", got)
		}
		o.want(t, 0, transaction.ErrTimeout)
		if d := o.since(start); d != 32*time.Second {
			t.Errorf("Timer F after %v", d)
		}
	})
}

func TestOtherTimers(t *testing.T) {
	o := transaction.Options{Timers: transaction.Timers{T1: 200 * time.Millisecond, T2: 600 * time.Millisecond}}
	run(t, o, func(t *testing.T, l *transaction.Layer, w *wire) {
		var o outcome
		l.Request(udp, "z9hG4bK1", []byte("request"), o.done)
		sleep(3 * time.Second)
		if got, want := w.times(), seconds(0, 0.2, 0.6, 1.2, 1.8, 2.4, 3.0); !slices.Equal(got, want) {
			t.Errorf("sent at %v\nwant    %v", got, want)
		}
		sleep(time.Minute)
		o.want(t, 0, transaction.ErrTimeout)
	})
}

// TestResponses: a response finds its transaction by our branch (RFC 3261
// §17.1.3), ends it once, and is counted when there is none.
func TestResponses(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, w *wire) {
		var a, b outcome
		ma, mb := request(t, "MESSAGE", "z9hG4bKa"), request(t, "MESSAGE", "z9hG4bKb")
		l.Request(udp, "z9hG4bKa", ma.Bytes(), a.done)
		l.Request(udp, "z9hG4bKb", mb.Bytes(), b.done)
		l.Response(parse(t, answer(request(t, "MESSAGE", "z9hG4bKc"), 200)))
		l.Response(parse(t, answer(request(t, "MESSAGE", "z9hG4bKA"), 200)))
		l.Response(parse(t, answer(request(t, "OPTIONS", "z9hG4bKa"), 200))) // the branch, not the method
		if a.calls()+b.calls() != 0 || l.Counters.Stray.Load() != 3 {
			t.Errorf("responses of no transaction: told %d times, %d counted", a.calls()+b.calls(), l.Counters.Stray.Load())
		}
		l.Response(parse(t, answer(mb, 404)))
		l.Response(parse(t, answer(ma, 100)))
		l.Response(parse(t, answer(ma, 202)))
		l.Response(parse(t, answer(ma, 200)))
		a.want(t, 202, nil)
		b.want(t, 404, nil)
		if n := l.Counters.Stray.Load(); n != 4 {
			t.Errorf("%d strays", n)
		}
		w.take()
		sleep(time.Minute)
		if s := w.take(); len(s) != 0 {
			t.Errorf("%d sent after the end", len(s))
		}
		a.want(t, 202, nil)
	})
}

func TestClientRefused(t *testing.T) {
	run(t, transaction.Options{MaxClient: 2}, func(t *testing.T, l *transaction.Layer, w *wire) {
		var a, again, b, c outcome
		l.Request(udp, "z9hG4bKa", []byte("a"), a.done)
		l.Request(udp, "z9hG4bKa", []byte("a"), again.done)
		again.want(t, 0, transaction.ErrLimit)
		l.Request(udp, "z9hG4bKb", []byte("b"), b.done)
		l.Request(udp, "z9hG4bKc", []byte("c"), c.done)
		c.want(t, 0, transaction.ErrLimit)
		if n := l.Counters.Refused.Load(); n != 1 {
			t.Errorf("Refused is %d", n)
		}
		if n := len(w.take()); n != 2 {
			t.Errorf("%d sent", n)
		}
		sleep(time.Minute)
		w.fail = errors.New("no route")
		var d outcome
		l.Request(udp, "z9hG4bKd", []byte("d"), d.done)
		d.want(t, 0, transaction.ErrTransport)
		if n := l.Counters.Clients.Load(); n != 0 {
			t.Errorf("%d clients left", n)
		}
	})
}

func TestFlowClosed(t *testing.T) {
	run(t, transaction.Options{}, func(t *testing.T, l *transaction.Layer, _ *wire) {
		var a, b, c outcome
		other := tcp
		other.Conn++
		l.FlowClosed(tcp)
		mb := request(t, "MESSAGE", "z9hG4bKb")
		l.Request(tcp, "z9hG4bKa", []byte("a"), a.done)
		l.Request(other, "z9hG4bKb", mb.Bytes(), b.done)
		l.Request(udp, "z9hG4bKc", []byte("c"), c.done)
		l.FlowClosed(tcp)
		l.FlowClosed(tcp)
		a.want(t, 0, transaction.ErrTransport)
		if b.calls()+c.calls() != 0 {
			t.Error("transactions of other flows ended too")
		}
		l.Response(parse(t, answer(mb, 200)))
		b.want(t, 200, nil)
	})
}
