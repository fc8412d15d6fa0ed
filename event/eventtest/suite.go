package eventtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xmltree"
)

// Document is a body and its Content-Type.
type Document struct{ Type, Body string }

// Fixtures are what the suite asks a package about. All may be left out but
// Resource.
type Fixtures struct {
	Resource sip.AOR
	Allowed  []event.Watcher // those who see something
	Refused  []event.Watcher

	Published []Document // each by another device of Publisher
	Bad       []Document // what nobody may publish
	Publisher sip.AOR
	Stranger  sip.AOR // who may not publish for Resource

	// Offline is a class that sees a resource for which nothing was published, ""
	// if there is none.
	Offline string

	// Applied holds a difference to what it must give: change applied to prev is
	// next. Nil: that is not looked at.
	Applied func(prev, change, next event.Body) error

	// Check reads a body; nil: an XML type must be XML.
	Check func(typ string, body []byte) error
}

// AOR parses "alice" as sip:alice@example.com.
func AOR(t testing.TB, user string) sip.AOR {
	t.Helper()
	a, err := sip.ParseAORString("sip:" + user + "@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Run tests a package. It starts a Source with an Ear that knows what is published.
func Run(t *testing.T, p event.Package, f Fixtures) {
	s := suite{p: p, f: f, ear: &Ear{}}
	if src, ok := p.(event.Source); ok {
		src.Start(s.ear)
	}
	t.Run("Spec", s.spec)
	if len(f.Published)+len(f.Bad) > 0 {
		t.Run("Publish", s.publish)
	}
	s.ear.Published = s.publications(t)
	t.Run("Authorize", s.authorize)
	t.Run("Body", s.body)
	t.Run("Offline", s.offline)
	t.Run("Diff", s.diff)
}

type suite struct {
	p   event.Package
	f   Fixtures
	ear *Ear
}

func (s *suite) spec(t *testing.T) {
	spec := s.p.Spec()
	if spec.Name == "" || len(spec.Types) == 0 {
		t.Errorf("%+v", spec)
	}
	if spec.Min > spec.Default || spec.Default > spec.Max || spec.Default <= 0 {
		t.Errorf("durations %v, %v, %v", spec.Min, spec.Default, spec.Max)
	}
	if _, ok := s.p.(event.Publishable); ok != (len(spec.Publish) > 0) {
		t.Error("bodies of PUBLISH and the ability do not go together")
	}
}

func (s *suite) publish(t *testing.T) {
	p, ok := s.p.(event.Publishable)
	if !ok {
		t.Fatal("not Publishable")
	}
	if err := p.MayPublish(t.Context(), s.f.Publisher, s.f.Resource); err != nil {
		t.Error(err)
	}
	var fault *sip.Error
	if err := p.MayPublish(t.Context(), s.f.Stranger, s.f.Resource); !s.f.Stranger.IsZero() && (!errors.As(err, &fault) || fault.Status != sip.StatusForbidden) {
		t.Errorf("a stranger may publish: %v", err)
	}
	for _, d := range s.f.Bad {
		if _, _, _, err := p.Parse(s.f.Resource, d.Type, []byte(d.Body), nil); err == nil {
			t.Errorf("taken: %s", d.Body)
		}
	}
	if _, _, _, err := p.Parse(s.f.Resource, "text/x-unknown", []byte("x"), nil); err == nil {
		t.Error("an unknown type is taken")
	}
	pubs := s.publications(t)
	for i := range pubs { // a device's own newer publication leaves no ghost
		if !p.Replaces(&pubs[i], &pubs[i]) {
			t.Errorf("publication %d does not replace itself", i)
		}
		other := pubs[i]
		other.Publisher = s.f.Stranger
		if p.Replaces(&pubs[i], &other) {
			t.Errorf("publication %d replaces that of another publisher", i)
		}
	}
}

// publications are the fixtures as an engine hands them in.
func (s *suite) publications(t *testing.T) []event.Publication {
	t.Helper()
	var out []event.Publication
	for i, d := range s.f.Published {
		parsed, typ, full, err := s.p.(event.Publishable).Parse(s.f.Resource, d.Type, []byte(d.Body), nil)
		if err != nil {
			t.Fatalf("%v: %s", err, d.Body)
		}
		body := []byte(d.Body)
		if full == nil {
			typ = d.Type
		} else {
			body = full
		}
		id := string(rune('a' + i))
		at := time.Unix(1_800_000_000+int64(i), 0).UTC()
		out = append(out, event.Publication{
			ID: id, ETag: id + "-1", Publisher: s.f.Publisher, Device: "call-" + id, Type: typ, Body: body, Parsed: parsed,
			Created: at, Changed: at, Expires: at.Add(time.Hour),
		})
	}
	return out
}

func (s *suite) authorize(t *testing.T) {
	for _, w := range s.f.Allowed {
		if v, err := s.p.Authorize(t.Context(), s.f.Resource, w); err != nil || v.Standing != event.Active {
			t.Errorf("%v: %+v %v", w, v, err)
		}
	}
	for _, w := range s.f.Refused {
		if v, err := s.p.Authorize(t.Context(), s.f.Resource, w); err == nil && v.Standing != event.Refused {
			t.Errorf("%v: %+v", w, v)
		}
	}
}

// views are those of everybody who may watch.
func (s *suite) views(t *testing.T) []event.View {
	t.Helper()
	var out []event.View
	for _, typ := range s.p.Spec().Types {
		out = append(out, event.View{Type: typ})
		for _, w := range s.f.Allowed {
			verdict, err := s.p.Authorize(t.Context(), s.f.Resource, w)
			if err != nil {
				t.Fatal(err)
			}
			v := event.View{Class: verdict.Class, Type: typ}
			if viewer, ok := s.p.(event.Viewer); ok {
				v.Params = viewer.ViewParams(w.Event)
			}
			if !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out
}

func (s *suite) make(t *testing.T, pubs []event.Publication, v event.View) event.Body {
	t.Helper()
	state, err := s.p.Compose(t.Context(), s.f.Resource, pubs)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.p.Body(t.Context(), s.f.Resource, state, v)
	if err != nil {
		t.Fatal(err)
	}
	s.check(t, b)
	return b
}

// check says what holds for every body.
func (s *suite) check(t *testing.T, b event.Body) {
	t.Helper()
	if b.Version >= len(b.Bytes) || b.Version >= 0 && b.Bytes[b.Version] != '0' {
		t.Fatalf("no digit 0 at %d of %s", b.Version, b.Bytes)
	}
	for i, at := range b.Times {
		if at.Offset >= len(b.Bytes) || b.Bytes[at.Offset] != '0' || i > 0 && at.Offset <= b.Times[i-1].Offset {
			t.Fatalf("time %d has no digit 0 at %d of %s", i, at.Offset, b.Bytes)
		}
	}
	if len(b.Bytes) == 0 {
		return
	}
	typ, _, _ := strings.Cut(b.Type, ";")
	if !slices.Contains(s.p.Spec().Types, typ) {
		t.Errorf("body of type %q", b.Type)
	}
	var err error
	switch {
	case s.f.Check != nil:
		err = s.f.Check(typ, b.Bytes)
	case strings.HasSuffix(typ, "xml"):
		_, err = xmltree.Parse(b.Bytes, xmltree.Limits{})
	}
	if err != nil {
		t.Errorf("%v: %s", err, b.Bytes)
	}
}

// same reports whether two bodies are the same NOTIFY.
func same(a, b event.Body) bool {
	return a.Type == b.Type && a.Version == b.Version && bytes.Equal(a.Bytes, b.Bytes) && slices.Equal(a.Times, b.Times)
}

// body: equal publications, in any order, give equal bodies.
func (s *suite) body(t *testing.T) {
	for _, v := range s.views(t) {
		first := s.make(t, s.publications(t), v)
		if again := s.make(t, s.publications(t), v); !same(first, again) {
			t.Errorf("%+v: composed again\n%s\n%s", v, first.Bytes, again.Bytes)
		}
		turned := s.publications(t)
		slices.Reverse(turned)
		if again := s.make(t, turned, v); !same(first, again) {
			t.Errorf("%+v: composed in another order\n%s\n%s", v, first.Bytes, again.Bytes)
		}
		s.make(t, nil, v)
	}
}

// offline: polite blocking can't be told from nothing.
func (s *suite) offline(t *testing.T) {
	if s.f.Offline == "" {
		return
	}
	for _, v := range s.views(t) {
		blocked := v
		blocked.Class = s.f.Offline
		if got, want := s.make(t, s.publications(t), blocked), s.make(t, nil, v); !same(got, want) {
			t.Errorf("%+v:\n%s\n%s", v, got.Bytes, want.Bytes)
		}
	}
}

// diff: what changed is a document too, and from a state to itself it is no harm.
func (s *suite) diff(t *testing.T) {
	p, ok := s.p.(event.Partial)
	if !ok {
		return
	}
	for _, v := range s.views(t) {
		full, ok := p.Full(v.Type)
		if !ok {
			continue
		}
		view := v
		view.Type = full
		none, all := s.make(t, nil, view), s.make(t, s.publications(t), view)
		pairs := [][2]event.Body{{none, all}, {all, none}, {all, all}}
		for i := range s.f.Published { // as they come one by one, and go
			some := s.make(t, s.publications(t)[:i], view)
			more := s.make(t, s.publications(t)[:i+1], view)
			pairs = append(pairs, [2]event.Body{some, more}, [2]event.Body{more, some})
		}
		for _, pair := range pairs {
			d, ok := p.Diff(pair[0], pair[1], v.Type)
			if !ok {
				continue
			}
			s.check(t, d)
			if s.f.Applied != nil {
				if err := s.f.Applied(pair[0], d, pair[1]); err != nil {
					t.Errorf("%v:\n%s\nchanged by\n%s\nis not\n%s", err, pair[0].Bytes, d.Bytes, pair[1].Bytes)
				}
			}
		}
	}
}

// Ear is what a Source talks to: it notes what it is told. The zero value is
// ready; it is for one goroutine.
type Ear struct {
	ChangedOf []sip.AOR
	RulesOf   []sip.AOR
	Published []event.Publication
}

var _ event.Engine = (*Ear)(nil)

// Changed implements event.Engine.
func (e *Ear) Changed(_ string, resource sip.AOR) { e.ChangedOf = append(e.ChangedOf, resource) }

// Rules implements event.Engine.
func (e *Ear) Rules(_ string, resource sip.AOR) { e.RulesOf = append(e.RulesOf, resource) }

// Watchers implements event.Engine: there are none.
func (e *Ear) Watchers(string, sip.AOR) []event.WatcherInfo { return nil }

// ObserveWatchers implements event.Engine: none comes.
func (e *Ear) ObserveWatchers(string, func(sip.AOR)) {}

// Publications implements event.Engine.
func (e *Ear) Publications(context.Context, string, sip.AOR) ([]event.Publication, error) {
	return e.Published, nil
}
