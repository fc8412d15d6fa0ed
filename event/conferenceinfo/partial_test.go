package conferenceinfo

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"rollcall/event"
	"rollcall/event/eventtest"
	"rollcall/xmltree"
)

// applied holds a difference to RFC 4575 §4.6.
func applied(prev, change, next event.Body) error {
	to, err := xmltree.Parse(prev.Bytes, xmltree.Limits{})
	if err != nil {
		return err
	}
	by, err := xmltree.Parse(change.Bytes, xmltree.Limits{})
	if err != nil {
		return err
	}
	want, err := xmltree.Parse(next.Bytes, xmltree.Limits{})
	if err != nil {
		return err
	}
	merge(to, by)
	settle(to)
	if !to.EqualIgnoringSpace(want) {
		return errors.New("another document")
	}
	return nil
}

// conference writes a document with a subject and users by "name status".
func conference(subject string, users ...string) string {
	var b strings.Builder
	b.WriteString(head + `state="full"><conference-description><subject>` + subject + `</subject></conference-description><users>`)
	for _, u := range users {
		name, status, _ := strings.Cut(u, " ")
		fmt.Fprintf(&b, `<user entity="sip:%s@example.com"><display-text>The participant %[1]s</display-text><endpoint entity="sip:%[1]s@pc33.example.com">`+
			`<status>%s</status><media id="1"><type>audio</type><status>sendrecv</status></media></endpoint></user>`, name, status)
	}
	return b.String() + "</users></conference-info>"
}

// TestPartialNotification: of a conference those are told who changed.
func TestPartialNotification(t *testing.T) {
	conf := eventtest.AOR(t, "conf233")
	p := New(Options{})
	body := func(doc string) event.Body {
		t.Helper()
		v, _, _, err := p.Parse(conf, Type, []byte(doc), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Body(t.Context(), conf, event.State{Value: v}, event.View{Type: Type})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	four := []string{"alice connected", "bob connected", "carol connected", "dave on-hold"}
	start := body(conference("goals", four...))
	for _, c := range []struct {
		name      string
		next      string
		has, lack string // of the partial document; a whole one has both "" and is wanted
	}{
		{"one comes", conference("goals", append(four[:4:4], "erin dialing-in")...), `entity="sip:erin@example.com"`, "alice"},
		{"one goes", conference("goals", four[0], four[1], four[3]), `<user entity="sip:carol@example.com" state="deleted"/>`, "alice"},
		{"one is put on hold", conference("goals", four[0], "bob on-hold", four[2], four[3]), `<status>on-hold</status>`, "The participant"},
		{"another subject", conference("plans", four...), "<subject>plans</subject>", "<users"},
		{"nothing changes", conference("goals", four...), `state="partial"`, "<users"},
		{"another order", conference("goals", four[3], four[0], four[1], four[2]), "", ""},
		{"no description", strings.Replace(conference("goals", four...), "<conference-description><subject>goals</subject></conference-description>", "", 1), "", ""},
		{"all others", conference("goals", "erin connected"), "", ""},
		{"it is over", head + `state="deleted"/>`, "", ""},
	} {
		next := body(c.next)
		d, ok := p.Diff(start, next, Type)
		if ok != (c.has != "") {
			t.Errorf("%s: partial %v: %s", c.name, ok, d.Bytes)
		}
		if !ok {
			continue
		}
		if s := string(d.Bytes); !strings.Contains(s, c.has) || strings.Contains(s, c.lack) || d.Bytes[d.Version] != '0' {
			t.Errorf("%s: %s", c.name, s)
		}
		if err := applied(start, d, next); err != nil {
			t.Errorf("%s: %v: %s", c.name, err, d.Bytes)
		}
	}
}

func FuzzDiff(f *testing.F) {
	f.Add([]byte(basic), []byte(conference("goals", "alice connected")))
	f.Add([]byte(conference("goals", "alice connected", "bob on-hold")), []byte(conference("goals", "bob connected")))
	conf := eventtest.AOR(f, "conf233")
	p := New(Options{})
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var bodies []event.Body
		for _, doc := range [][]byte{one, two} {
			v, _, _, err := p.Parse(conf, Type, doc, nil)
			if err != nil {
				return
			}
			b, err := p.Body(t.Context(), conf, event.State{Value: v}, event.View{Type: Type})
			if err != nil {
				t.Fatal(err)
			}
			bodies = append(bodies, b)
		}
		if d, ok := p.Diff(bodies[0], bodies[1], Type); ok {
			if err := applied(bodies[0], d, bodies[1]); err != nil {
				t.Errorf("%v: %s", err, d.Bytes)
			}
		}
	})
}
