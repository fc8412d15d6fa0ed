package presence_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/event"
	"rollcall/presence"
	"rollcall/sip"
	"rollcall/xmltree"
)

// vacation is permanent presence.
type vacation struct {
	doc   string
	err   error
	heard func(sip.AOR)
}

func (v *vacation) HardState(context.Context, sip.AOR) (*xmltree.Element, error) {
	if v.err != nil || v.doc == "" {
		return nil, v.err
	}
	return xmltree.Parse([]byte(v.doc), xmltree.Limits{})
}

func (v *vacation) Observe(f func(sip.AOR)) { v.heard = f }

// TestHardState: who is away for long and has no device on is shown as put down, as
// in RFC 4827 §11; what devices publish goes before it.
func TestHardState(t *testing.T) {
	v := &vacation{}
	l := &locations{}
	d := newDesk(t, presence.Options{HardState: v, Locations: l})
	d.sees(nobody)
	const mail = `<tuple id="x8eg92m"><status><basic>open</basic></status><contact priority="0.7">mailto:alice@example.com</contact></tuple>`
	const holidays = `<dm:person id="person"><rpid:activities><rpid:vacation/></rpid:activities><x:card>c</x:card><dm:note>Holidays</dm:note></dm:person>`
	v.doc = doc(`<tuple id="x8eg92m"><status><basic>open</basic></status><contact priority="0.7">mailto:alice@example.com</contact></tuple>
		<tuple id="voice1"><status><basic>closed</basic></status></tuple>
		<dm:person id="p1"><rpid:activities><rpid:vacation/></rpid:activities><x:card>c</x:card><dm:note>Holidays</dm:note><dm:timestamp>2199-01-01T00:00:00Z</dm:timestamp></dm:person>`)
	text := string(d.body(event.View{}).Bytes)
	if !strings.Contains(text, "<rpid:vacation/>") || !strings.Contains(text, "mailto:alice@example.com") || !strings.Contains(text, `id="voice1"`) {
		t.Error(text)
	}

	d.publish(doc(`<tuple id="voice1"><status><basic>open</basic></status><note>hi</note></tuple><dm:person id="p"><rpid:activities><rpid:busy/></rpid:activities></dm:person>`))
	d.sees(tuple("voice1", "open", "<note>hi</note>") + mail + strings.NewReplacer("vacation", "busy").Replace(holidays))

	d.pubs = nil
	*l = locations{{ID: "b1", Expires: time.Now().Add(time.Hour)}}
	if text := string(d.body(event.View{}).Bytes); strings.Count(text, "<basic>open</basic>") != 2 {
		t.Error("registered with hard state:", text)
	}
	v.doc = strings.Replace(v.doc, "alice@example.com\">", "bob@example.com\">", 1)
	if text := string(d.body(event.View{}).Bytes); strings.Contains(text, "vacation") {
		t.Error("a document about another is shown:", text)
	}
	v.err = errors.New("store is gone")
	if _, err := d.p.Compose(t.Context(), alice(t), nil); !errors.Is(err, v.err) {
		t.Error(err)
	}
	var heard ear
	d.p.Start(&heard)
	v.heard(alice(t))
	if len(heard.changed) != 1 {
		t.Error("a change was not told")
	}
}
