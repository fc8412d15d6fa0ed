package sip_test

import (
	"testing"

	"rollcall/sip"
)

func benchmarkParse(b *testing.B, s string) {
	raw := []byte(s)
	var m sip.Message
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if m.Parse(raw) != nil || m.Check() != nil {
			b.Fatal("the message does not pass")
		}
	}
}

func BenchmarkParseRegister(b *testing.B) { benchmarkParse(b, register) }

func BenchmarkParseMessage(b *testing.B) { benchmarkParse(b, message) }

func BenchmarkAppendReply(b *testing.B) {
	m := parse(b, register)
	buf := make([]byte, 0, 2048)
	r := &sip.Reply{Status: 200, ToTag: "4d1f", Lines: []byte("Contact: <sip:alice@192.0.2.1:5060>;expires=3600\r\n")}
	b.ReportAllocs()
	for b.Loop() {
		buf = m.AppendReply(buf[:0], source, r)
	}
}

func BenchmarkAppendForward(b *testing.B) {
	m := parse(b, message)
	buf := make([]byte, 0, 2048)
	f := &sip.Forward{URI: "sip:bob@192.0.2.33:5062;ob", Via: []byte("SIP/2.0/UDP 192.0.2.5:5060;branch=z9hG4bKsrv;rport"), Source: source, DropRoutes: 1}
	b.ReportAllocs()
	for b.Loop() {
		buf = m.AppendForward(buf[:0], f)
	}
}

func BenchmarkClone(b *testing.B) {
	m := parse(b, message)
	b.ReportAllocs()
	for b.Loop() {
		m.Clone()
	}
}

func BenchmarkFrameStream(b *testing.B) {
	raw := []byte(message)
	b.ReportAllocs()
	for b.Loop() {
		if _, n, err := sip.FrameStream(raw, sip.MaxMessageBytes); n != len(raw) || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkURIEqual(b *testing.B) {
	u, _ := sip.ParseURI("sip:alice@192.0.2.1:5060;transport=tcp;ob")
	v, _ := sip.ParseURI("sip:alice@192.0.2.1:5060;ob;transport=TCP")
	b.ReportAllocs()
	for b.Loop() {
		if !u.Equal(v) {
			b.Fatal("not equal")
		}
	}
}
