package sip_test

import (
	"errors"
	"strings"
	"testing"

	"rollcall/sip"
)

// TestURIEquality holds the examples of RFC 3261 §19.1.4 and what its rules say
// beyond them.
func TestURIEquality(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		equal bool
	}{
		// The RFC's sets of equivalent URIs.
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true},
		{"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true},
		{"sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true},
		// The RFC's sets of URIs that are not.
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false},
		// Equality is not transitive.
		{"sip:carol@chicago.com", "sip:carol@chicago.com;security=off", true},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false},
		// The rules before them.
		{"sip:bob@biloxi.com", "sips:bob@biloxi.com", false},
		{"sip:biloxi.com", "sip:bob@biloxi.com", false},
		{"sip:bob@biloxi.com", "sip:bob:secret@biloxi.com", false},
		{"sip:bob:secret@biloxi.com", "sip:bob:Secret@biloxi.com", false},
		{"sip:bob:@biloxi.com", "sip:bob@biloxi.com", false},
		{"sip:bob@biloxi.com;user=phone", "sip:bob@biloxi.com", false},
		{"sip:bob@biloxi.com;ttl=1", "sip:bob@biloxi.com", false},
		{"sip:bob@biloxi.com;method=INVITE", "sip:bob@biloxi.com", false},
		{"sip:bob@biloxi.com;maddr=192.0.2.1", "sip:bob@biloxi.com", false},
		{"sip:bob@biloxi.com;lr", "sip:bob@biloxi.com", true},
		{"sip:bob@biloxi.com;lr;x=A", "sip:bob@biloxi.com;X=a", true},
		{"sip:bob%3Bx@biloxi.com", "sip:bob;x@biloxi.com", false}, // a reserved character
		{"sip:b%6Fb@biloxi.com", "sip:b%6fb@biloxi.com", true},
		{"sip:bob@biloxi.com?subject=a", "sip:bob@biloxi.com?subject=b", false},
		{"sip:bob@[2001:db8::1]", "sip:bob@[2001:DB8:0::1]", true},
		{"sip:bob@[2001:db8::1]", "sip:bob@[2001:db8::2]", false},
		{"tel:+12125551212", "TEL:+12125551212", true},
		{"tel:+12125551212", "tel:+12125551213", false},
	} {
		a, b := uri(t, c.a), uri(t, c.b)
		if a.Equal(b) != c.equal || b.Equal(a) != c.equal {
			t.Errorf("%s and %s: equal is %v and %v, want %v", c.a, c.b, a.Equal(b), b.Equal(a), c.equal)
		}
		if !a.Equal(a) || !b.Equal(b) {
			t.Errorf("%s or %s does not equal itself", c.a, c.b)
		}
	}
}

func TestParseURI(t *testing.T) {
	for _, c := range []struct {
		in, user, password, host string
		port                     uint16
		params, headers          string
	}{
		{"sip:example.com", "", "", "example.com", 0, "", ""},
		{"sip:alice@example.com:5070", "alice", "", "example.com", 5070, "", ""},
		{"SIPS:alice:pa%20ss@example.com", "alice", "pa%20ss", "example.com", 0, "", ""},
		{"sip:+1-212-555-1212:1234@gw.example.com;user=phone", "+1-212-555-1212", "1234", "gw.example.com", 0, ";user=phone", ""},
		{"sip:alice@[2001:db8::9:1]:5060;lr?to=x", "alice", "", "2001:db8::9:1", 5060, ";lr", "to=x"},
		{"sip:[::ffff:192.0.2.1]", "", "", "::ffff:192.0.2.1", 0, "", ""},
		{"sip:a;b?c@example.com", "a;b?c", "", "example.com", 0, "", ""},
		{"sip:example.com;transport=tcp;maddr=239.255.255.1;ttl=15", "", "", "example.com", 0, ";transport=tcp;maddr=239.255.255.1;ttl=15", ""},
		{"sip:alice@example.com?a=b;c", "alice", "", "example.com", 0, "", "a=b;c"},
	} {
		u := uri(t, c.in)
		if u.User != c.user || u.Password != c.password || u.Host != c.host || u.Port != c.port || string(u.Params) != c.params || u.Headers != c.headers {
			t.Errorf("%s reads as %+v", c.in, u)
		}
		same(t, "String", u.String(), c.in)
	}
	for _, in := range []string{
		"", "sip", "sip:", ":alice@example.com", "sip:@example.com", "sip:alice@", "sip:alice@example.com:", "sip:alice@example.com:0", "sip:alice@example.com:65536",
		"sip:alice@example.com:x", "sip:alice@exam ple.com", "sip:alice@ex\tample.com", "sip:al%2@example.com", "sip:al%zz@example.com",
		"sip:alice:%@example.com", "sip:[2001:db8::1", "sip:2001:db8::1", "sip:[fe80::1%25eth0]", "sip:[192.0.2.1]", "sip:[::1]x", "sip:alice@example.com;",
		"sip:alice@example.com;=x", "sip:alice@example.com;x=%2", "sip:a\"b@example.com", "<sip:a@b>", "sip:a@b@c", "1sip:a@b", "tel:",
		"sip:alice@" + strings.Repeat("a", 256), "sip:a\x00b@example.com", "sip:a\x7fb@example.com",
	} {
		if u, err := sip.ParseURI(in); err == nil {
			t.Errorf("%q reads as %+v", in, u)
		}
	}
}

func TestURIParts(t *testing.T) {
	u := uri(t, "sip:alice@[2001:DB8::1]:5070;Transport=TCP;lr;%6Daddr=x")
	same(t, "HostPort", u.HostPort(), "[2001:DB8::1]:5070")
	v, ok := u.Param("transport")
	same(t, "transport", v, "TCP")
	same(t, "found", ok, true)
	_, ok = u.Param("maddr")
	same(t, "an escaped name", ok, true)
	_, ok = u.Param("ttl")
	same(t, "no ttl", ok, false)
	addr, ok := u.Addr()
	same(t, "Addr", addr.String(), "2001:db8::1")
	same(t, "is an address", ok, true)
	_, ok = uri(t, "sip:example.com").Addr()
	same(t, "a name is no address", ok, false)
	same(t, "HostPort without port", uri(t, "sip:example.com").HostPort(), "example.com")
}

// TestAOR: RFC 3261 §10.3 item 5 removes parameters and escapes, and both
// schemes name one account.
func TestAOR(t *testing.T) {
	for in, want := range map[string]string{
		"sip:alice@example.com":                      "sip:alice@example.com",
		"sips:alice@example.com":                     "sip:alice@example.com",
		"SIP:alice@EXAMPLE.com":                      "sip:alice@example.com",
		"sip:alice@example.com:5060":                 "sip:alice@example.com",
		"sip:alice@example.com;transport=tcp?a=b":    "sip:alice@example.com",
		"sip:alice:secret@example.com":               "sip:alice@example.com",
		"sip:%61lic%65@example.com":                  "sip:alice@example.com",
		"sip:Alice@example.com":                      "sip:Alice@example.com",
		"sip:a%40b@example.com":                      "sip:a%40b@example.com",
		"sip:a%2fb%3a%3Ac@example.com":               "sip:a/b%3A%3Ac@example.com",
		"sip:%c3%A4@example.com":                     "sip:%C3%A4@example.com",
		"sip:alice@[2001:DB8::1]:5060":               "sip:alice@[2001:db8::1]",
		"sip:+1-212-555-1212@example.com;user=phone": "sip:+1-212-555-1212@example.com",
	} {
		a, err := sip.ParseAORString(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		same(t, in, a.String(), want)
		same(t, "user and domain of "+in, "sip:"+a.User()+"@"+a.Domain(), want)
		again, err := sip.ParseAORString(a.String())
		if err != nil || again != a {
			t.Errorf("%s is not canonical: %s, %v", a, again, err)
		}
		same(t, "clone", a.Clone(), a)
	}
	for _, in := range []string{"sip:example.com", "tel:+12125551212", "mailto:alice@example.com", "sip:" + strings.Repeat("a", 600) + "@example.com"} {
		if a, err := sip.ParseAORString(in); !errors.Is(err, sip.ErrAOR) {
			t.Errorf("%s names %s, %v", in, a, err)
		}
	}
	var none sip.AOR
	same(t, "zero", none.IsZero(), true)
	same(t, "zero's parts", none.User()+none.Domain()+none.String(), "")
}

// TestDoubledParameter: RFC 3261 §19.1.1 forbids it; it is let through and such
// a URI equals itself.
func TestDoubledParameter(t *testing.T) {
	u := uri(t, "sip:alice@example.com;x=1;x")
	same(t, "equals itself", u.Equal(uri(t, "sip:alice@example.com;x=1;x")), true)
	same(t, "equals with one", u.Equal(uri(t, "sip:alice@example.com;x=1")), false)
}
