package reginfo

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/event"
	"rollcall/event/eventtest"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/transport"
	"rollcall/store/embedded"
	"rollcall/xmltree"
)

// fixture is a registrar at which alice registers, and the package over it.
type fixture struct {
	*testing.T
	r     *registrar.Registrar
	p     *Package
	ear   *eventtest.Ear
	alice sip.AOR
	cseq  int
}

func open(t *testing.T) *fixture {
	t.Helper()
	db, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	r := registrar.New(db, registrar.Options{})
	p := New(Options{Locations: r, Watchers: func(_, w sip.AOR) bool { return w.User() == "app" }})
	f := &fixture{T: t, r: r, p: p, ear: &eventtest.Ear{}, alice: eventtest.AOR(t, "alice")}
	p.Start(f.ear)
	return f
}

func (f *fixture) register(contact string) {
	f.Helper()
	f.cseq++
	var m sip.Message
	if err := m.Parse([]byte(fmt.Sprintf("REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK77\r\nMax-Forwards: 70\r\n"+
		"From: <sip:alice@example.com>;tag=456248\r\nTo: <sip:alice@example.com>\r\nCall-ID: 843817637684230@998sdasdh09\r\nCSeq: %d REGISTER\r\n"+
		"Contact: %s\r\nContent-Length: 0\r\n\r\n", f.cseq, contact))); err != nil {
		f.Fatal(err)
	}
	if err := m.Check(); err != nil {
		f.Fatal(err)
	}
	flow := transport.Flow{Proto: transport.UDP, Local: netip.MustParseAddrPort("203.0.113.1:5060"), Remote: netip.MustParseAddrPort("192.0.2.10:5060")}
	if _, _, err := f.r.Register(f.Context(), &m, f.alice, flow, time.Now(), nil); err != nil {
		f.Fatal(err)
	}
}

// told is the document of now in short: state of the registration, and of each
// contact with its event.
func (f *fixture) told() string {
	f.Helper()
	s, err := f.p.Compose(f.Context(), f.alice, nil)
	if err != nil {
		f.Fatal(err)
	}
	b, err := f.p.Body(f.Context(), f.alice, s, event.View{Type: Type})
	if err != nil {
		f.Fatal(err)
	}
	root, err := xmltree.Parse(b.Bytes, xmltree.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	reg := root.Child(Space, "registration")
	state, _ := reg.Attr("", "state")
	out := []string{state}
	for c := range reg.Children(Space, "contact") {
		state, _ := c.Attr("", "state")
		happened, _ := c.Attr("", "event")
		out = append(out, c.Child(Space, "uri").Text()+" "+state+" "+happened)
	}
	return strings.Join(out, ", ")
}

func TestSuite(t *testing.T) {
	f := open(t)
	f.register("<sip:alice@192.0.2.10>;q=0.8")
	eventtest.Run(t, f.p, eventtest.Fixtures{
		Resource: f.alice, Applied: applied,
		Allowed: []event.Watcher{{AOR: f.alice, Event: Name}, {AOR: eventtest.AOR(t, "app"), Event: Name}},
		Refused: []event.Watcher{{AOR: eventtest.AOR(t, "bob"), Event: Name}},
	})
}

// TestEvents follows the contacts of RFC 3680 §4.7.1 through their lives.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t)
		step := func(want string) {
			t.Helper()
			for range 2 { // asked again, it is the same
				if got := f.told(); got != want {
					t.Errorf("%q\nwant %q", got, want)
				}
			}
		}
		step("init")
		f.register("<sip:alice@192.0.2.10>;expires=600")
		step("active, sip:alice@192.0.2.10 active registered")
		time.Sleep(time.Minute)
		f.register("<sip:alice@192.0.2.10>;expires=600")
		step("active, sip:alice@192.0.2.10 active refreshed")
		f.register("<sip:alice@192.0.2.11>;expires=3600")
		f.register("<sip:alice@192.0.2.10>;expires=0")
		step("active, sip:alice@192.0.2.11 active registered, sip:alice@192.0.2.10 terminated unregistered")
		s, err := f.p.Compose(t.Context(), f.alice, nil)
		if err != nil || time.Until(s.Until) != time.Hour {
			t.Error(time.Until(s.Until), err)
		}
		time.Sleep(time.Until(s.Until))
		step("terminated, sip:alice@192.0.2.11 terminated expired")
		f.register("<sip:alice@192.0.2.10>;expires=600")
		step("active, sip:alice@192.0.2.10 active registered")
		if len(f.ear.ChangedOf) != 5 || f.ear.ChangedOf[0] != f.alice {
			t.Error(f.ear.ChangedOf)
		}
	})
}

// TestDocument: what RFC 3680 §5.1 has for a contact.
func TestDocument(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	r := registration{aor: eventtest.AOR(t, "alice"), live: []registrar.Binding{{
		ID: "b1", Contact: "sip:alice@192.0.2.10;x=<&>", Params: `;+sip.instance="<urn:uuid:1>";audio`, Q: 800, QSet: true,
		CallID: "a\"b\x01\xff", CSeq: 7, Registered: at, Updated: at, Expires: at.Add(time.Hour),
	}}}
	const want = `<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full"><registration aor="sip:alice@example.com" id="1" state="active">` +
		`<contact id="b1" state="active" event="registered" q="0.8" callid="a&quot;b" cseq="7" expires="3500" duration-registered="100"><uri>sip:alice@192.0.2.10;x=&lt;&amp;&gt;</uri>` +
		`<unknown-param name="+sip.instance">"&lt;urn:uuid:1&gt;"</unknown-param><unknown-param name="audio"/></contact></registration></reginfo>`
	b := r.body()
	got, err := xmltree.Parse(b.Append(nil, 0, at.Add(100*time.Second)), xmltree.Limits{})
	if err != nil {
		t.Fatalf("%v: %s", err, b.Bytes)
	}
	expected, err := xmltree.Parse([]byte(want), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !got.Equal(expected) || b.Bytes[b.Version] != '0' {
		t.Errorf("%s\nwant\n%s", b.Bytes, want)
	}
}

// TestMemoryIsBounded: many accounts make it no larger.
func TestMemoryIsBounded(t *testing.T) {
	var m memory
	for i := range maxRemembered + 10 {
		m.step(eventtest.AOR(t, fmt.Sprint("u", i)), []registrar.Binding{{ID: "1"}}, time.Now())
	}
	if len(m.told) != maxRemembered {
		t.Error(len(m.told))
	}
	m.step(eventtest.AOR(t, "nobody"), nil, time.Now())
	if _, ok := m.told[eventtest.AOR(t, "nobody")]; ok {
		t.Error("an account that never registered is remembered")
	}
}
