package transaction_test

import (
	"testing"
	"time"

	"rollcall/sip"
	"rollcall/sip/transaction"
)

// BenchmarkFinish is what a request that is answered at once costs here: its
// key, a look for a retransmission, and the answer kept.
func BenchmarkFinish(b *testing.B) {
	l := transaction.New(discard{}, transaction.Options{Bytes: 64 << 20})
	defer l.Close()
	m := request(b, "REGISTER", "z9hG4bKnashds7")
	final := answer(m, 200)
	base := l.KeyOf(m)
	b.ReportAllocs()
	for i := uint64(1); b.Loop(); i++ {
		k := l.KeyOf(m) ^ transaction.Key(i*0x9e3779b97f4a7c15)
		if k != base && l.Absorb(k, udp) {
			b.Fatal("a new request was absorbed")
		}
		l.Finish(k, udp, final)
	}
}

func BenchmarkAbsorb(b *testing.B) {
	l := transaction.New(discard{}, transaction.Options{})
	defer l.Close()
	m := request(b, "REGISTER", "z9hG4bKnashds7")
	l.Finish(l.KeyOf(m), udp, answer(m, 200))
	b.ReportAllocs()
	for b.Loop() {
		if !l.Absorb(l.KeyOf(m), udp) {
			b.Fatal("a retransmission was not absorbed")
		}
	}
}

func BenchmarkServer(b *testing.B) {
	l := transaction.New(discard{}, transaction.Options{Bytes: 64 << 20})
	defer l.Close()
	m := request(b, "MESSAGE", "z9hG4bKnashds7")
	final := answer(m, 200)
	k := l.KeyOf(m)
	b.ReportAllocs()
	for b.Loop() {
		k += 0x9e3779b97f4a7c15
		s, fault := l.Begin(k, m, udp, udp, time.Now())
		if s == nil {
			b.Fatal(fault)
		}
		s.Reply(final)
	}
}

func BenchmarkClient(b *testing.B) {
	l := transaction.New(discard{}, transaction.Options{})
	defer l.Close()
	m := request(b, "MESSAGE", "z9hG4bKnashds7")
	final := parse(b, answer(m, 200))
	done := func(*sip.Message, error) {}
	b.ReportAllocs()
	for b.Loop() {
		l.Request(udp, "z9hG4bKnashds7", m.Bytes(), done)
		l.Response(final)
	}
}
