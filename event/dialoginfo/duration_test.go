package dialoginfo

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/event"
	"rollcall/event/eventtest"
)

const lasting = head + `state="full"><dialog id="1"><state>confirmed</state><duration>40</duration><remote/></dialog>` +
	`<dialog id="2"><state>early</state></dialog><dialog id="3"><state>terminated</state><duration>7</duration></dialog></dialog-info>`

// TestDuration: it runs on from when it was published, through partial publications
// too (RFC 4235 §4.1.3).
func TestDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, alice := New(options(t)), eventtest.AOR(t, "alice")
		pub := event.Publication{ID: "a", Publisher: alice, Type: Type}
		publish := func(body string) {
			t.Helper()
			var old *event.Publication
			if pub.Body != nil {
				was := pub
				old = &was
			}
			v, _, full, err := p.Parse(alice, Type, []byte(body), old)
			if err != nil {
				t.Fatal(err)
			}
			pub.Parsed, pub.Body, pub.Changed = v, []byte(body), time.Now()
			if full != nil {
				pub.Body = full
			}
		}
		sees := func(want ...string) event.Body {
			t.Helper()
			s, err := p.Compose(t.Context(), alice, []event.Publication{pub})
			if err != nil {
				t.Fatal(err)
			}
			b, err := p.Body(t.Context(), alice, s, event.View{Type: Type})
			if err != nil {
				t.Fatal(err)
			}
			text := string(b.Append(nil, 3, time.Now()))
			for _, w := range append(want, `version="3"`) {
				if !strings.Contains(text, w) {
					t.Errorf("no %s in\n%s", w, text)
				}
			}
			if n := strings.Count(text, "<duration>"); n != len(want) {
				t.Errorf("%d durations in\n%s", n, text)
			}
			if b.Len(3, time.Now()) != len(text) {
				t.Errorf("%d bytes, and %d are told", len(text), b.Len(3, time.Now()))
			}
			return b
		}
		publish(lasting)
		first := sees("<state>confirmed</state><duration>40</duration>")
		time.Sleep(100 * time.Second)
		second := sees("<duration>140</duration>")
		if d, ok := p.Diff(first, second, Type); !ok || len(d.Times) != 0 || strings.Contains(string(d.Bytes), "<dialog ") {
			t.Errorf("time that goes by is a change: %s", d.Bytes)
		}
		publish(head + `state="partial"><dialog id="2"><state>confirmed</state><duration>0</duration></dialog></dialog-info>`)
		time.Sleep(9 * time.Second)
		third := sees("<duration>149</duration>", "<duration>9</duration>")
		d, ok := p.Diff(second, third, Type)
		if text := string(d.Append(nil, 4, time.Now())); !ok || !strings.Contains(text, "<state>confirmed</state><duration>9</duration>") || strings.Contains(text, `id="1"`) {
			t.Errorf("partial: %s", text)
		}
		publish(head + `state="partial"><dialog id="1"><state>confirmed</state><remote/></dialog></dialog-info>`)
		time.Sleep(time.Second)
		sees("<duration>150</duration>", "<duration>10</duration>")
	})
}

// TestDurationRefused: what is no duration is not told.
func TestDurationRefused(t *testing.T) {
	f := &fixture{T: t, p: New(options(t)), alice: eventtest.AOR(t, "alice")}
	for _, bad := range []string{"", "-1", "soon", "1.5", "99999999999", "4000000000"} {
		s := f.body(event.Watcher{AOR: f.alice, Event: Name}, f.publication("1", strings.Replace(lasting, ">40<", ">"+bad+"<", 1))).String()
		if strings.Contains(s, "duration") {
			t.Errorf("%q: %s", bad, s)
		}
	}
}
