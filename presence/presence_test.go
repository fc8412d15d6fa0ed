package presence_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/event"
	"rollcall/presence"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/xmltree"
)

func aor(t testing.TB, s string) sip.AOR {
	t.Helper()
	a, err := sip.ParseAORString(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func alice(t testing.TB) sip.AOR { return aor(t, "sip:alice@example.com") }

// desk is alice's presence at one server.
type desk struct {
	testing.TB
	p    *presence.Package
	pubs []event.Publication
}

func newDesk(t testing.TB, o presence.Options) *desk { return &desk{TB: t, p: presence.New(o)} }

// publish adds a publication, by a device of its own.
func (d *desk) publish(doc string) *event.Publication {
	d.Helper()
	parsed, _, _, err := d.p.Parse(alice(d), presence.TypePIDF, []byte(doc), nil)
	if err != nil {
		d.Fatalf("%v in\n%s", err, doc)
	}
	n := fmt.Sprint(len(d.pubs) + 1)
	now := time.Now()
	d.pubs = append(d.pubs, event.Publication{ID: "pub" + n, Publisher: alice(d), Device: "call-" + n,
		Type: presence.TypePIDF, Body: []byte(doc), Parsed: parsed, Created: now, Changed: now, Expires: now.Add(time.Hour)})
	return &d.pubs[len(d.pubs)-1]
}

func (d *desk) state() event.State {
	d.Helper()
	s, err := d.p.Compose(context.Background(), alice(d), d.pubs)
	if err != nil {
		d.Fatal(err)
	}
	return s
}

func (d *desk) body(v event.View) event.Body {
	d.Helper()
	if v.Type == "" {
		v.Type = presence.TypePIDF
	}
	b, err := d.p.Body(context.Background(), alice(d), d.state(), v)
	if err != nil {
		d.Fatal(err)
	}
	return b
}

// sees compares what all see with a document, but for white space.
func (d *desk) sees(want string) {
	d.Helper()
	d.same(d.body(event.View{}).Bytes, want)
}

func (d *desk) same(got []byte, want string) {
	d.Helper()
	g, err := xmltree.Parse(got, xmltree.Limits{})
	if err != nil {
		d.Fatalf("%v in\n%s", err, got)
	}
	w, err := xmltree.Parse([]byte(doc(want)), xmltree.Limits{})
	if err != nil {
		d.Fatal(err)
	}
	if !g.EqualIgnoringSpace(w) {
		d.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

const head = `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"` +
	` xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" xmlns:ts="urn:ietf:params:xml:ns:pidf:timed-status"` +
	` xmlns:x="urn:example:x" entity="sip:alice@example.com">`

// doc makes a document of what stands below the root.
func doc(inner string) string { return head + inner + "</presence>" }

// tuple makes a tuple as it comes out.
func tuple(id, basic, more string) string {
	return `<tuple id="` + id + `"><status><basic>` + basic + `</basic></status>` +
		`<contact>sip:alice@example.com</contact>` + more + `</tuple>`
}

const nobody = `<tuple id="closed"><status><basic>closed</basic></status><contact>sip:alice@example.com</contact></tuple>`

func TestClientDocuments(t *testing.T) {
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no documents")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			published, seen, _ := strings.Cut(string(text), "<!-- seen as -->\n")
			d := newDesk(t, presence.Options{})
			d.publish(published)
			w, err := xmltree.Parse([]byte(seen), xmltree.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			g, err := xmltree.Parse(d.body(event.View{}).Bytes, xmltree.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if !g.EqualIgnoringSpace(w) {
				t.Errorf("got\n%s\nwant\n%s", g, w)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tuples := ""
	for i := range 101 {
		tuples += fmt.Sprintf(`<tuple id="t%d"><status/></tuple>`, i)
	}
	for _, c := range []struct{ doc, want string }{
		{"", "empty"},
		{"no xml", "xml line 1"},
		{`<!DOCTYPE presence SYSTEM "file:///etc/passwd">` + doc(""), "document type"},
		{`<presence xmlns="urn:example:x" entity="sip:alice@example.com"/>`, "root is not presence"},
		{strings.Replace(doc(""), "sip:alice@", "sip:bob@", 1), "entity"},
		{strings.Replace(doc(""), ` entity="sip:alice@example.com"`, "", 1), "entity"},
		{doc(`<tuple><status/></tuple>`), "without id"},
		{doc(`<tuple id="a"/>`), "0 status"},
		{doc(`<tuple id="a"><status/><status/></tuple>`), "2 status"},
		{doc(`<tuple id="a"><status/></tuple><tuple id="a"><status/></tuple>`), "twice"},
		{doc(`<tuple id="a"><status/></tuple><dm:person id="a"/>`), "twice"},
		{doc(`<tuple id="` + strings.Repeat("a", 129) + `"><status/></tuple>`), "longer than 128"},
		{doc(`<tuple id="a"><status><basic>busy</basic></status></tuple>`), "neither open nor closed"},
		{doc(`<tuple id="a"><status/><ts:timed-status from="today"/></tuple>`), "in from"},
		{doc(`<tuple id="a"><status/><ts:timed-status from="2026-01-01T00:00:00Z" until="never"/></tuple>`), "in until"},
		{doc(tuples), "more than 100"},
		{doc("<x:n>" + strings.Repeat("<note>a</note>", 101) + "</x:n>"), "more than 100 notes"},
		{doc(strings.Repeat("<x:a>", 40) + strings.Repeat("</x:a>", 40)), "too deep"},
		{doc(strings.Repeat("<x:a/>", 101)), "more than 100"},
		{doc(strings.Repeat("<x:a/>", 5000)), "too many elements"},
		{doc("<note>" + strings.Repeat("a", 65<<10) + "</note>"), "too long"},
	} {
		_, _, _, err := presence.New(presence.Options{}).Parse(alice(t), presence.TypePIDF, []byte(c.doc), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.120s: %v, want %q", c.doc, err, c.want)
		}
	}
	for _, entity := range []string{"pres:alice@example.com", "PRES:alice@EXAMPLE.com", "sips:alice@example.com", "sip:%61lice@example.com:5070;transport=tcp"} {
		text := strings.Replace(doc(""), "sip:alice@example.com", entity, 1)
		if _, err := presence.ParseDocument(alice(t), []byte(text)); err != nil {
			t.Errorf("entity %s: %v", entity, err)
		}
	}
}

func TestComposition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, presence.Options{})
		d.sees(nobody)
		d.publish(doc(`<tuple id="t1"><status><basic>closed</basic></status><contact priority="0.8">sip:alice@192.0.2.7:5070</contact></tuple>
			<dm:person id="p"><rpid:activities><rpid:meal/></rpid:activities><rpid:mood><rpid:happy/></rpid:mood></dm:person>
			<dm:device id="d1"><dm:deviceID>mac:1</dm:deviceID><x:battery>low</x:battery></dm:device>`))
		time.Sleep(time.Second)
		d.publish(doc(`<tuple id="t1"><status><x:sub>s</x:sub><basic>open</basic></status><x:ext a="1">e</x:ext><contact>tel:+49301</contact></tuple>
			<dm:person id="q"><rpid:activities><rpid:busy/></rpid:activities><rpid:mood/></dm:person>
			<dm:device id="d1"><dm:deviceID>mac:1</dm:deviceID><x:battery>full</x:battery></dm:device>
			<note>root</note><x:more/>`))
		text := string(d.body(event.View{}).Bytes)
		id := "t1-" + between(text, `id="t1-`, `"`)
		want := `<tuple id="` + id + `"><status><basic>open</basic><x:sub>s</x:sub></status><x:ext a="1">e</x:ext><contact>tel:+49301</contact></tuple>
			<tuple id="t1"><status><basic>closed</basic></status><contact priority="0.8">sip:alice@example.com</contact></tuple>
			<note>root</note>
			<dm:person id="person"><rpid:activities><rpid:busy/></rpid:activities><rpid:mood><rpid:happy/></rpid:mood></dm:person>
			<dm:device id="d1"><dm:deviceID>mac:1</dm:deviceID><x:battery>full</x:battery></dm:device><x:more/>`
		d.sees(want)
		d.pubs[0], d.pubs[1] = d.pubs[1], d.pubs[0]
		d.sees(want) // whatever the order they are given in

		d.pubs = d.pubs[1:] // the newer one is gone
		d.sees(`<tuple id="t1"><status><basic>closed</basic></status><contact priority="0.8">sip:alice@example.com</contact></tuple>
			<dm:person id="person"><rpid:activities><rpid:meal/></rpid:activities><rpid:mood><rpid:happy/></rpid:mood></dm:person>
			<dm:device id="d1"><dm:deviceID>mac:1</dm:deviceID><x:battery>low</x:battery></dm:device>`)
	})
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

func TestPersonByTimestamp(t *testing.T) {
	d := newDesk(t, presence.Options{})
	now := time.Now().UTC()
	person := func(at time.Time, activity, until string) string {
		return doc(`<tuple id="t"><status><basic>open</basic></status></tuple><dm:person id="p"><rpid:activities` + until + `><rpid:` + activity +
			`/></rpid:activities><dm:timestamp>` + at.Format(time.RFC3339) + `</dm:timestamp></dm:person>`)
	}
	activity := func() string {
		return between(string(d.body(event.View{}).Bytes), "<rpid:activities", "</rpid:activities>")
	}
	d.publish(person(now.Add(-time.Minute), "busy", ""))
	d.publish(person(now.Add(-time.Hour), "meal", ""))
	if !strings.Contains(activity(), "busy") {
		t.Error("the older timestamp won:", activity())
	}
	d.publish(person(now.Add(time.Hour), "away", ` until="`+now.Add(time.Hour).Format(time.RFC3339)+`"`)) // a wrong clock: counts as published now
	if !strings.Contains(activity(), "away") {
		t.Error("the latest publication lost:", activity())
	}
	if until := d.state().Until; until.Before(now) {
		t.Error("no end of the activity seen:", until)
	}
	d.publish(person(now.Add(time.Hour), "vacation", ` until="`+now.Add(-time.Hour).Format(time.RFC3339)+`"`))
	d.publish(person(now.Add(time.Hour), "meeting", ` from="`+now.Add(time.Hour).Format(time.RFC3339)+`"`))
	if !strings.Contains(activity(), "away") {
		t.Error("what is past or to come won:", activity())
	}
}

func TestNotesInBothPlaces(t *testing.T) {
	d := newDesk(t, presence.Options{})
	d.publish(doc(`<tuple id="t"><status><basic>open</basic></status><note xml:lang="en">here</note><timestamp>2026-01-01T00:00:00Z</timestamp></tuple>`))
	d.sees(tuple("t", "open", `<note xml:lang="en">here</note><timestamp>2026-01-01T00:00:00Z</timestamp>`) +
		`<dm:person id="person"><dm:note xml:lang="en">here</dm:note></dm:person>`)

	d = newDesk(t, presence.Options{})
	d.publish(doc(`<tuple id="t"><status><basic>open</basic></status><timestamp>2026-01-01T00:00:00Z</timestamp></tuple><dm:person id="p"><dm:note>there</dm:note></dm:person>`))
	d.sees(tuple("t", "open", `<note>there</note><timestamp>2026-01-01T00:00:00Z</timestamp>`) +
		`<dm:person id="person"><dm:note>there</dm:note></dm:person>`)
}

func TestTimedStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, presence.Options{})
		from, until := time.Now().Add(time.Hour).UTC(), time.Now().Add(2*time.Hour).UTC()
		timed := `<ts:timed-status from="` + from.Format(time.RFC3339) + `" until="` + until.Format(time.RFC3339) + `"><ts:basic>closed</ts:basic></ts:timed-status>`
		d.publish(doc(`<tuple id="t"><status><basic>open</basic></status>` + timed + `</tuple>`))
		with := `<tuple id="t"><status><basic>open</basic></status>` + timed + `<contact>sip:alice@example.com</contact></tuple>`
		d.sees(with)
		for _, step := range []struct {
			until time.Time
			want  string
		}{{from, tuple("t", "closed", "")}, {until, with}} {
			if got := d.state().Until; !got.Equal(step.until) {
				t.Fatalf("changes at %v, want %v", got, step.until)
			}
			time.Sleep(time.Until(step.until))
			d.sees(step.want)
		}
		if got := d.state().Until; !got.IsZero() {
			t.Error("changes again at", got)
		}
	})
}

// locations has what a registrar tells.
type locations []registrar.Binding

func (l *locations) Lookup(context.Context, sip.AOR) ([]registrar.Binding, error) { return *l, nil }

func TestRegistrationIsAHint(t *testing.T) {
	now := time.Now()
	l := &locations{{ID: "b1", Contact: "sip:alice@192.0.2.7", Expires: now.Add(time.Hour)}, {ID: "b2", Contact: "sip:alice@192.0.2.8", Expires: now.Add(time.Minute)}}
	d := newDesk(t, presence.Options{Locations: l})
	text := string(d.body(event.View{}).Bytes)
	if strings.Count(text, "<basic>open</basic>") != 2 || strings.Contains(text, "192.0.2") {
		t.Error(text)
	}
	if got := d.state().Until; !got.Equal(now.Add(time.Minute)) {
		t.Error("changes at", got)
	}
	d.publish(doc(`<tuple id="t"><status><basic>closed</basic></status></tuple>`))
	d.sees(tuple("t", "closed", "")) // who says closed is closed
	d.pubs = nil
	if text := string(d.body(event.View{}).Bytes); !strings.Contains(text, "<basic>open</basic>") {
		t.Error("another device is registered, but", text)
	}
	(*l)[0].Params = `;audio;video="FALSE";automata="TRUE";methods="INVITE, message,<x>";+sip.instance="<urn:uuid:1>"`
	const caps = `</status><caps:servcaps><caps:audio>true</caps:audio><caps:video>false</caps:video><caps:automata>true</caps:automata>` +
		`<caps:methods><caps:supported><caps:INVITE/><caps:MESSAGE/></caps:supported></caps:methods></caps:servcaps><contact>`
	if text := string(d.body(event.View{}).Bytes); !strings.Contains(text, caps) {
		t.Error("a device told what it can do, but", text)
	}
	*l = nil
	d.sees(nobody)
	d.publish(doc(`<dm:person id="p"><rpid:mood><rpid:sad/></rpid:mood></dm:person>`))
	d.sees(nobody + `<dm:person id="person"><rpid:mood><rpid:sad/></rpid:mood></dm:person>`)
}
