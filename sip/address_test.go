package sip_test

import (
	"testing"

	"rollcall/sip"
)

func TestParseAddress(t *testing.T) {
	for _, c := range []struct {
		in, display, uri, params string
		angle                    bool
	}{
		{"sip:a@example.com", "", "sip:a@example.com", "", false},
		{"sip:a@example.com;tag=x", "", "sip:a@example.com", ";tag=x", false},
		{"<sip:a@example.com;lr>;tag=x", "", "sip:a@example.com;lr", ";tag=x", true},
		{"<sip:a@example.com?b=c,d>", "", "sip:a@example.com?b=c,d", "", true},
		{"Alice <sip:a@example.com>", "Alice", "sip:a@example.com", "", true},
		{"Alice  B. Toklas\t<sip:a@example.com> ; tag = x", "Alice  B. Toklas", "sip:a@example.com", " ; tag = x", true},
		{`"Alice <b>, \"c\"" <sip:a@example.com>;tag=x`, `"Alice <b>, \"c\""`, "sip:a@example.com", ";tag=x", true},
		{`""<sip:a@example.com>`, `""`, "sip:a@example.com", "", true},
		{`sip:a@example.com;x="<y>"`, "", "sip:a@example.com", `;x="<y>"`, false},
		{"<tel:+12125551212>", "", "tel:+12125551212", "", true},
		{"  <sip:a@example.com>  ", "", "sip:a@example.com", "", true},
	} {
		a, err := sip.ParseAddress(c.in)
		if err != nil || a.Display != c.display || a.URI != c.uri || string(a.Params) != c.params || a.Angle != c.angle {
			t.Errorf("%s reads as %+v, %v", c.in, a, err)
		}
	}
	for _, in := range []string{
		"", " ", "<>", "<sip:a@example.com", `"Alice <sip:a@example.com>`, `"Alice" sip:a@example.com`, "<sip:a@example.com> x",
		"<sip:a@example.com>;", "<sip:a@example.com>;=x", `<sip:a@example.com>;x="y`, "sip:a@example.com?b=c", "sip:a@example.com,sip:b@example.com", ";tag=x",
	} {
		if a, err := sip.ParseAddress(in); err == nil {
			t.Errorf("%q reads as %+v", in, a)
		}
	}
	same(t, "tag", address(t, "<sip:a@example.com>;x=1;TAG=Abc").Tag(), "Abc")
	same(t, "display name", address(t, `"A \"b\" \\" <sip:a@example.com>`).DisplayName(), `A "b" \`)
}

func TestParams(t *testing.T) {
	p := sip.Params(` ;Tag=a ; x = "b;c=\"d\"" ;flag; q=0.5`)
	same(t, "valid", p.Valid(), true)
	for name, want := range map[string]string{"tag": "a", "TAG": "a", "X": `"b;c=\"d\""`, "flag": "", "q": "0.5"} {
		got, ok := p.Get(name)
		same(t, name, got, want)
		same(t, name+" is there", ok, true)
	}
	same(t, "c inside quotes", p.Has("c"), false)
	same(t, "Unquote", sip.Unquote(`"b;c=\"d\""`), `b;c="d"`)
	same(t, "Unquote without quotes", sip.Unquote(`b"c`), `b"c`)
	for _, bad := range []sip.Params{"x", ";", ";=", `;x="`, ";x y", ";x;;y", `;x="y"z`} {
		same(t, string(bad)+" is valid", bad.Valid(), false)
	}
}

func TestParseVia(t *testing.T) {
	for _, c := range []struct {
		in, transport, host string
		port                uint16
		branch              string
	}{
		{"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa", "UDP", "192.0.2.1", 5060, "z9hG4bKa"},
		{"SIP/2.0/UDP host.example.com", "UDP", "host.example.com", 0, ""},
		{"sip / 2.0\t/ tcp   host.example.com : 5070 ; Branch = z9hG4bKa ; rport", "tcp", "host.example.com", 5070, "z9hG4bKa"},
		{"SIP\r\n /2.0/UDP\r\n\t192.0.2.1\r\n ;branch=z9hG4bKa", "UDP", "192.0.2.1", 0, "z9hG4bKa"},
		{"SIP/2.0/UDP [2001:db8::1]:5060;received=2001:db8::2;branch=z9hG4bKa", "UDP", "2001:db8::1", 5060, "z9hG4bKa"},
		{"SIP/2.0/UDP [2001:db8::1] : 5060;branch=z9hG4bKa", "UDP", "2001:db8::1", 5060, "z9hG4bKa"},
		{"SIP/2.0/TLS-SCTP a_b.example.com;maddr=239.255.255.1;ttl=16", "TLS-SCTP", "a_b.example.com", 0, ""},
		{"SIP/7.0/UDP c.example.com;branch=z9hG4bKa", "UDP", "c.example.com", 0, "z9hG4bKa"}, // the 505 has to find its way
	} {
		v, err := sip.ParseVia(c.in)
		if err != nil || v.Transport != c.transport || v.Host != c.host || v.Port != c.port || v.Branch != c.branch {
			t.Errorf("%q reads as %+v, %v", c.in, v, err)
		}
	}
	for _, in := range []string{
		"", "SIP", "SIP/2.0", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0/UDP;branch=x", "XIP/2.0/UDP host", "SIP//UDP host", "SIP/2.0/ host",
		"SIP/2.0/UDP host:", "SIP/2.0/UDP host:65536", "SIP/2.0/UDP host:5060:1", "SIP/2.0/UDP ho st", "SIP/2.0/UDP [::1", "SIP/2.0/UDP [x]",
		"SIP/2.0/UDP host;", "SIP/2.0/UDP host;;branch=x", `SIP/2.0/UDP host;branch="x`, "SIP/2.0/UDP ho<st",
	} {
		if v, err := sip.ParseVia(in); err == nil {
			t.Errorf("%q reads as %+v", in, v)
		}
	}
}
