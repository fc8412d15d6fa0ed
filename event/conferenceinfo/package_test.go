package conferenceinfo

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"rollcall/event"
	"rollcall/event/eventtest"
	"rollcall/sip"
	"rollcall/xmltree"
)

// basic is the example of RFC 4575 §7.1, shortened: bob has left, alice is there.
const basic = `<?xml version="1.0" encoding="UTF-8"?>
<conference-info xmlns="urn:ietf:params:xml:ns:conference-info" entity="sips:conf233@example.com" state="full" version="1">
<conference-description><subject>Agenda: This month's goals</subject></conference-description>
<conference-state><user-count>33</user-count></conference-state>
<users>
<user entity="sip:bob@example.com" state="full"><display-text>Bob Hoskins</display-text>
<endpoint entity="sip:bob@pc33.example.com"><display-text>Bob's Laptop</display-text><status>disconnected</status>
<media id="1"><type>audio</type><status>sendrecv</status></media></endpoint></user>
<user entity="sip:alice@example.com" state="full"><display-text>Alice</display-text>
<endpoint entity="sip:4kfk4j392jsu@example.com;grid=433kj4j3u"><status>connected</status><media id="1"><type>audio</type><status>sendrecv</status></media></endpoint></user>
</users></conference-info>`

const head = `<conference-info xmlns="urn:ietf:params:xml:ns:conference-info" entity="sips:conf233@example.com" version="2" `

// change makes bob come back, alice go and carol appear.
const change = head + `state="partial"><host-info><display-text>host</display-text></host-info><users state="partial">` +
	`<user entity="sip:bob@example.com" state="partial"><endpoint entity="sip:bob@pc33.example.com" state="partial"><status>connected</status></endpoint></user>` +
	`<user entity="sip:alice@example.com" state="deleted"/><user entity="sip:carol@example.com" state="partial"/></users></conference-info>`

type rules struct{ class string }

func (r rules) Judge(_ context.Context, _, w sip.AOR) (event.Verdict, error) {
	if w.User() == "auditor" {
		return event.Verdict{Standing: event.Active, Class: r.class}, nil
	}
	return event.Verdict{}, nil
}

func TestSuite(t *testing.T) {
	conf, focus := eventtest.AOR(t, "conf233"), eventtest.AOR(t, "focus")
	var allowed, refused []event.Watcher
	for _, w := range []string{"conf233", "alice", "auditor"} {
		allowed = append(allowed, event.Watcher{AOR: eventtest.AOR(t, w), Event: Name})
	}
	for _, w := range []string{"bob", "mallory"} { // bob has left
		refused = append(refused, event.Watcher{AOR: eventtest.AOR(t, w), Event: Name})
	}
	p := New(Options{Rules: rules{}, Publishers: func(a sip.AOR) bool { return a == focus }})
	eventtest.Run(t, p, eventtest.Fixtures{
		Resource: conf, Publisher: focus, Stranger: eventtest.AOR(t, "mallory"), Offline: ClassOffline, Applied: applied, Allowed: allowed, Refused: refused,
		Published: []eventtest.Document{{Type: Type, Body: basic}},
		Bad: []eventtest.Document{
			{Type: Type, Body: ""}, {Type: Type, Body: "<conference-info/>"}, {Type: Type, Body: head + `state="half"/>`}, {Type: Type, Body: change},
		},
	})
	if New(Options{}).MayPublish(t.Context(), focus, conf) == nil {
		t.Error("anybody may publish")
	}
	if v, err := New(Options{}).Authorize(t.Context(), conf, event.Watcher{AOR: eventtest.AOR(t, "alice")}); err != nil || v.Standing != event.Refused {
		t.Error(v, err)
	}
}

func TestPartialPublication(t *testing.T) {
	conf := eventtest.AOR(t, "conf233")
	ear := &eventtest.Ear{}
	p := New(Options{})
	p.Start(ear)
	pub := event.Publication{ID: "a", Publisher: conf, Body: []byte(basic)}
	judged := 0
	publish := func(body string, old *event.Publication) *xmltree.Element {
		t.Helper()
		v, _, stored, err := p.Parse(conf, Type, []byte(body), old)
		if err != nil {
			t.Fatal(err)
		}
		if pub.Parsed = v; stored != nil {
			pub.Body = stored
		}
		ear.Published = []event.Publication{pub}
		s, err := p.Compose(t.Context(), conf, ear.Published)
		if err != nil {
			t.Fatal(err)
		}
		if judged++; len(ear.RulesOf) != judged {
			t.Error("watchers are judged", len(ear.RulesOf), "times")
		}
		if _, err := p.Compose(t.Context(), conf, ear.Published); err != nil || len(ear.RulesOf) != judged {
			t.Error("the same again", err)
		}
		b, err := p.Body(t.Context(), conf, s, event.View{Type: Type})
		if err != nil {
			t.Fatal(err)
		}
		root, err := xmltree.Parse(b.Bytes, xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
	if got := fmt.Sprint(participants(publish(basic, nil))); got != "[sip:alice@example.com]" {
		t.Error(got)
	}
	root := publish(change, &pub)
	if got := fmt.Sprint(participants(root)); got != "[sip:bob@example.com sip:carol@example.com]" {
		t.Error(got)
	}
	var names []string
	for e := range root.Elements() {
		names = append(names, e.Name.Local)
	}
	if got := strings.Join(names, " "); got != "conference-description host-info conference-state users" {
		t.Error(got)
	}
	if s := root.String(); !strings.Contains(s, "Bob&apos;s Laptop") && !strings.Contains(s, "Bob's Laptop") || strings.Count(s, "state=") != 1 {
		t.Error(s)
	}
	for who, want := range map[string]event.Standing{"bob": event.Active, "alice": event.Refused} {
		if v, err := p.Authorize(t.Context(), conf, event.Watcher{AOR: eventtest.AOR(t, who)}); err != nil || v.Standing != want {
			t.Error(who, v, err)
		}
	}
	if got, _ := publish(head+`state="deleted"/>`, nil).Attr("", "state"); got != deleted {
		t.Error(got)
	}
}

// TestRostersAreBounded: many conferences make them no larger.
func TestRostersAreBounded(t *testing.T) {
	var r rosters
	for i := range maxRosters + 10 {
		r.changed(eventtest.AOR(t, fmt.Sprint("c", i)), []string{"sip:alice@example.com"})
	}
	if len(r.last) != maxRosters {
		t.Error(len(r.last))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(basic))
	f.Add([]byte(change))
	conf := eventtest.AOR(f, "conf233")
	p := New(Options{})
	old := event.Publication{Body: []byte(basic)}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, _, _, err := p.Parse(conf, Type, body, &old)
		if err != nil {
			return
		}
		s, err := p.Compose(t.Context(), conf, []event.Publication{{ID: "a", Parsed: v}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Body(t.Context(), conf, s, event.View{})
		if err != nil || b.Bytes[b.Version] != '0' {
			t.Errorf("%v: %s", err, b.Bytes)
		}
		if _, err := xmltree.Parse(b.Bytes, xmltree.Limits{Bytes: 4 * MaxBytes}); err != nil {
			t.Errorf("%v: %s", err, b.Bytes)
		}
	})
}
