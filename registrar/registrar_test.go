package registrar_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/transport"
	"rollcall/store"
	"rollcall/store/embedded"
)

const boot = 7

var (
	server = netip.MustParseAddrPort("203.0.113.1:5060")
	remote = netip.MustParseAddrPort("198.51.100.10:40000")
	udp    = transport.Flow{Proto: transport.UDP, Local: server, Remote: remote}
)

func tcp(conn uint64) transport.Flow {
	return transport.Flow{Proto: transport.TCP, Boot: boot, Conn: conn, Local: server, Remote: remote}
}

func options() registrar.Options {
	return registrar.Options{Domains: []string{"example.com"}, Boot: boot}
}

func open(t testing.TB, dir string) store.Store {
	t.Helper()
	db, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func aor(t testing.TB, s string) sip.AOR {
	t.Helper()
	a, err := sip.ParseAORString(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// message is a REGISTER with the given lines, over a buffer of its own that wipe
// overwrites, as the transport does.
func message(t testing.TB, callID string, cseq int, lines ...string) (m *sip.Message, wipe func()) {
	t.Helper()
	to, via := "<sip:alice@example.com>", "Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK776asdhds"
	uri := "sip:example.com"
	var rest []string
	for _, l := range lines {
		switch {
		case strings.HasPrefix(l, "To: "):
			to = l[4:]
		case strings.HasPrefix(l, "Via: "):
			via = l
		case strings.HasPrefix(l, "URI: "):
			uri = l[5:]
		default:
			rest = append(rest, l)
		}
	}
	buf := []byte("REGISTER " + uri + " SIP/2.0\r\n" + via + "\r\nMax-Forwards: 70\r\n" +
		"From: <sip:alice@example.com>;tag=456248\r\nTo: " + to + "\r\nCall-ID: " + callID + "\r\n" +
		"CSeq: " + strconv.Itoa(cseq) + " REGISTER\r\n" + strings.Join(append(rest, ""), "\r\n") + "Content-Length: 0\r\n\r\n")
	m = new(sip.Message)
	if err := m.Parse(buf); err != nil {
		t.Fatal(err)
	}
	if err := m.Check(); err != nil {
		t.Fatalf("%v:\n%s", err, buf)
	}
	return m, func() {
		for i := range buf {
			buf[i] = '#'
		}
	}
}

// phone registers alice.
type phone struct {
	t      testing.TB
	r      *registrar.Registrar
	callID string
	cseq   int
	flow   transport.Flow
	change registrar.Change // of the last REGISTER
}

func newPhone(t testing.TB, r *registrar.Registrar) *phone {
	return &phone{t: t, r: r, callID: "843817637684230@998sdasdh09", cseq: 1825, flow: udp}
}

// try sends a REGISTER and returns the lines of the 200.
func (p *phone) try(lines ...string) ([]string, error) {
	p.t.Helper()
	p.cseq++
	m, wipe := message(p.t, p.callID, p.cseq, lines...)
	defer wipe()
	dst, change, err := p.r.Register(p.t.Context(), m, aor(p.t, "sip:alice@example.com"), p.flow, time.Now(), []byte("before\r\n"))
	p.change = change
	got, ok := strings.CutPrefix(string(dst), "before\r\n")
	if !ok || err != nil && got != "" {
		p.t.Fatalf("dst is %q", dst)
	}
	if err != nil {
		return nil, err
	}
	all := strings.Split(strings.TrimSuffix(got, "\r\n"), "\r\n")
	if !strings.HasPrefix(all[len(all)-1], "Date: ") || !strings.HasSuffix(all[len(all)-1], " GMT") {
		p.t.Fatalf("no Date in %q", all)
	}
	return all[:len(all)-1], nil
}

// ok sends a REGISTER that is answered 200.
func (p *phone) ok(lines ...string) []string {
	p.t.Helper()
	got, err := p.try(lines...)
	if err != nil {
		p.t.Fatalf("REGISTER %q: %v", lines, err)
	}
	return got
}

// refused sends a REGISTER that is answered with the status.
func (p *phone) refused(status int, lines ...string) *sip.Error {
	p.t.Helper()
	got, err := p.try(lines...)
	var fault *sip.Error
	if !errors.As(err, &fault) || fault.Status != status {
		p.t.Fatalf("REGISTER %q: %v %q, want %d", lines, err, got, status)
	}
	if !p.change.IsZero() {
		p.t.Errorf("refused REGISTER changed %+v", p.change)
	}
	return fault
}

func lookup(t testing.TB, r *registrar.Registrar) []registrar.Binding {
	t.Helper()
	all, err := r.Lookup(t.Context(), aor(t, "sip:alice@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// contacts are the contacts that Lookup gives, in its order.
func contacts(t testing.TB, r *registrar.Registrar) []string {
	t.Helper()
	got := []string{}
	for _, b := range lookup(t, r) {
		got = append(got, b.Contact)
	}
	return got
}

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestQuery(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	equal(t, "query of nobody", p.ok(), nil)
	p.ok("Contact: <sip:alice@192.0.2.10:5062;ob>")
	equal(t, "query", p.ok(), []string{"Contact: <sip:alice@192.0.2.10:5062;ob>;expires=3600"})
	if !p.change.IsZero() {
		t.Errorf("query changed %+v", p.change)
	}
	// A query has no part in the order of CSeq: it changes nothing.
	p.cseq = 1
	equal(t, "query with a low CSeq", p.ok(), []string{"Contact: <sip:alice@192.0.2.10:5062;ob>;expires=3600"})
}

func TestSeveralContacts(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	got := p.ok(`Contact: "A, with comma" <sip:a@192.0.2.1>;q=0.5, sip:b@192.0.2.2;q=1.0;expires=100`, "m: <sip:c@192.0.2.3>", "Expires: 300")
	equal(t, "200", got, []string{
		"Contact: <sip:a@192.0.2.1>;expires=300;q=0.5",
		"Contact: <sip:b@192.0.2.2>;expires=100;q=1",
		"Contact: <sip:c@192.0.2.3>;expires=300",
	})
	equal(t, "by q", contacts(t, p.r), []string{"sip:b@192.0.2.2", "sip:c@192.0.2.3", "sip:a@192.0.2.1"})
	equal(t, "remove one", p.ok("Contact: <sip:b@192.0.2.2>;expires=0", "Expires: 300"), []string{
		"Contact: <sip:a@192.0.2.1>;expires=300;q=0.5",
		"Contact: <sip:c@192.0.2.3>;expires=300",
	})
	if len(p.change.Removed) != 1 || p.change.Removed[0].Contact != "sip:b@192.0.2.2" || p.change.Present() {
		t.Errorf("change %+v", p.change)
	}
	p.ok("Contact: <sip:nobody@192.0.2.77>;expires=0")
	if !p.change.IsZero() {
		t.Errorf("removal of what is not there changed %+v", p.change)
	}
}

func TestTheLaterOfTwoEqualContactsCounts(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	equal(t, "200", p.ok("Contact: <sip:a@192.0.2.1>;q=0.5, <sip:a@192.0.2.1>;q=0.7"), []string{"Contact: <sip:a@192.0.2.1>;expires=3600;q=0.7"})
	equal(t, "put and removed", p.ok("Contact: <sip:a@192.0.2.1>, <sip:a@192.0.2.1>;expires=0"), nil)
	equal(t, "removed and put", p.ok("Contact: <sip:a@192.0.2.1>;expires=0, <sip:a@192.0.2.1>"), []string{"Contact: <sip:a@192.0.2.1>;expires=3600"})
}

func TestExpiry(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), registrar.Options{Default: 30 * time.Minute, Min: 90 * time.Second, Max: 2 * time.Hour}))
	for _, c := range []struct {
		contact, expires string
		want             int // 0: 423
	}{
		{"", "", 1800},
		{"", "Expires: 600", 600},
		{";expires=100", "Expires: 600", 100},
		{";EXPIRES=100", "", 100},
		{";expires=soon", "", 3600},
		{`;expires="Sat, 01 Dec 2040 16:00:00 GMT"`, "Expires: 600", 3600},
		{";expires", "Expires: 600", 3600},
		{";expires=4294967296", "", 3600}, // over 2^32-1 is no delta-seconds
		{"", "Expires: soon", 3600},
		{"", "Expires: 4294967295", 7200},
		{";expires=7201", "", 7200},
		{";expires=90", "", 90},
		{";expires=89", "", 0},
		{"", "Expires: 1", 0},
		{";expires=1", "Expires: 600", 0},
	} {
		contact := "Contact: <sip:a@192.0.2.1>" + c.contact
		lines := []string{contact}
		if c.expires != "" {
			lines = append(lines, c.expires)
		}
		if c.want > 0 {
			equal(t, fmt.Sprint(lines), p.ok(lines...), []string{"Contact: <sip:a@192.0.2.1>;expires=" + strconv.Itoa(c.want)})
			continue
		}
		fault := p.refused(sip.StatusIntervalTooBrief, lines...)
		if len(fault.Headers) != 1 || fault.Headers[0] != (sip.Field{Name: "Min-Expires", Value: "90"}) {
			t.Errorf("%s: headers %v", lines, fault.Headers)
		}
	}
	// "smaller than one hour": with a longer minimum an hour is taken.
	p.r.Reload(registrar.Options{Min: 5 * time.Hour, Max: 10 * time.Hour})
	if f := p.refused(sip.StatusIntervalTooBrief, "Contact: <sip:a@192.0.2.1>;expires=3599"); f.Headers[0].Value != "3600" {
		t.Errorf("Min-Expires %v", f.Headers)
	}
	p.ok("Contact: <sip:a@192.0.2.1>;expires=3600")
}

func TestQ(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	for q, want := range map[string]string{
		"0": "0", "1": "1", "0.0": "0", "1.000": "1", "0.5": "0.5", "0.123": "0.123", "0.120": "0.12", "0.": "0", "0.007": "0.007", "0.305": "0.305",
		"1.001": "", "7": "", "-1": "", "0.1234": "", ".5": "", "0,5": "", "": "", "1.": "1", "0.x": "", `"0.5"`: "", "0.5.": "",
	} {
		contact := "Contact: <sip:a@192.0.2.1>;q=" + q
		if want == "" {
			p.refused(sip.StatusBadRequest, contact)
			continue
		}
		equal(t, q, p.ok(contact), []string{"Contact: <sip:a@192.0.2.1>;expires=3600;q=" + want})
	}
}

func TestStar(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	both := []string{"sip:a@192.0.2.1", "sip:b@192.0.2.2"}
	p.ok("Contact: <sip:a@192.0.2.1>, <sip:b@192.0.2.2>")
	for _, lines := range [][]string{
		{"Contact: *", "Expires: 60"},
		{"Contact: *"},
		{"Contact: *", "Expires: never"},
		{"Contact: *;expires=0"},
		{"Contact: *, <sip:z@192.0.2.9>", "Expires: 0"},
		{"Contact: <sip:z@192.0.2.9>", "Contact: *", "Expires: 0"},
		{"Contact: *, *", "Expires: 0"},
	} {
		p.refused(sip.StatusBadRequest, lines...)
		equal(t, fmt.Sprint(lines), contacts(t, p.r), both)
	}
	equal(t, "200", p.ok("Contact: *", "Expires: 0"), nil)
	if len(p.change.Removed) != 2 {
		t.Errorf("change %+v", p.change)
	}
	equal(t, "nothing to remove", p.ok("Contact: *", "Expires: 0"), nil)
}

func TestOrderOfCSeq(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	other := newPhone(t, p.r)
	other.callID, other.cseq = "other", 9000
	p.ok("Contact: <sip:a@192.0.2.1>")
	other.ok("Contact: <sip:b@192.0.2.2>")
	both := []string{"sip:a@192.0.2.1", "sip:b@192.0.2.2"}
	for _, seq := range []int{100, 8999} { // lower; equal
		for _, lines := range [][]string{
			{"Contact: <sip:b@192.0.2.2>"},
			{"Contact: <sip:b@192.0.2.2>;expires=0"},
			{"Contact: <sip:a@192.0.2.1>;expires=0, <sip:c@192.0.2.3>, <sip:b@192.0.2.2>"},
			{"Contact: *", "Expires: 0"},
		} {
			other.cseq = seq + 1
			if seq == 8999 {
				other.cseq = 9000
			}
			other.refused(sip.StatusServerError, lines...)
			equal(t, fmt.Sprint(seq, lines), contacts(t, p.r), both)
		}
	}
	// What the older request does not touch is not in its way.
	other.cseq = 100
	other.ok("Contact: <sip:c@192.0.2.3>")
	// Another Call-ID is another series: a device that was started again.
	other.callID, other.cseq = "new", 1
	other.ok("Contact: <sip:b@192.0.2.2>;expires=0")
	equal(t, "after another Call-ID", contacts(t, p.r), []string{"sip:a@192.0.2.1", "sip:c@192.0.2.3"})
	other.ok("Contact: *", "Expires: 0")
	equal(t, "after *", contacts(t, p.r), []string{})
}

func TestRefresh(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	p.ok("Contact: <sip:a@192.0.2.1>;expires=60", "User-Agent: one")
	if len(p.change.Added) != 1 || !slices.Equal(p.change.NewDevices, []string{"sip:a@192.0.2.1"}) || !p.change.Present() {
		t.Errorf("first: %+v", p.change)
	}
	first := lookup(t, p.r)[0]
	p.flow.Remote = netip.MustParseAddrPort("[2001:db8::5]:4000")
	time.Sleep(2 * time.Millisecond)
	equal(t, "200", p.ok("Contact: <sip:a@192.0.2.1>;expires=300", "User-Agent: two"), []string{"Contact: <sip:a@192.0.2.1>;expires=300"})
	if c := p.change; len(c.Added)+len(c.Removed)+len(c.NewDevices) > 0 || !c.Present() {
		t.Errorf("refresh: %+v", c)
	}
	b := lookup(t, p.r)[0]
	for r := range p.change.Refreshed() {
		if r.ID != b.ID || r.Flow != p.flow {
			t.Errorf("refreshed %+v", r)
		}
	}
	if b.ID != first.ID || b.ID == "" || b.CSeq != first.CSeq+1 || b.UserAgent != "two" || b.Flow != p.flow || !b.Registered.Equal(first.Registered) || !b.Updated.After(first.Updated) {
		t.Errorf("got %+v\nfirst %+v", b, first)
	}
}

func TestBinding(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	uri := "sip:u%20s;er=1@198.51.100.7:5099;transport=tcp;ob;x-y=%41"
	got := p.ok("m: \"Alice\" <"+uri+`> ; expires=60;tag=x;+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>";`+
		`methods="INVITE, MESSAGE";Q=0.25;audio;pub-gruu="sip:x";temp-gruu="sip:y";description="<a, \"b\">"`,
		"Supported: gruu, outbound", "User-Agent: "+strings.Repeat("x", 500), "Path: <sip:edge.example.net;lr;ob>, <sip:192.0.2.7;lr>", "Path: <sip:192.0.2.8;lr>;x=y")
	params := `;+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>";methods="INVITE, MESSAGE";audio;description="<a, \"b\">"`
	equal(t, "200", got, []string{
		"Contact: <" + uri + ">;expires=60;q=0.25" + params,
		"Path: <sip:edge.example.net;lr;ob>", "Path: <sip:192.0.2.7;lr>", "Path: <sip:192.0.2.8;lr>;x=y",
	})
	b := lookup(t, p.r)[0]
	if b.AOR.String() != "sip:alice@example.com" || b.Contact != uri || string(b.Params) != params || b.Q != 250 || !b.QSet || b.CallID != p.callID || b.CSeq != 1826 ||
		b.Instance != "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6" || b.Device() != b.Instance || b.Flow != udp || !b.Direct || !b.GRUU || b.Outbound ||
		b.UserAgent != strings.Repeat("x", registrar.MaxUserAgent) || b.Tied() {
		t.Errorf("binding %+v", b)
	}
	if left := time.Until(b.Expires); left > time.Minute || left < 50*time.Second {
		t.Errorf("expires in %v", left)
	}
	equal(t, "path", b.Path, []string{"<sip:edge.example.net;lr;ob>", "<sip:192.0.2.7;lr>", "<sip:192.0.2.8;lr>;x=y"})
	for m, want := range map[string]bool{"MESSAGE": true, "INVITE": true, "PUBLISH": false} {
		if b.TakesMethod(m) != want {
			t.Errorf("TakesMethod(%s) is %v", m, !want)
		}
	}
}

func TestTakesMethod(t *testing.T) {
	for params, want := range map[sip.Params]bool{
		"": true, ";methods": true, `;methods="MESSAGE"`: true, `;methods="INVITE,BYE"`: false, `;methods="!MESSAGE"`: false,
		`;methods="!INVITE"`: true, `;METHODS="invite,message"`: true, `;methods=MESSAGE`: true, `;methods="MESSAGES"`: false,
	} {
		b := registrar.Binding{Params: params}
		if b.TakesMethod("MESSAGE") != want {
			t.Errorf("%s: %v", params, !want)
		}
	}
}

// TestEquality: RFC 3261 §10.3 item 7 with the rules of §19.1.4.
func TestEquality(t *testing.T) {
	for _, c := range []struct {
		x, y string
		same bool
	}{
		{"sip:dev@Host.Example.NET", "sip:dev@host.example.net", true},
		{"sip:%64ev@192.0.2.1", "sip:dev@192.0.2.1", true},
		{"sip:dev@192.0.2.1;a=1;b=2", "sip:dev@192.0.2.1;b=2;a=1", true},
		{"sip:dev@192.0.2.1;transport=TCP", "sip:dev@192.0.2.1;Transport=tcp", true},
		{"sip:dev@192.0.2.1;newparam=5", "sip:dev@192.0.2.1", true},
		{"SIP:dev@192.0.2.1", "sip:dev@192.0.2.1", true},
		{"sip:dev@[2001:db8::1]", "sip:dev@[2001:DB8:0::1]", true},
		{"sip:Dev@192.0.2.1", "sip:dev@192.0.2.1", false},
		{"sip:dev@192.0.2.1", "sip:dev@192.0.2.1:5060", false},
		{"sip:dev@192.0.2.1", "sip:dev@192.0.2.1;transport=udp", false},
		{"sip:dev@192.0.2.1", "sips:dev@192.0.2.1", false},
		{"sip:192.0.2.1", "sip:dev@192.0.2.1", false},
		{"sip:dev@192.0.2.1;x=1", "sip:dev@192.0.2.1;x=2", false},
		{"sip:dev@192.0.2.1;maddr=192.0.2.2", "sip:dev@192.0.2.1", false},
		{"sip:dev:secret@192.0.2.1", "sip:dev@192.0.2.1", false},
		{"sip:dev%3B@192.0.2.1", "sip:dev;@192.0.2.1", false},
	} {
		p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
		p.ok("Contact: <" + c.x + ">")
		p.ok("Contact: <" + c.y + ">")
		want := []string{c.x, c.y}
		if c.same {
			want = []string{c.y} // with its own spelling
		}
		equal(t, c.x+" and "+c.y, contacts(t, p.r), want)
		p.ok("Contact: <" + c.x + ">;expires=0")
		equal(t, c.x+" removed", contacts(t, p.r), want[1:])
		if c.same && len(contacts(t, p.r)) != 0 {
			t.Errorf("%s does not remove %s", c.x, c.y)
		}
	}
}

// TestSpellingsThatLeaveTheirID: equality is not transitive, so a contact may
// come whose ID another one holds.
func TestSpellingsThatLeaveTheirID(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	p.ok("Contact: <sip:dev@192.0.2.1;x=1>")
	p.ok("Contact: <sip:dev@192.0.2.1;x=2>;expires=0, <sip:dev@192.0.2.1>")
	p.ok("Contact: <sip:dev@192.0.2.1;x=2>")
	p.ok("Contact: <sip:dev@192.0.2.1;x=1>")
	equal(t, "contacts", contacts(t, p.r), []string{"sip:dev@192.0.2.1;x=2", "sip:dev@192.0.2.1;x=1"})
	// This one equals both, and takes the place of both.
	p.ok("Contact: <sip:dev@192.0.2.1>")
	equal(t, "contacts", contacts(t, p.r), []string{"sip:dev@192.0.2.1"})
}

func TestAllOrNothing(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	p.ok("Contact: <sip:a@192.0.2.1>")
	long := strings.Repeat("x", 2000)
	for bad, status := range map[string]int{
		"<:::not a uri>":                         400,
		"<sip:b@192.0.2.2":                       400,
		"<sip:b@>":                               400,
		"<sip:b@192.0.2.2:99999>":                400,
		"sip:user@example.org?Route=%3Csip:x%3E": 400,
		`"unclosed <sip:b@192.0.2.2>`:            400,
		"<sip:b@192.0.2.2>;q=2":                  400,
		"<sip:b@192.0.2.2>;reg-id=0":             400,
		"<sip:b@192.0.2.2>;reg-id=4294967295":    400,
		"<sip:b@192.0.2.2>;expires=59":           423,
		"<sip:b@192.0.2.2;p=" + long + ">":       400,
		"<sip:b@192.0.2.2>;p=" + long:            400,
		`<sip:b@192.0.2.2>;+sip.instance="<` + strings.Repeat("u", 300) + `>"`: 400,
		"<mailto:alice@example.org>":               403,
		"<tel:+12025550100>":                       403,
		"<sip:b@192.0.2.2?Subject=x>":              403,
		"<sip:bob@example.com>":                    403,
		"<sip:bob@EXAMPLE.com:5060;x>":             403,
		"<sip:bob@203.0.113.1>":                    403,
		"<sip:bob@203.0.113.1:5060;transport=tcp>": 403,
	} {
		p.refused(status, "Contact: <sip:a@192.0.2.1>;expires=0", "Contact: <sip:c@192.0.2.3>, "+bad)
		equal(t, bad, contacts(t, p.r), []string{"sip:a@192.0.2.1"})
	}
	p.refused(400, "Contact: ")
	p.refused(400, "Contact: <sip:c@192.0.2.3>", "Path: sip:192.0.2.7;lr")
	p.refused(400, "Contact: <sip:c@192.0.2.3>", "Path: <tel:+1>")
	p.refused(400, "Contact: <sip:c@192.0.2.3>", "Path: <sip:192.0.2.7")
	p.refused(400, "Contact: <sip:c@192.0.2.3>", "Path: <sip:192.0.2.7;x="+long+"x"+long+">")
	p.refused(400, "Contact: <sip:c@192.0.2.3>", strings.Repeat("Path: <sip:192.0.2.7;lr>\r\n", 17)+"X: y")
	p.callID = strings.Repeat("c", 600)
	p.refused(400, "Contact: <sip:c@192.0.2.3>")
	equal(t, "after all", contacts(t, p.r), []string{"sip:a@192.0.2.1"})
}

func TestWhose(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), registrar.Options{Domains: []string{"example.com", "example.org"}}))
	p.refused(403, "To: <sip:bob@example.com>", "Contact: <sip:evil@192.0.2.66>")
	p.refused(403, "To: <sip:alice@example.org>", "Contact: <sip:evil@192.0.2.66>")
	p.refused(404, "To: <sip:example.com>", "Contact: <sip:evil@192.0.2.66>")
	p.refused(404, "To: <tel:+12025550100>", "Contact: <sip:evil@192.0.2.66>")
	p.refused(404, "URI: sip:example.org", "Contact: <sip:a@192.0.2.66>")
	// The same account in other spellings (item 5), and the server's address.
	p.ok("To: Alice <sips:%61lice@EXAMPLE.com:5061;user=phone>", "Contact: <sip:a@192.0.2.66>")
	p.ok("URI: sip:203.0.113.1:5060", "Contact: <sip:a@192.0.2.66>")
	equal(t, "contacts", contacts(t, p.r), []string{"sip:a@192.0.2.66"})
	p.r.Reload(registrar.Options{Domains: []string{"example.net"}})
	p.refused(404, "Contact: <sip:a@192.0.2.66>")
}

func TestContactFlood(t *testing.T) {
	o := options()
	o.MaxContacts = 3
	p := newPhone(t, registrar.New(open(t, t.TempDir()), o))
	p.ok("Contact: <sip:a@192.0.2.1>, <sip:b@192.0.2.2>")
	have := []string{"sip:a@192.0.2.1", "sip:b@192.0.2.2"}
	p.refused(403, "Contact: <sip:c@192.0.2.3>, <sip:d@192.0.2.4>")
	var flood []string
	for i := range 2000 {
		flood = append(flood, fmt.Sprintf("<sip:%d@192.0.2.9>", i))
	}
	p.refused(403, "Contact: "+strings.Join(flood, ","))
	p.refused(403, "Contact: "+strings.Join(flood, ";expires=0,"))
	equal(t, "after the flood", contacts(t, p.r), have)
	p.ok("Contact: <sip:c@192.0.2.3>")
	p.refused(403, "Contact: <sip:d@192.0.2.4>")
	p.ok("Contact: <sip:a@192.0.2.1>;expires=0, <sip:d@192.0.2.4>")
	have = []string{"sip:b@192.0.2.2", "sip:c@192.0.2.3", "sip:d@192.0.2.4"}
	equal(t, "exchanged", contacts(t, p.r), have)
	// A limit that was lowered hinders no refresh.
	o.MaxContacts = 2
	p.r.Reload(o)
	p.ok("Contact: <sip:b@192.0.2.2>, <sip:c@192.0.2.3>, <sip:d@192.0.2.4>")
	equal(t, "refreshed", contacts(t, p.r), have)
}

func TestObserveListClear(t *testing.T) {
	r := registrar.New(open(t, t.TempDir()), options())
	var seen []string
	r.Observe(func(c *registrar.Change) {
		seen = append(seen, fmt.Sprintf("%s +%d -%d %v", c.AOR, len(c.Added), len(c.Removed), len(slices.Collect(c.Refreshed()))))
	})
	p := newPhone(t, r)
	p.ok("Contact: <sip:a@192.0.2.1>")
	p.ok("Contact: <sip:a@192.0.2.1>, <sip:b@192.0.2.2>")
	p.ok()
	bob := aor(t, "sip:bob@example.com")
	m, _ := message(t, "bob", 1, "To: <sip:bob@example.com>", "Contact: <sip:bob@192.0.2.4>")
	if _, _, err := r.Register(t.Context(), m, bob, udp, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	list := map[string]int{}
	for all, err := range r.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		list[all[0].AOR.String()] = len(all)
	}
	if !maps.Equal(list, map[string]int{"sip:alice@example.com": 2, "sip:bob@example.com": 1}) {
		t.Errorf("list %v", list)
	}
	if c, err := r.Clear(t.Context(), aor(t, "sip:alice@example.com")); err != nil || len(c.Removed) != 2 {
		t.Errorf("clear %+v %v", c, err)
	}
	if c, err := r.Clear(t.Context(), aor(t, "sip:alice@example.com")); err != nil || !c.IsZero() {
		t.Errorf("second clear %+v %v", c, err)
	}
	equal(t, "contacts", contacts(t, r), []string{})
	equal(t, "observed", seen, []string{
		"sip:alice@example.com +1 -0 0", "sip:alice@example.com +1 -0 1", "sip:bob@example.com +1 -0 0", "sip:alice@example.com +0 -2 0",
	})
}

// bad contexts come back as they are.
func TestContext(t *testing.T) {
	r := registrar.New(open(t, t.TempDir()), options())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m, _ := message(t, "c", 1, "Contact: <sip:a@192.0.2.1>")
	if _, _, err := r.Register(ctx, m, aor(t, "sip:alice@example.com"), udp, time.Now(), nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	equal(t, "contacts", contacts(t, r), []string{})
}

func TestAddressAsDomain(t *testing.T) {
	for _, domain := range []string{"[2001:db8::1]", "203.0.113.1"} {
		p := newPhone(t, registrar.New(open(t, t.TempDir()), registrar.Options{Domains: []string{domain}}))
		user := "sip:alice@" + domain
		for contact, want := range map[string]int{
			"sip:alice@" + domain:                   403, // herself
			"sip:alice@" + domain + ":5060":         403, // this server
			"sip:alice@" + domain + ":5070":         0,   // a phone on the same machine
			"sip:alice@192.0.2.1":                   0,
			"sip:alice@2001.invalid;transport=ws":   0,
			"sip:alice@[2001:db8::2]:5060;x-y=%5B1": 0,
		} {
			m, _ := message(t, "call"+contact, 1, "URI: sip:"+domain, "To: <"+user+">", "Contact: <"+contact+">")
			_, _, err := p.r.Register(t.Context(), m, aor(t, user), udp, time.Now(), nil)
			var fault *sip.Error
			if errors.As(err, &fault); (want == 0) != (err == nil) || fault != nil && fault.Status != want {
				t.Errorf("%s at %s: %v", contact, domain, err)
			}
		}
	}
}
