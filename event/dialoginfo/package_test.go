package dialoginfo

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/event"
	"rollcall/event/eventtest"
	"rollcall/sip"
	"rollcall/xmltree"
)

const head = `<?xml version="1.0"?><dialog-info xmlns="` + Space + `" version="0" entity="sip:alice@example.com" `

// Examples of RFC 4235 §4.1.1 (completed), §4.2 and §6.1.
const (
	trying = head + `state="full"><dialog id="as7d900as8" call-id="a84b4c76e66710" local-tag="1928301774" direction="initiator"><state>trying</state></dialog></dialog-info>`
	early  = head + `state="full"><dialog id="as7d900as8" call-id="a84b4c76e66710" local-tag="1928301774" remote-tag="456887766" direction="initiator"><state>early</state></dialog></dialog-info>`
	sample = head + `state="full"><dialog id="123456"><state>confirmed</state><duration>274</duration><local><identity display="Alice">sip:alice@example.com</identity>` +
		`<target uri="sip:alice@pc33.example.com"><param pname="isfocus" pval="true"/><param pname="class" pval="personal"/></target></local>` +
		`<remote><identity display="Bob">sip:bob@example.org</identity><target uri="sip:bobster@phone21.example.org"/><session-description type="application/sdp">v=0</session-description></remote></dialog></dialog-info>`
	partial = head + `state="partial"><dialog id="123456"><state event="remote-bye">terminated</state></dialog><dialog id="2"><state>early</state></dialog></dialog-info>`
	none    = head + `state="full"/>`
)

// rules give everybody a class, and refuse mallory.
type rules struct {
	class string
	tell  func(sip.AOR)
}

func (r *rules) Judge(_ context.Context, _, watcher sip.AOR) (event.Verdict, error) {
	switch watcher.User() {
	case "mallory":
		return event.Verdict{Standing: event.Refused}, nil
	case "error":
		return event.Verdict{Standing: event.Active}, errors.New("store is away")
	}
	return event.Verdict{Standing: event.Active, Class: r.class}, nil
}

func (r *rules) Observe(f func(sip.AOR)) { r.tell = f }

func options(t testing.TB) Options {
	boss, pbx := eventtest.AOR(t, "attendant"), eventtest.AOR(t, "pbx")
	return Options{
		Rules: &rules{}, Full: func(_, w sip.AOR) bool { return w == boss }, Publishers: func(p sip.AOR) bool { return p == pbx },
	}
}

func TestSuite(t *testing.T) {
	alice, bob := eventtest.AOR(t, "alice"), eventtest.AOR(t, "bob")
	const one = Name + `;call-id="a84b4c76e66710";to-tag=1928301774;from-tag=456887766`
	fixtures := eventtest.Fixtures{
		Resource: alice, Publisher: alice, Stranger: bob, Offline: ClassOffline, Applied: applied,
		Allowed: []event.Watcher{
			{AOR: alice, Event: Name}, {AOR: alice, Event: one}, {AOR: alice, Event: Name + ";include-session-description"},
			{AOR: bob, Event: Name}, {AOR: eventtest.AOR(t, "attendant"), Event: one},
		},
		Refused: []event.Watcher{
			{AOR: bob, Event: one}, {AOR: eventtest.AOR(t, "mallory"), Event: Name}, {AOR: eventtest.AOR(t, "error"), Event: Name},
			{AOR: alice, Event: Name + ";call-id=x"}, {AOR: alice, Event: Name + ";from-tag=x"},
		},
		Published: []eventtest.Document{{Type: Type, Body: early}, {Type: Type, Body: sample}, {Type: Type, Body: partial}},
		Bad: []eventtest.Document{
			{Type: Type, Body: ""}, {Type: Type, Body: "<dialog-info/>"}, {Type: Type, Body: head + "/>"}, {Type: Type, Body: strings.Replace(early, ">early<", ">late<", 1)},
			{Type: Type, Body: strings.Replace(early, `dialog id="as7d900as8"`, "dialog", 1)}, {Type: Type, Body: head + `state="full">` + strings.Repeat(`<dialog id="1"><state>early</state></dialog>`, 2) + "</dialog-info>"},
			{Type: Type, Body: head + `state="full"><dialog id="` + strings.Repeat("x", maxID+1) + `"><state>early</state></dialog></dialog-info>`},
		},
	}
	eventtest.Run(t, New(options(t)), fixtures)
}

type fixture struct {
	*testing.T
	p     *Package
	alice sip.AOR
	n     int
}

func (f *fixture) publication(device, body string) event.Publication {
	f.Helper()
	v, _, _, err := f.p.Parse(f.alice, Type, []byte(body), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.n++
	at := time.Unix(int64(f.n), 0)
	return event.Publication{ID: "p" + string(rune('0'+f.n)), Publisher: f.alice, Device: device, Type: Type, Body: []byte(body), Parsed: v, Created: at, Changed: at}
}

func (f *fixture) body(w event.Watcher, pubs ...event.Publication) *xmltree.Element {
	f.Helper()
	verdict, err := f.p.Authorize(f.Context(), f.alice, w)
	if err != nil {
		f.Fatal(err)
	}
	s, err := f.p.Compose(f.Context(), f.alice, pubs)
	if err != nil {
		f.Fatal(err)
	}
	b, err := f.p.Body(f.Context(), f.alice, s, event.View{Class: verdict.Class, Type: Type, Params: f.p.ViewParams(w.Event)})
	if err != nil {
		f.Fatal(err)
	}
	root, err := xmltree.Parse(b.Bytes, xmltree.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	return root
}

func states(root *xmltree.Element) string {
	var out []string
	for e := range root.Children(Space, "dialog") {
		out = append(out, attr(e, "id")+"="+stateOf(e))
	}
	return strings.Join(out, " ")
}

func TestWhoSeesWhat(t *testing.T) {
	f := &fixture{T: t, p: New(options(t)), alice: eventtest.AOR(t, "alice")}
	a, b := f.publication("1", early), f.publication("2", sample)
	bob := eventtest.AOR(t, "bob")
	for _, c := range []struct {
		who  sip.AOR
		name string
		want string
	}{
		{f.alice, Name, "123456=confirmed as7d900as8=early"},
		{eventtest.AOR(t, "attendant"), Name, "123456=confirmed as7d900as8=early"},
		{bob, Name, "call=confirmed"},
		{f.alice, Name + `;call-id=a84b4c76e66710;to-tag=1928301774`, "as7d900as8=early"},
		{f.alice, Name + `;call-id="a84b4c76e66710";to-tag=1928301774;from-tag=456887766`, "as7d900as8=early"},
		{f.alice, Name + `;call-id="a84b4c76e66710";to-tag=1928301774;from-tag=no`, ""},
	} {
		if got := states(f.body(event.Watcher{AOR: c.who, Event: c.name}, a, b)); got != c.want {
			t.Errorf("%v %s: %q, want %q", c.who, c.name, got, c.want)
		}
	}
	// Nobody but who asks for it sees a session description.
	plain, asked := f.body(event.Watcher{AOR: f.alice, Event: Name}, b).String(), f.body(event.Watcher{AOR: f.alice, Event: Name + ";include-session-description"}, b).String()
	if strings.Contains(plain, "v=0") || !strings.Contains(asked, "v=0") {
		t.Error(plain, asked)
	}
	// The third party learns of no identity and no time, and that a call has ended.
	if s := f.body(event.Watcher{AOR: bob, Event: Name}, b).String(); strings.Contains(s, "123456") || strings.Contains(s, "phone21") || strings.Contains(s, "duration") {
		t.Error(s)
	}
	over := f.publication("1", strings.Replace(early, ">early<", ">terminated<", 1))
	if got := states(f.body(event.Watcher{AOR: bob, Event: Name}, over)); got != "" {
		t.Error(got)
	}
}

func TestOffline(t *testing.T) {
	o := options(t)
	o.Rules = &rules{class: ClassOffline}
	f := &fixture{T: t, p: New(o), alice: eventtest.AOR(t, "alice")}
	for _, who := range []string{"bob", "attendant"} { // a block is stronger
		if got := states(f.body(event.Watcher{AOR: eventtest.AOR(t, who), Event: Name}, f.publication("1", early))); got != "" {
			t.Error(who, got)
		}
	}
}

func TestComposition(t *testing.T) {
	f := &fixture{T: t, p: New(options(t)), alice: eventtest.AOR(t, "alice")}
	own := event.Watcher{AOR: f.alice, Event: Name}
	// Telephone and PBX tell of one dialog: the latest counts.
	phone := f.publication("1", trying)
	pbx := f.publication("2", strings.Replace(early, "as7d900as8", "4711", 1))
	if got := states(f.body(own, phone, pbx)); got != "4711=early" {
		t.Error(got)
	}
	// Two calls that happen to have one id.
	other := f.publication("3", strings.Replace(early, "a84b4c76e66710", "another", 1))
	again := f.publication("4", early)
	if got := states(f.body(own, other, again)); got != "as7d900as8=early as7d900as8-"+other.ID+"=early" {
		t.Error(got)
	}
}

func TestPartialPublication(t *testing.T) {
	f := &fixture{T: t, p: New(options(t)), alice: eventtest.AOR(t, "alice")}
	old := f.publication("1", sample)
	apply := func() string {
		v, typ, full, err := f.p.Parse(f.alice, Type, []byte(partial), &old)
		if err != nil || typ != Type {
			t.Fatal(typ, err)
		}
		old.Body, old.Parsed = full, v
		if again, err := ParseDocument(full); err != nil || len(again.Dialogs) != len(v.(*Document).Dialogs) {
			t.Fatalf("%v: %s", err, full)
		}
		return states(f.body(event.Watcher{AOR: f.alice, Event: Name}, old))
	}
	if got := apply(); got != "123456=terminated 2=early" {
		t.Error(got)
	}
	if s := string(old.Body); !strings.Contains(s, "sip:bob@example.org") || !strings.Contains(s, "pc33") {
		t.Error("what is not repeated is lost:", s)
	}
	old = f.publication("1", strings.Replace(sample, ">confirmed<", ">terminated<", 1))
	v, _, _, err := f.p.Parse(f.alice, Type, []byte(head+`state="partial"/>`), &old)
	if err != nil || len(v.(*Document).Dialogs) != 0 {
		t.Error("a dialog that ended stays", err)
	}
}

func TestReplaces(t *testing.T) {
	f := &fixture{T: t, p: New(options(t)), alice: eventtest.AOR(t, "alice")}
	for _, c := range []struct {
		name      string
		next, old event.Publication
		want      bool
	}{
		{"a client races itself", f.publication("1", early), f.publication("2", trying), true},
		{"another call of a PBX", f.publication("1", sample), f.publication("1", trying), false},
		{"the idle telephone", f.publication("1", none), f.publication("1", trying), true},
		{"another idle telephone", f.publication("1", none), f.publication("2", trying), false},
		{"ids of two telephones", f.publication("1", sample), f.publication("2", sample), false},
	} {
		if got := f.p.Replaces(&c.next, &c.old); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if err := f.p.MayPublish(t.Context(), eventtest.AOR(t, "pbx"), f.alice); err != nil {
		t.Error(err)
	}
}

func TestRulesAreHeard(t *testing.T) {
	r := &rules{}
	ear := &eventtest.Ear{}
	New(Options{Rules: r}).Start(ear)
	r.tell(eventtest.AOR(t, "alice"))
	if len(ear.RulesOf) != 1 {
		t.Error(ear.RulesOf)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{trying, early, sample, partial, none} {
		f.Add([]byte(s), Name+`;call-id="a";to-tag=b;from-tag=c;include-session-description`)
	}
	alice := eventtest.AOR(f, "alice")
	p := New(Options{})
	old := event.Publication{Body: []byte(sample)}
	f.Fuzz(func(t *testing.T, body []byte, name string) {
		if s, err := selectionOf(name); err == nil && parseSelection(s.String()) != s {
			t.Errorf("%q: %+v", name, s)
		}
		v, _, full, err := p.Parse(alice, Type, body, &old)
		if err != nil {
			return
		}
		if full != nil {
			if _, err := ParseDocument(full); err != nil {
				t.Errorf("%v: %s", err, full)
			}
		}
		s, err := p.Compose(t.Context(), alice, []event.Publication{{ID: "a", Parsed: v}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Body(t.Context(), alice, s, event.View{})
		if err != nil || b.Bytes[b.Version] != '0' {
			t.Errorf("%v: %s", err, b.Bytes)
		}
	})
}
