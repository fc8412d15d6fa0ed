package sip_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/sip"
)

// What becomes of a message.
const (
	accepted = 0  // Check returns nil
	dropped  = -1 // no SIP message, or a response that does not pass Check
)

// What becomes of the same bytes on a stream.
const (
	whole   = iota // one message that ends where the bytes do
	more           // a second message or garbage stands behind
	waiting        // the stream waits for bytes that are not there
	broken         // the stream can't be followed any more
)

// torture is one message of RFC 4475 or RFC 5118 and its verdict.
type torture struct {
	name   string
	status int // accepted, dropped, or what Check returns
	stream int // whole, more, waiting, broken
	check  func(t *testing.T, m *sip.Message)
}

// load reads a message of the torture tests, byte for byte.
func load(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)+".dat"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The verdicts on RFC 4475. Where an element must know its role to judge
// (unknown schemes, extensions, hops) the message passes here and the server
// answers; its tests hold those answers.
var rfc4475 = []torture{
	{"wsinv", accepted, whole, checkWsinv},           // RFC 4475 §3.1.1.1
	{"intmeth", accepted, whole, checkIntmeth},       // RFC 4475 §3.1.1.2
	{"esc01", accepted, whole, checkEsc01},           // RFC 4475 §3.1.1.3
	{"escnull", accepted, whole, checkEscnull},       // RFC 4475 §3.1.1.4
	{"esc02", accepted, whole, checkEsc02},           // RFC 4475 §3.1.1.5
	{"lwsdisp", accepted, whole, checkLwsdisp},       // RFC 4475 §3.1.1.6
	{"longreq", accepted, whole, checkLongreq},       // RFC 4475 §3.1.1.7
	{"dblreq", accepted, more, checkDblreq},          // RFC 4475 §3.1.1.8
	{"semiuri", accepted, whole, checkSemiuri},       // RFC 4475 §3.1.1.9
	{"transports", accepted, whole, checkTransports}, // RFC 4475 §3.1.1.10
	{"mpart01", accepted, whole, checkMpart01},       // RFC 4475 §3.1.1.11
	{"unreason", accepted, whole, checkUnreason},     // RFC 4475 §3.1.1.12
	{"noreason", accepted, whole, checkNoreason},     // RFC 4475 §3.1.1.13
	{"badinv01", 400, whole, nil},                    // RFC 4475 §3.1.2.1
	{"clerr", 400, waiting, nil},                     // RFC 4475 §3.1.2.2: over TCP it waits, and times out
	{"ncl", 400, broken, nil},                        // RFC 4475 §3.1.2.3
	{"scalar02", 400, whole, nil},                    // RFC 4475 §3.1.2.4
	{"scalarlg", dropped, whole, nil},                // RFC 4475 §3.1.2.5
	{"quotbal", 400, whole, nil},                     // RFC 4475 §3.1.2.6
	{"ltgtruri", 400, whole, nil},                    // RFC 4475 §3.1.2.7
	{"lwsruri", 400, whole, nil},                     // RFC 4475 §3.1.2.8
	{"lwsstart", 400, whole, nil},                    // RFC 4475 §3.1.2.9
	{"trws", 400, whole, nil},                        // RFC 4475 §3.1.2.10
	{"escruri", 400, whole, nil},                     // RFC 4475 §3.1.2.11
	{"baddate", accepted, whole, checkBaddate},       // RFC 4475 §3.1.2.12: the field is ignored
	{"regbadct", accepted, whole, checkRegbadct},     // RFC 4475 §3.1.2.13: its Contact does not parse
	{"badaspec", 400, whole, nil},                    // RFC 4475 §3.1.2.14
	{"baddn", 400, waiting, nil},                     // RFC 4475 §3.1.2.15: the archive's copy ends without the blank line
	{"badvers", 505, whole, nil},                     // RFC 4475 §3.1.2.16
	{"mismatch01", 400, whole, nil},                  // RFC 4475 §3.1.2.17
	{"mismatch02", 400, whole, nil},                  // RFC 4475 §3.1.2.18
	{"bigcode", dropped, whole, nil},                 // RFC 4475 §3.1.2.19
	{"badbranch", accepted, whole, checkBadbranch},   // RFC 4475 §3.2.1
	{"insuf", 400, whole, nil},                       // RFC 4475 §3.3.1
	{"unkscm", accepted, whole, checkUnkscm},         // RFC 4475 §3.3.2: 416 from whoever routes it
	{"novelsc", accepted, whole, checkNovelsc},       // RFC 4475 §3.3.3: 416 from whoever routes it
	{"unksm2", accepted, whole, checkUnksm2},         // RFC 4475 §3.3.4: the registrar refuses To
	{"bext01", accepted, whole, checkBext01},         // RFC 4475 §3.3.5: 420 from the server
	{"invut", accepted, whole, checkInvut},           // RFC 4475 §3.3.6: a proxy relays it
	{"regaut01", accepted, whole, checkRegaut01},     // RFC 4475 §3.3.7: a challenge
	{"multi01", 400, whole, nil},                     // RFC 4475 §3.3.8
	{"mcl01", 400, broken, nil},                      // RFC 4475 §3.3.9
	{"bcast", accepted, whole, checkBcast},           // RFC 4475 §3.3.10: no transaction takes it
	{"zeromf", accepted, whole, checkZeromf},         // RFC 4475 §3.3.11: 483 from the proxy
	{"cparam01", accepted, whole, checkCparam01},     // RFC 4475 §3.3.12
	{"cparam02", accepted, whole, checkCparam02},     // RFC 4475 §3.3.13
	{"regescrt", accepted, whole, checkRegescrt},     // RFC 4475 §3.3.14
	{"sdp01", accepted, whole, checkSdp01},           // RFC 4475 §3.3.15: a proxy relays it
	{"inv2543", accepted, more, checkInv2543},        // RFC 4475 §3.4.1: no Content-Length, so a stream has no body
}

// The verdicts on RFC 5118. The files are those of its archive with CRLF for
// LF, the blank line that two of them lack, and Content-Length as it must be
// then.
var rfc5118 = []torture{
	{"ipv6-good", accepted, whole, hostPort("2001:db8::10", 0)},                         // RFC 5118 §4.1
	{"ipv6-bad", 400, whole, nil},                                                       // RFC 5118 §4.2
	{"port-ambiguous", accepted, whole, hostPort("2001:db8::10:5070", 0)},               // RFC 5118 §4.3
	{"port-unambiguous", accepted, whole, hostPort("2001:db8::10", 5070)},               // RFC 5118 §4.4
	{"via-received-param-with-delim", accepted, whole, checkReceivedBrackets},           // RFC 5118 §4.5
	{"via-received-param-no-delim", accepted, whole, checkReceivedBare},                 // RFC 5118 §4.5
	{"ipv6-in-sdp", accepted, whole, hostPort("2001:db8::10", 0)},                       // RFC 5118 §4.6
	{"mult-ip-in-header", accepted, whole, checkMixedVia},                               // RFC 5118 §4.7
	{"mult-ip-in-sdp", accepted, whole, hostPort("2001:db8::10", 0)},                    // RFC 5118 §4.8
	{"ipv4-mapped-ipv6", accepted, whole, checkMapped},                                  // RFC 5118 §4.9
	{"ipv6-bug-abnf-3-colons", accepted, whole, nil},                                    // RFC 5118 §4.10
	{"ipv6-correct-abnf-2-colons", accepted, whole, hostPort("2001:db8::192.0.2.1", 0)}, // RFC 5118 §4.10
}

func TestRFC4475(t *testing.T) {
	if len(rfc4475) != 49 {
		t.Errorf("%d verdicts for 49 messages", len(rfc4475))
	}
	runTorture(t, "rfc4475", rfc4475)
}

func TestRFC5118(t *testing.T) { runTorture(t, "rfc5118", rfc5118) }

func runTorture(t *testing.T, folder string, all []torture) {
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.dat"))
	if err != nil || len(files) != len(all) {
		t.Errorf("%d files and %d verdicts", len(files), len(all))
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			raw := load(t, folder+"/"+c.name)
			b := bytes.Clone(raw)
			var m sip.Message
			if got := verdict(&m, b); got != c.status {
				t.Errorf("verdict %d, want %d", got, c.status)
			}
			if c.check != nil {
				c.check(t, &m)
			}
			if !bytes.Equal(b, raw) {
				t.Error("parsing changed the bytes")
			}
			if got := streamVerdict(t, raw); got != c.stream {
				t.Errorf("as a stream %d, want %d", got, c.stream)
			}
		})
	}
}

// verdict tells what becomes of one datagram.
func verdict(m *sip.Message, b []byte) int {
	if err := m.Parse(b); err != nil {
		if !errors.Is(err, sip.ErrNotSIP) {
			panic(err) // Parse promises no other error
		}
		return dropped
	}
	fault := m.Check()
	switch {
	case fault == nil:
		return accepted
	case !m.IsRequest():
		return dropped
	}
	return fault.Status
}

func streamVerdict(t *testing.T, b []byte) int {
	t.Helper()
	skip, n, err := sip.FrameStream(b, sip.MaxMessageBytes)
	switch {
	case err != nil:
		return broken
	case n == 0:
		return waiting
	case skip != 0:
		t.Errorf("skipped %d bytes", skip)
	}
	if n < len(b) {
		return more
	}
	return whole
}

// get checks the value of a header field.
func get(t *testing.T, m *sip.Message, id sip.HeaderID, want string) {
	t.Helper()
	if got := m.Get(id); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v\nwant %v", what, got, want)
	}
}

// address parses an address that must be right.
func address(t *testing.T, s string) sip.Address {
	t.Helper()
	a, err := sip.ParseAddress(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return a
}

func uri(t *testing.T, s string) sip.URI {
	t.Helper()
	u, err := sip.ParseURI(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return u
}

// vias returns every Via of a message, all of which must parse.
func vias(t *testing.T, m *sip.Message) []sip.Via {
	t.Helper()
	var all []sip.Via
	err := m.EachItem(sip.HeaderVia, func(item string) bool {
		v, err := sip.ParseVia(item)
		if err != nil {
			t.Fatalf("%q: %v", item, err)
		}
		all = append(all, v)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// items returns the items of all comma lists of one name.
func items(t *testing.T, m *sip.Message, id sip.HeaderID) []string {
	t.Helper()
	var all []string
	if err := m.EachItem(id, func(item string) bool { all = append(all, item); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

func checkWsinv(t *testing.T, m *sip.Message) {
	same(t, "method", m.Method(), "INVITE")
	same(t, "Request-URI", m.RequestURI(), "sip:vivekg@chair-dnrc.example.com;unknownparam")
	to, err := m.To()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "To", to.URI, "sip:vivekg@chair-dnrc.example.com")
	same(t, "To tag", to.Tag(), "1918181833n")
	from, err := m.From()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "From display name", from.DisplayName(), `J Rosenberg \"`)
	same(t, "From tag", from.Tag(), "98asjd8")
	get(t, m, sip.HeaderMaxForwards, "0068")
	n, ok := m.CSeq()
	same(t, "CSeq", n, 9)
	same(t, "CSeq is a number", ok, true)
	get(t, m, sip.HeaderSubject, "")
	same(t, "has Subject", m.Has(sip.HeaderSubject), true)
	same(t, "folded unknown field", strings.Join(strings.Fields(m.Other("newfangledheader")), " "), "newfangled value continued newfangled value")
	same(t, "unknown field", m.Other("UnknownHeaderWithUnusualValue"), ";;,,;;,;")
	v := vias(t, m)
	if len(v) != 3 {
		t.Fatalf("%d Via values", len(v))
	}
	same(t, "Via 1 host", v[0].Host, "192.0.2.2")
	same(t, "Via 1 transport", v[0].Transport, "UDP")
	same(t, "Via 1 branch", v[0].Branch, "390skdjuw")
	same(t, "Via 2 host", v[1].Host, "spindle.example.com")
	same(t, "Via 2 transport", v[1].Transport, "TCP")
	same(t, "Via 2 branch", v[1].Branch, "z9hG4bK9ikj8")
	same(t, "Via 3 host", v[2].Host, "192.168.255.111")
	same(t, "Via 3 branch", v[2].Branch, "z9hG4bK30239")
	contact := address(t, m.Get(sip.HeaderContact))
	same(t, "Contact display name", contact.DisplayName(), `Quoted string ""`)
	same(t, "Contact", contact.URI, "sip:jdrosen@example.com")
	newparam, _ := contact.Params.Get("NewParam")
	same(t, "newparam", newparam, "newvalue")
	same(t, "secondparam", contact.Params.Has("secondparam"), true)
	q, _ := contact.Params.Get("q")
	same(t, "q", q, "0.33")
	route := address(t, m.Get(sip.HeaderRoute))
	same(t, "Route", route.URI, "sip:services.example.com;lr;unknownwith=value;unknown-no-value")
	same(t, "body", len(m.Body()), 150)
}

func checkIntmeth(t *testing.T, m *sip.Message) {
	const method = "!interesting-Method0123456789_*+`.%indeed'~"
	same(t, "method", m.Method(), method)
	same(t, "user", m.URI().User, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
	same(t, "password", m.URI().Password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)")
	same(t, "host", m.URI().Host, "example.com")
	to, err := m.To()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "To display name", to.DisplayName(), "BEL:\a NUL:\x00 DEL:\x7f")
	from, err := m.From()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "From display name", from.Display, "token1~` token2'+_ token3*%!.-")
	same(t, "From tag", from.Tag(), "_token~1'+`*%!-.")
	p, _ := from.Params.Get("fromParam''~+*_!.-%")
	same(t, "From parameter", sip.Unquote(p), "работающий")
	same(t, "Call-ID", m.CallID(), `intmeth.word%ZK-!.*_+'@word`+"`"+`~)(><:\/"][?}{`)
	same(t, "branch", m.Via().Branch, "z9hG4bK-.!%66*_+`'~")
	same(t, "unknown field", m.Other("extensionHeader-!.%*+_`'~"), "\ufeff大停電")
}

func checkEsc01(t *testing.T, m *sip.Message) {
	same(t, "user", m.URI().User, "sips%3Auser%40example.com")
	same(t, "host", m.URI().Host, "example.net")
	to, err := m.To()
	if err != nil {
		t.Fatal(err)
	}
	if !uri(t, to.URI).Equal(uri(t, "sip:user@example.com")) {
		t.Error("an unneeded escape changes the user")
	}
	contact := uri(t, address(t, m.Get(sip.HeaderContact)).URI)
	if !contact.Equal(uri(t, "sip:caller@host5.example.net;lr;name=value%2541")) {
		t.Error("escapes in URI parameters are not resolved")
	}
	_, lr := contact.Param("lr")
	same(t, "lr", lr, true)
}

func checkEscnull(t *testing.T, m *sip.Message) {
	to, err := m.To()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "user", uri(t, to.URI).User, "null-%00-null")
	contacts := items(t, m, sip.HeaderContact)
	same(t, "contacts", len(contacts), 2)
	if uri(t, address(t, contacts[0]).URI).Equal(uri(t, address(t, contacts[1]).URI)) {
		t.Error("one NUL equals two")
	}
}

func checkEsc02(t *testing.T, m *sip.Message) {
	same(t, "method", m.Method(), "RE%47IST%45R")
	to, err := m.To()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "To display name", to.DisplayName(), "%Z%45")
	same(t, "contacts", len(items(t, m, sip.HeaderContact)), 2)
	same(t, "a name with a percent sign", m.Other("C%6Fntact"), "<sip:alias2@host2.example.com>")
}

func checkLwsdisp(t *testing.T, m *sip.Message) {
	from, err := m.From()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "From display name", from.Display, "caller")
	same(t, "From", from.URI, "sip:caller@example.com")
}

func checkLongreq(t *testing.T, m *sip.Message) {
	all := vias(t, m)
	same(t, "Via values", len(all), 34)
	same(t, "first Via", all[0].Host, "sip33.example.com")
	same(t, "last Via's branch", all[33].Branch, "very"+strings.Repeat("long", 50)+"branchvalue")
	from, err := m.From()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "From user", uri(t, from.URI).User, strings.Repeat("amazinglylongcallername", 5))
	to, err := m.To()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "To port", uri(t, to.URI).Port, 6000)
	same(t, "body", len(m.Body()), 150)
}

func checkDblreq(t *testing.T, m *sip.Message) {
	same(t, "method", m.Method(), "REGISTER")
	same(t, "body", m.Body(), "")
	same(t, "the message ends with its body", strings.HasSuffix(m.Raw(), "Content-Length: 0\r\n\r\n"), true)
}

func checkSemiuri(t *testing.T, m *sip.Message) {
	same(t, "user", m.URI().User, "user;par=u%40example.net")
	same(t, "host", m.URI().Host, "example.com")
	same(t, "parameters", m.URI().Params, "")
	same(t, "Accept values", len(items(t, m, sip.HeaderAccept)), 6)
}

func checkTransports(t *testing.T, m *sip.Message) {
	var names []string
	for _, v := range vias(t, m) {
		names = append(names, v.Transport)
	}
	same(t, "transports", strings.Join(names, " "), "UDP SCTP TLS UNKNOWN TCP")
}

func checkMpart01(t *testing.T, m *sip.Message) {
	same(t, "method", m.Method(), "MESSAGE")
	same(t, "body", len(m.Body()), 553)
	same(t, "body holds NUL", strings.IndexByte(m.Body(), 0) > 0, true)
	same(t, "rport", m.Via().Params.Has("rport"), true)
	get(t, m, sip.HeaderContentType, "multipart/mixed;boundary=7a9cbec02ceef655")
	if _, err := sip.ParseDate(m.Get(sip.HeaderDate)); err != nil {
		t.Error(err)
	}
}

func checkUnreason(t *testing.T, m *sip.Message) {
	same(t, "status", m.Status(), 200)
	same(t, "reason", m.Reason(), "= 2**3 * 5**2 но сто девяносто девять - простое")
	same(t, "method", m.Method(), "INVITE")
	same(t, "body", len(m.Body()), 154)
}

func checkNoreason(t *testing.T, m *sip.Message) {
	same(t, "status", m.Status(), 100)
	same(t, "reason", m.Reason(), "")
}

func checkBaddate(t *testing.T, m *sip.Message) {
	if when, err := sip.ParseDate(m.Get(sip.HeaderDate)); err == nil {
		t.Errorf("a Date in EST reads as %v", when)
	}
}

func checkRegbadct(t *testing.T, m *sip.Message) {
	if a, err := sip.ParseAddress(m.Get(sip.HeaderContact)); err == nil {
		t.Errorf("a Contact with a question mark outside of brackets reads as %+v", a)
	}
}

func checkBadbranch(t *testing.T, m *sip.Message) { same(t, "branch", m.Via().Branch, sip.MagicCookie) }

func checkUnkscm(t *testing.T, m *sip.Message) {
	same(t, "scheme", m.URI().Scheme, "nobodyKnowsThisScheme")
	same(t, "is SIP", m.URI().IsSIP(), false)
	same(t, "opaque part", m.URI().Opaque, "totallyopaquecontent")
}

func checkNovelsc(t *testing.T, m *sip.Message) { same(t, "scheme", m.URI().Scheme, "soap.beep") }

func checkUnksm2(t *testing.T, m *sip.Message) {
	to, err := m.To()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sip.ParseAORString(to.URI); !errors.Is(err, sip.ErrAOR) {
		t.Errorf("isbn: names a user: %v", err)
	}
}

func checkBext01(t *testing.T, m *sip.Message) {
	same(t, "Require", strings.Join(items(t, m, sip.HeaderRequire), " "), "nothingSupportsThis nothingSupportsThisEither")
	same(t, "Proxy-Require", strings.Join(items(t, m, sip.HeaderProxyRequire), " "), "noProxiesSupportThis norDoAnyProxiesSupportThis")
	same(t, "tags have no case", m.HasTag(sip.HeaderRequire, "NOTHINGSUPPORTSTHISEITHER"), true)
}

func checkInvut(t *testing.T, m *sip.Message) {
	get(t, m, sip.HeaderContentType, "application/unknownformat")
	same(t, "body", len(m.Body()), 40)
}

func checkRegaut01(t *testing.T, m *sip.Message) {
	get(t, m, sip.HeaderAuthorization, "NoOneKnowsThisScheme opaque-data=here")
}

func checkBcast(t *testing.T, m *sip.Message) {
	all := vias(t, m)
	same(t, "Via values", len(all), 2)
	same(t, "second Via", all[1].Host, "255.255.255.255")
}

func checkZeromf(t *testing.T, m *sip.Message) { get(t, m, sip.HeaderMaxForwards, "0") }

func checkCparam01(t *testing.T, m *sip.Message) {
	c := address(t, m.Get(sip.HeaderContact))
	same(t, "URI", c.URI, "sip:+19725552222@gw1.example.net")
	same(t, "header parameter", c.Params.Has("unknownparam"), true)
}

func checkCparam02(t *testing.T, m *sip.Message) {
	c := address(t, m.Get(sip.HeaderContact))
	same(t, "URI", c.URI, "sip:+19725552222@gw1.example.net;unknownparam")
	same(t, "header parameters", c.Params, "")
}

func checkRegescrt(t *testing.T, m *sip.Message) {
	c := uri(t, address(t, m.Get(sip.HeaderContact)).URI)
	same(t, "headers", c.Headers, "Route=%3Csip:sip.example.com%3E")
	same(t, "no Route of the message", m.Has(sip.HeaderRoute), false)
}

func checkSdp01(t *testing.T, m *sip.Message) { get(t, m, sip.HeaderAccept, "text/nobodyKnowsThis") }

func checkInv2543(t *testing.T, m *sip.Message) {
	same(t, "branch", m.Via().Branch, "")
	same(t, "Content-Length", m.Has(sip.HeaderContentLength), false)
	same(t, "body reaches to the end of the datagram", len(m.Body()), 105)
	from, err := m.From()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "From tag", from.Tag(), "")
	to, err := m.To()
	if err != nil {
		t.Fatal(err)
	}
	user, _ := to.Params.Get("user")
	same(t, "user is a header parameter", user, "phone")
}

// TestBadDisplayName: RFC 4475 §3.1.2.15 with the blank line that the archive's
// copy lacks. It lets an element be liberal with the comma in the name.
func TestBadDisplayName(t *testing.T) {
	b := append(load(t, "rfc4475/baddn"), "\r\n"...)
	var m sip.Message
	same(t, "verdict", verdict(&m, b), accepted)
	from, err := m.From()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "From display name", from.Display, "Bell, Alexander")
	same(t, "From", from.URI, "sip:a.g.bell@example.com")
}

func hostPort(host string, port uint16) func(*testing.T, *sip.Message) {
	return func(t *testing.T, m *sip.Message) {
		same(t, "host", m.URI().Host, host)
		same(t, "port", m.URI().Port, port)
		if _, ok := m.URI().Addr(); !ok {
			t.Error("the host is no address")
		}
	}
}

func checkReceivedBrackets(t *testing.T, m *sip.Message) {
	v, _ := m.Via().Params.Get("received")
	same(t, "received", v, "[2001:db8::9:255]")
	same(t, "branch", m.Via().Branch, "z9hG4bKas3-111")
}

func checkReceivedBare(t *testing.T, m *sip.Message) {
	v, _ := m.Via().Params.Get("received")
	same(t, "received", v, "2001:db8::9:255")
	same(t, "branch", m.Via().Branch, "z9hG4bKas3")
}

func checkMixedVia(t *testing.T, m *sip.Message) {
	all := vias(t, m)
	if len(all) != 3 {
		t.Fatalf("%d Via values", len(all))
	}
	same(t, "first sent-by", all[0].Host, "2001:db8::9:1")
	same(t, "first port", all[0].Port, 6050)
	same(t, "second sent-by", all[1].Host, "192.0.2.1")
	same(t, "third sent-by", all[2].Host, "2001:db8::9:255")
}

func checkMapped(t *testing.T, m *sip.Message) {
	same(t, "sent-by", m.Via().Host, "::ffff:192.0.2.10")
	same(t, "port", m.Via().Port, 19823)
	addr, ok := uri(t, address(t, m.Get(sip.HeaderContact)).URI).Addr()
	same(t, "Contact host is an address", ok, true)
	same(t, "unmapped", addr.String(), "192.0.2.2")
}

// TestBareLineFeeds: the start line ends with CRLF (RFC 3261 §7), not with LF
// alone.
func TestBareLineFeeds(t *testing.T) {
	b := bytes.ReplaceAll(load(t, "rfc5118/ipv6-good"), []byte("\r\n"), []byte("\n"))
	var m sip.Message
	same(t, "verdict", verdict(&m, b), dropped)
}
