package presence_test

import (
	"bytes"
	"testing"

	"rollcall/event"
	"rollcall/event/eventtest"
	"rollcall/presence"
	"rollcall/sip"
	"rollcall/xmltree"
)

func TestSuite(t *testing.T) {
	a, bob, pbx := eventtest.AOR(t, "alice"), eventtest.AOR(t, "bob"), eventtest.AOR(t, "pbx")
	f := eventtest.Fixtures{
		Resource: a, Publisher: a, Stranger: bob, Offline: presence.ClassOffline,
		Allowed: []event.Watcher{{AOR: a, Event: "presence"}, {AOR: bob, Event: "presence"}},
		Bad:     []eventtest.Document{{Type: presence.TypePIDF, Body: "<"}, {Type: presence.TypeDiff, Body: diffHead + "</p:pidf-diff>"}},
		Check: func(typ string, b []byte) error {
			if typ == presence.TypeXPIDF { // its document type is refused by our reader
				_, b, _ = bytes.Cut(b, []byte("xpidf.dtd\">"))
			}
			_, err := xmltree.Parse(b, xmltree.Limits{})
			return err
		},
	}
	for _, client := range []string{"linphone", "pjsua", "baresip", "libpurple"} {
		f.Published = append(f.Published, eventtest.Document{Type: presence.TypePIDF, Body: published(t, client)})
	}
	p := presence.New(presence.Options{Rules: rules{"service"}, Publishers: func(who sip.AOR) bool { return who == pbx }})
	eventtest.Run(t, p, f)
	if err := p.MayPublish(t.Context(), pbx, a); err != nil {
		t.Error(err)
	}
}
