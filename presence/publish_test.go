package presence_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/event"
	"rollcall/presence"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/transport"
	"rollcall/store/embedded"
)

func TestReplaces(t *testing.T) {
	publication := func(publisher, device, id string) *event.Publication {
		d := newDesk(t, presence.Options{})
		p := d.publish(doc(`<tuple id="` + id + `"><status><basic>open</basic></status></tuple>`))
		p.Publisher, p.Device = aor(t, "sip:"+publisher+"@example.com"), device
		return p
	}
	old := publication("alice", "call-1", "kd83jf")
	for _, c := range []struct {
		next *event.Publication
		want bool
		why  string
	}{
		{publication("alice", "call-1", "other1"), true, "the same device"},
		{publication("alice", "call-2", "kd83jf"), true, "the same tuple"},
		{publication("alice", "call-2", "other1"), false, "another device"},
		{publication("bob", "call-1", "kd83jf"), false, "another account"},
	} {
		if got := presence.New(presence.Options{}).Replaces(c.next, old); got != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
	for _, id := range []string{"bs35r9f", "t4109", "sg89ae", "t1", "StandAlone"} {
		if presence.New(presence.Options{}).Replaces(publication("alice", "call-2", id), publication("alice", "call-1", id)) {
			t.Errorf("two devices with the id %s are taken for one", id)
		}
		next, old := publication("alice", "call-2", id), publication("alice", "call-1", id)
		next.Source, old.Source = "UDP 192.0.2.1:5060", "UDP 192.0.2.1:5060"
		if !presence.New(presence.Options{}).Replaces(next, old) {
			t.Errorf("what one socket published twice under the id %s is taken for two devices", id)
		}
	}
}

func TestMayPublish(t *testing.T) {
	p := presence.New(presence.Options{})
	if err := p.MayPublish(context.Background(), alice(t), alice(t)); err != nil {
		t.Error(err)
	}
	if err, ok := errors.AsType[*sip.Error](p.MayPublish(context.Background(), aor(t, "sip:bob@example.com"), alice(t))); !ok || err.Status != 403 {
		t.Error(err)
	}
	_, _, _, err := p.Parse(alice(t), "text/plain", []byte("hello"), nil)
	if fault, ok := errors.AsType[*sip.Error](err); !ok || fault.Status != 415 {
		t.Error(err)
	}
}

// ear is an engine that remembers what it was told.
type ear struct {
	event.Engine
	changed, ruled []string
}

func (e *ear) Changed(pkg string, resource sip.AOR) { e.changed = append(e.changed, resource.String()) }
func (e *ear) Rules(pkg string, resource sip.AOR)   { e.ruled = append(e.ruled, resource.String()) }

// TestRegistrarIsHeard: who registers is open at once, and a refresh is no news.
func TestRegistrarIsHeard(t *testing.T) {
	db, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r := registrar.New(db, registrar.Options{})
	d := newDesk(t, presence.Options{Locations: r})
	var heard ear
	d.p.Start(&heard)
	for cseq, contact := range []string{"<sip:alice@192.0.2.7>;expires=600", "<sip:alice@192.0.2.7>;expires=600", "<sip:alice@192.0.2.7>;expires=0"} {
		var m sip.Message
		text := fmt.Sprintf("REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\n"+
			"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: a\r\nCSeq: %d REGISTER\r\n"+
			"Contact: %s\r\nContent-Length: 0\r\n\r\n", cseq, cseq+1, contact)
		if err := m.Parse([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Register(t.Context(), &m, alice(t), transport.Flow{}, time.Now(), nil); err != nil {
			t.Fatal(err)
		}
		want := "open"
		if cseq == 2 {
			want = "closed"
		}
		if text := string(d.body(event.View{}).Bytes); !strings.Contains(text, "<basic>"+want+"</basic>") {
			t.Errorf("after REGISTER %d: %s", cseq, text)
		}
	}
	if len(heard.changed) != 2 || heard.changed[0] != "sip:alice@example.com" {
		t.Error("heard", heard.changed)
	}
}
