package transport_test

import (
	"bufio"
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"

	"rollcall/sip"
	"rollcall/sip/transport"
)

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

func ap(s string) netip.AddrPort {
	if s == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(s)
}

var someFlows = []transport.Flow{
	{},
	{Proto: transport.UDP, Local: ap("192.0.2.5:5060"), Remote: ap("198.51.100.7:4711")},
	{Proto: transport.TCP, Boot: 1<<32 - 1, Conn: 1<<64 - 1, Local: ap("[2001:db8::5]:5060"), Remote: ap("[2001:db8::7]:65535")},
	{Proto: transport.WSS, Boot: 1, Conn: 1, Local: ap("0.0.0.0:0"), Remote: ap("")},
}

// TestReplyFlow: RFC 3261 §18.2.2 with RFC 3581 §4; what the client wrote itself
// decides about the port alone.
func TestReplyFlow(t *testing.T) {
	udp := transport.Flow{Proto: transport.UDP, Local: ap("192.0.2.5:5060"), Remote: ap("198.51.100.7:4711")}
	tcp := transport.Flow{Proto: transport.TCP, Boot: 1, Conn: 2, Local: ap("192.0.2.5:5060"), Remote: ap("198.51.100.7:4711")}
	six := transport.Flow{Proto: transport.UDP, Local: ap("[2001:db8::5]:5060"), Remote: ap("[2001:db8::7]:4711")}
	for _, c := range []struct {
		via  string
		flow transport.Flow
		want string
	}{
		{"SIP/2.0/UDP 10.0.0.1:5070;rport;branch=z9hG4bKa", udp, "198.51.100.7:4711"},
		{"SIP/2.0/UDP 10.0.0.1:5070;RPORT=9;branch=z9hG4bKa", udp, "198.51.100.7:4711"},
		{"SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKa", udp, "198.51.100.7:5070"},
		{"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa", udp, "198.51.100.7:5060"},
		{"SIP/2.0/UDP host.example.com;received=203.0.113.9", udp, "198.51.100.7:5060"},
		{"SIP/2.0/UDP 10.0.0.1;maddr=203.0.113.9", udp, "198.51.100.7:5060"},
		{"SIP/2.0/UDP 10.0.0.1:5070;maddr=203.0.113.9;rport", udp, "198.51.100.7:4711"},
		{"SIP/2.0/UDP 10.0.0.1:5070;maddr=198.51.100.7;rport", udp, "198.51.100.7:5070"},
		{"SIP/2.0/UDP 10.0.0.1;maddr=host.example.com", udp, "198.51.100.7:5060"},
		{"SIP/2.0/UDP [2001:db8::9]:5070", six, "[2001:db8::7]:5070"},
		{"SIP/2.0/UDP [2001:db8::9]:5070;maddr=[2001:db8::7];rport", six, "[2001:db8::7]:5070"},
		{"SIP/2.0/TCP 10.0.0.1:5070;branch=z9hG4bKa", tcp, "198.51.100.7:4711"},
	} {
		via, err := sip.ParseVia(c.via)
		if err != nil {
			t.Fatalf("%s: %v", c.via, err)
		}
		want := c.flow
		want.Remote = ap(c.want)
		if got := transport.ReplyFlow(via, c.flow); got != want {
			t.Errorf("%s: %+v\nwant %+v", c.via, got, want)
		}
	}
}

func TestFlowBinary(t *testing.T) {
	for _, f := range someFlows {
		b, err := f.AppendBinary([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		var g transport.Flow
		if err := g.UnmarshalBinary(b[1:]); err != nil || g != f {
			t.Errorf("%+v came back as %+v, %v", f, g, err)
		}
		for cut := 1; cut < len(b); cut++ {
			if g.UnmarshalBinary(b[1:cut]) == nil {
				t.Errorf("%+v cut at %d is taken", f, cut)
			}
		}
		if g.UnmarshalBinary(append(bytes.Clone(b[1:]), 0)) == nil {
			t.Errorf("%+v with a byte more is taken", f)
		}
		if g != f {
			t.Error("an error changed the flow")
		}
	}
}

// TestTokens: only what was made with the same key is taken (RFC 5626 §5.2).
func TestTokens(t *testing.T) {
	tokens, others := transport.NewTokens([]byte("0123456789abcdef")), transport.NewTokens([]byte("fedcba9876543210"))
	for _, f := range someFlows {
		s := tokens.Token(f)
		if _, err := sip.ParseAORString("sip:" + s + "@example.com"); err != nil || strings.ContainsAny(s, "+/=%") {
			t.Errorf("%s can't stand in a URI: %v", s, err)
		}
		if g, err := tokens.Flow(s); err != nil || g != f {
			t.Errorf("%+v came back as %+v, %v", f, g, err)
		}
		if g, err := others.Flow(s); err == nil || g != (transport.Flow{}) {
			t.Errorf("a foreign token is taken: %+v", g)
		}
		for i := range s {
			for _, x := range []byte("AB") {
				if x == s[i] {
					continue
				}
				bad := s[:i] + string(x) + s[i+1:]
				if g, err := tokens.Flow(bad); err == nil && bad != s && g != f {
					t.Errorf("%s changed at %d is taken: %+v", s, i, g)
				}
			}
		}
		for cut := range s {
			if _, err := tokens.Flow(s[:cut]); err == nil {
				t.Errorf("%s cut at %d is taken", s, cut)
			}
		}
	}
}

func TestProto(t *testing.T) {
	for p, want := range map[transport.Proto]string{transport.UDP: "UDP udp false", transport.TCP: "TCP tcp true", transport.TLS: "TLS tls true",
		transport.WS: "WS ws true", transport.WSS: "WSS wss true", transport.Program: "PROGRAM program true", 0: "NONE  false"} {
		if got := p.String() + " " + p.Param() + " " + map[bool]string{true: "true", false: "false"}[p.Stream()]; got != want {
			t.Errorf("%d: %s", p, got)
		}
	}
	if s := someFlows[1].String() + ", " + someFlows[0].String(); s != "udp 198.51.100.7:4711, none" {
		t.Error(s)
	}
}

// What stays in the process is not read from the store.
func TestProgramFlowIsNotStored(t *testing.T) {
	b, err := transport.Flow{Proto: transport.Program, Conn: 1}.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var f transport.Flow
	if err := f.UnmarshalBinary(b); err == nil || f != (transport.Flow{}) {
		t.Errorf("%+v %v", f, err)
	}
}

func FuzzFlow(f *testing.F) {
	tokens := transport.NewTokens([]byte("0123456789abcdef"))
	for _, x := range someFlows {
		b, _ := x.AppendBinary(nil)
		f.Add(b)
		f.Add([]byte(tokens.Token(x)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := tokens.Flow(string(b)); err == nil && tokens.Token(x) == "" {
			t.Errorf("%q is a token of %+v", b, x)
		}
		var x, y transport.Flow
		if x.UnmarshalBinary(b) != nil {
			return
		}
		again, err := x.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := y.UnmarshalBinary(again); err != nil || x != y {
			t.Errorf("%+v came back as %+v, %v", x, y, err)
		}
		if z, err := tokens.Flow(tokens.Token(x)); err != nil || z != x {
			t.Errorf("token of %+v gives %+v, %v", x, z, err)
		}
	})
}
