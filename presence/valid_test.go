package presence_test

import (
	"testing"
	"time"

	"rollcall/event"
	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/xcap"
)

// TestDocumentsAreValid: what watchers get is valid by the schema of PIDF that
// documents of users are held to.
func TestDocumentsAreValid(t *testing.T) {
	db, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	documents, err := xcap.NewDocuments(xcap.Options{Store: db})
	if err != nil {
		t.Fatal(err)
	}
	defer documents.Close()
	registered := &locations{{ID: "b1", Contact: "sip:alice@192.0.2.7", Params: `;audio;methods="MESSAGE"`, Expires: time.Now().Add(time.Hour)}}
	for _, l := range []*locations{{}, registered} {
		d := newDesk(t, presence.Options{Rules: rules{"service"}, Locations: l})
		valid := func(name string) {
			t.Helper()
			for _, class := range []string{"", presence.ClassOffline, "service"} {
				b := d.body(event.View{Class: class}).Bytes
				if _, err := documents.Put(t.Context(), alice(t), xcap.PIDFManipulation, "index", b); err != nil {
					t.Errorf("%s, class %q: %v\n%s", name, class, err, b)
				}
			}
		}
		valid("nothing")
		for _, client := range []string{"linphone", "pjsua", "baresip", "libpurple"} {
			d.publish(published(t, client))
			valid("with " + client)
		}
		d.publish(doc(`<note>root</note><x:more/>`))
		d.publish(doc(`<tuple id="t"><status><x:sub/></status><x:ext/><timestamp>2026-01-01T00:00:00Z</timestamp></tuple><dm:person id="p"/>`))
		valid("with extensions")
	}
}
