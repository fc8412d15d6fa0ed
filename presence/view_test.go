package presence_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"rollcall/event"
	"rollcall/presence"
	"rollcall/sip"
	"rollcall/xmltree"
)

// rules gives every watcher one class.
type rules struct{ class string }

func (r rules) Judge(context.Context, sip.AOR, sip.AOR) (event.Verdict, error) {
	return event.Verdict{Standing: event.Active, Class: r.class}, nil
}

func (r rules) Transform(class string, doc *xmltree.Element) *xmltree.Element {
	switch class {
	case "person":
		for t := doc.Child(presence.SpacePIDF, "tuple"); t != nil; t = doc.Child(presence.SpacePIDF, "tuple") {
			doc.Remove(t)
		}
		return doc
	case "service":
		if p := doc.Child(presence.SpaceModel, "person"); p != nil {
			doc.Remove(p)
		}
		return doc
	}
	return nil
}

func TestClasses(t *testing.T) {
	l := &locations{{ID: "b1", Expires: time.Now().Add(time.Hour)}}
	d := newDesk(t, presence.Options{Locations: l, Rules: rules{"service"}})
	bob := event.Watcher{AOR: aor(t, "sip:bob@example.com")}
	if v, err := d.p.Authorize(context.Background(), alice(t), bob); err != nil || v.Class != "service" {
		t.Error(v, err)
	}
	if v, err := d.p.Authorize(context.Background(), alice(t), event.Watcher{AOR: alice(t)}); err != nil || v.Class != "" || v.Standing != event.Active {
		t.Error("alice sees less of herself:", v, err)
	}
	d.publish(doc(`<tuple id="t"><status><basic>open</basic></status></tuple><dm:person id="p"><rpid:mood><rpid:sad/></rpid:mood></dm:person>`))
	all := d.body(event.View{}).Bytes
	d.same(d.body(event.View{Class: "service"}).Bytes, tuple("t", "open", ""))
	d.same(d.body(event.View{Class: "person"}).Bytes, nobody+`<dm:person id="person"><rpid:mood><rpid:sad/></rpid:mood></dm:person>`)
	if again := d.body(event.View{}).Bytes; string(again) != string(all) {
		t.Error("a transformation changed the state")
	}
	// Who may not see the person does not see its note in the tuple, and the other
	// way round.
	for _, c := range []struct{ doc, class, want string }{
		{`<tuple id="t"><status><basic>open</basic></status></tuple><dm:person id="p"><dm:note>private</dm:note></dm:person>`, "service", tuple("t", "open", "")},
		{`<tuple id="t"><status><basic>open</basic></status><note>private</note></tuple><dm:person id="p"><rpid:mood><rpid:sad/></rpid:mood></dm:person>`, "person",
			nobody + `<dm:person id="person"><rpid:mood><rpid:sad/></rpid:mood></dm:person>`},
		{`<tuple id="t"><status><basic>open</basic></status><note>private</note></tuple>`, "person", nobody},
		{`<tuple id="t"><status><basic>open</basic></status></tuple><tuple id="u"><status><basic>open</basic></status><note>n</note></tuple>`, "service",
			tuple("t", "open", "<note>n</note>") + tuple("u", "open", "<note>n</note>") + `<dm:person id="person"><dm:note>n</dm:note></dm:person>`},
	} {
		d := newDesk(t, presence.Options{Rules: rules{c.class}})
		d.publish(doc(c.doc))
		d.same(d.body(event.View{Class: c.class}).Bytes, c.want)
	}
	never := newDesk(t, presence.Options{})
	for _, typ := range d.p.Spec().Types {
		want := string(never.body(event.View{Type: typ}).Bytes)
		for _, class := range []string{presence.ClassOffline, "unknown"} {
			if got := string(d.body(event.View{Type: typ, Class: class}).Bytes); got != want {
				t.Errorf("class %s sees\n%s\nwant\n%s", class, got, want)
			}
		}
	}
}

func TestXPIDF(t *testing.T) {
	d := newDesk(t, presence.Options{})
	if got := string(d.body(event.View{Type: presence.TypeXPIDF}).Bytes); !strings.Contains(got, `<status status="closed"/><msnsubstatus substatus="offline"/>`) {
		t.Error(got)
	}
	d.publish(doc(`<tuple id="t"><status><basic>open</basic></status></tuple><dm:person id="p"><rpid:activities><rpid:on-the-phone/></rpid:activities></dm:person>`))
	b := d.body(event.View{Type: presence.TypeXPIDF})
	if got := string(b.Bytes); b.Type != presence.TypeXPIDF || b.Version != -1 || !strings.Contains(got, `<status status="inuse"/>`) ||
		!strings.Contains(got, `<presentity uri="sip:alice@example.com;method=SUBSCRIBE"/>`) {
		t.Error(b.Type, got)
	}
}
