package reginfo

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/event"
	"rollcall/xmltree"
)

// rows is what a watcher keeps of documents (RFC 3680 §5.2): contacts by id, without
// those that have ended.
type rows map[string]string

func (r rows) take(b event.Body) error {
	root, err := xmltree.Parse(b.Bytes, xmltree.Limits{})
	if err != nil {
		return err
	}
	if attr(root, "state") == "full" {
		clear(r)
	}
	reg := root.Child(Space, "registration")
	r["state"] = attr(reg, "state")
	for c := range reg.Children(Space, "contact") {
		if r[attr(c, "id")] = c.String(); attr(c, "state") == "terminated" {
			delete(r, attr(c, "id"))
		}
	}
	return nil
}

// applied holds a difference to RFC 3680 §5.2.
func applied(prev, change, next event.Body) error {
	got, want := rows{}, rows{}
	if err := errors.Join(got.take(prev), got.take(change), want.take(next)); err != nil {
		return err
	}
	if !maps.Equal(got, want) {
		return errors.New("other rows")
	}
	return nil
}

// TestPartialNotification: of many contacts those are told that changed.
func TestPartialNotification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t)
		body := func() event.Body {
			t.Helper()
			s, err := f.p.Compose(t.Context(), f.alice, nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := f.p.Body(t.Context(), f.alice, s, event.View{Type: Type})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		const home, desk, mobile = "<sip:alice@192.0.2.10>", "<sip:alice@192.0.2.11>", "<sip:alice@192.0.2.12>"
		prev := body()
		for _, c := range []struct {
			contact string
			told    string // "active event=contact …" of a partial document, "" for a whole one
		}{
			{home, ""},
			{desk, ""}, // callid and cseq are told of each
			{mobile, "registered 192.0.2.12"},
			{mobile, "refreshed 192.0.2.12"},
			{desk + ";expires=0", "unregistered 192.0.2.11"},
			{home, "refreshed 192.0.2.10"},
		} {
			time.Sleep(time.Second)
			f.register(c.contact)
			next := body()
			d, ok := f.p.Diff(prev, next, Type)
			switch {
			case c.told == "":
			case !ok:
				t.Errorf("%s is told by\n%s", c.told, next.Bytes)
			default:
				happened, at, _ := strings.Cut(c.told, " ")
				if s := string(d.Bytes); strings.Count(s, "<contact ") != 1 || !strings.Contains(s, `event="`+happened+`"`) || !strings.Contains(s, at) ||
					!strings.Contains(s, `state="partial"`) || d.Bytes[d.Version] != '0' {
					t.Errorf("%s is told by\n%s", c.told, s)
				}
			}
			if ok {
				if err := applied(prev, d, next); err != nil {
					t.Errorf("%v: %s", err, d.Bytes)
				}
			}
			prev = next
		}
	})
}
