package watcherinfo

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/event"
	"rollcall/event/eventtest"
	"rollcall/sip"
	"rollcall/xmltree"
)

func aor(t *testing.T, s string) sip.AOR {
	t.Helper()
	a, err := sip.ParseAORString(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// desk is an engine with watchers that a test sets.
type desk struct {
	eventtest.Ear
	watchers []event.WatcherInfo
	observed map[string]func(sip.AOR)
	changed  []string
}

func (d *desk) Watchers(string, sip.AOR) []event.WatcherInfo { return d.watchers }
func (d *desk) Changed(pkg string, resource sip.AOR) {
	d.changed = append(d.changed, pkg+" "+resource.String())
}
func (d *desk) ObserveWatchers(pkg string, f func(sip.AOR)) { d.observed[pkg] = f }

func body(t *testing.T, p *Package, resource sip.AOR) event.Body {
	t.Helper()
	s, err := p.Compose(context.Background(), resource, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Body(context.Background(), resource, s, event.View{Type: Type})
	if err != nil {
		t.Fatal(err)
	}
	if b.Bytes = b.Append(nil, 0, time.Now()); b.Type != Type || b.Bytes[b.Version] != '0' || !strings.HasSuffix(string(b.Bytes[:b.Version]), `<watcherinfo version="`) {
		t.Errorf("%s, version at %d:\n%.200s", b.Type, b.Version, b.Bytes)
	}
	return b
}

// same compares documents.
func same(t *testing.T, got []byte, want string) {
	t.Helper()
	a, err := xmltree.Parse(got, xmltree.Limits{})
	if err != nil {
		t.Fatalf("%v:\n%s", err, got)
	}
	b, err := xmltree.Parse([]byte(want), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !a.EqualIgnoringSpace(b) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestExample makes the document of RFC 3858 §5, with what is optional there, the
// one who waits for a decision first.
func TestExample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		since := time.Now()
		time.Sleep(509 * time.Second)
		d := desk{observed: map[string]func(sip.AOR){}, watchers: []event.WatcherInfo{
			{ID: "8ajksjda7s", AOR: aor(t, "sip:userA@example.net"), Standing: event.Active, Event: "approved", Since: since, Expires: since.Add(time.Hour)},
			{ID: "hh8juja87s997-ass7", AOR: aor(t, "sip:userB@example.org"), Display: "Mr. Subscriber", Standing: event.Pending, Event: "subscribe",
				Since: time.Now(), Expires: time.Now().Add(time.Minute)},
		}}
		p := New("presence")
		p.Start(&d)
		same(t, body(t, p, aor(t, "sip:professor@example.net")).Bytes, `<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="0" state="full">
			<watcher-list resource="sip:professor@example.net" package="presence">
				<watcher status="pending" id="hh8juja87s997-ass7" display-name="Mr. Subscriber" event="subscribe" duration-subscribed="0" expiration="60">sip:userB@example.org</watcher>
				<watcher status="active" id="8ajksjda7s" duration-subscribed="509" event="approved" expiration="3091">sip:userA@example.net</watcher>
			</watcher-list></watcherinfo>`)
	})
}

func TestStatuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		w := func(id string, s event.Standing, waiting bool, cause string, life time.Duration) event.WatcherInfo {
			return event.WatcherInfo{ID: id, AOR: aor(t, "sip:alice@example.com"), Standing: s, Waiting: waiting, Event: cause, Since: now, Expires: now.Add(life)}
		}
		d := desk{observed: map[string]func(sip.AOR){}, watchers: []event.WatcherInfo{
			w("fetch", event.Refused, false, "timeout", 0), // transient (RFC 3857 §4.7.2)
			w("ended", event.Refused, false, "rejected", time.Hour),
			w("replaced", event.Refused, false, "", time.Hour),
			w("waits", event.Refused, true, "timeout", time.Hour),
		}}
		p := New("presence")
		p.Start(&d)
		same(t, body(t, p, aor(t, "sip:bob@example.com")).Bytes, `<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="0" state="full">
			<watcher-list resource="sip:bob@example.com" package="presence">
				<watcher id="waits" status="waiting" event="timeout" duration-subscribed="0">sip:alice@example.com</watcher>
				<watcher id="ended" status="terminated" event="rejected" duration-subscribed="0">sip:alice@example.com</watcher>
				<watcher id="replaced" status="terminated" event="deactivated" duration-subscribed="0">sip:alice@example.com</watcher>
			</watcher-list></watcherinfo>`)
	})
}

func TestWatchersAreHeard(t *testing.T) {
	d := desk{observed: map[string]func(sip.AOR){}}
	p := New("presence.winfo") // the template goes over itself (RFC 3857 §4.1)
	p.Start(&d)
	if name := p.Spec().Name; name != "presence.winfo.winfo" {
		t.Error(name)
	}
	d.observed["presence.winfo"](aor(t, "sip:bob@example.com"))
	if len(d.changed) != 1 || d.changed[0] != "presence.winfo.winfo sip:bob@example.com" {
		t.Error(d.changed)
	}
}

func TestManyWatchers(t *testing.T) {
	d := desk{observed: map[string]func(sip.AOR){}}
	now := time.Now()
	for i := range 2 * MaxWatchers {
		d.watchers = append(d.watchers, event.WatcherInfo{ID: fmt.Sprintf("id%d", i), AOR: aor(t, fmt.Sprintf("sip:user%d@example.com", i)),
			Standing: event.Active, Event: "subscribe", Since: now.Add(-time.Duration(i) * time.Second), Expires: now.Add(time.Hour)})
	}
	d.watchers[len(d.watchers)-1].Standing = event.Pending
	p := New("presence")
	p.Start(&d)
	text := string(body(t, p, aor(t, "sip:bob@example.com")).Bytes)
	if n := strings.Count(text, "<watcher "); n != MaxWatchers || !strings.Contains(text, `status="pending"`) || !strings.Contains(text, `"id0"`) || len(text) > 60000 {
		t.Errorf("%d watchers in %d bytes", n, len(text))
	}
}

func TestSuite(t *testing.T) {
	alice, bob := eventtest.AOR(t, "alice"), eventtest.AOR(t, "bob")
	eventtest.Run(t, New("presence"), eventtest.Fixtures{
		Resource: bob,
		Allowed:  []event.Watcher{{AOR: bob, Event: "presence.winfo"}},
		Refused:  []event.Watcher{{AOR: alice, Event: "presence.winfo"}},
	})
}
