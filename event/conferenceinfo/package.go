package conferenceinfo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xmltree"
)

// Name of the event package and type of its bodies (RFC 4575 §3.1, §3.4).
const (
	Name = "conference"
	Type = "application/conference-info+xml"
)

// ClassOffline is the class that sees a conference nobody publishes.
const ClassOffline = "offline"

// Rules decide about those who do not take part. If its value has a method
// Observe(func(sip.AOR)), that is called once with what must be told whose rules
// changed, the zero AOR for all.
type Rules interface {
	// Judge returns the verdict. Its Class is "" for all that there is; any other
	// sees what ClassOffline does.
	Judge(ctx context.Context, resource, watcher sip.AOR) (event.Verdict, error)
}

// Options are what a Package works with. All may be left out.
type Options struct {
	// Rules decide about those who do not take part. Nil: they are refused.
	Rules Rules

	// Publishers tells who may publish for other addresses: a focus.
	Publishers func(sip.AOR) bool
}

// Package is the event package.
type Package struct {
	o      Options
	engine atomic.Pointer[event.Engine]
	rosters
}

var (
	_ event.Package     = (*Package)(nil)
	_ event.Publishable = (*Package)(nil)
	_ event.Source      = (*Package)(nil)
)

// New returns the event package.
func New(o Options) *Package { return &Package{o: o} }

// Spec implements event.Package: RFC 4575 §3.3 gives the duration. The rate of
// §3.9 is left to the engine, which has one NOTIFY under way to a watcher.
func (p *Package) Spec() event.Spec {
	return event.Spec{
		Name: Name, Types: []string{Type}, Publish: []string{Type},
		Default: time.Hour, Min: time.Minute, Max: 24 * time.Hour,
	}
}

// Authorize implements event.Package (RFC 4575 §3.5).
func (p *Package) Authorize(ctx context.Context, resource sip.AOR, w event.Watcher) (event.Verdict, error) {
	if w.AOR == resource {
		return event.Verdict{Standing: event.Active, Rule: "focus"}, nil
	}
	if e := p.engine.Load(); e != nil {
		pubs, err := (*e).Publications(ctx, Name, resource)
		if err != nil {
			return event.Verdict{}, fmt.Errorf("look up participants: %w", err)
		}
		if _, in := slices.BinarySearch(participants(latest(pubs)), w.AOR.String()); in {
			return event.Verdict{Standing: event.Active, Rule: "participant"}, nil
		}
	}
	if p.o.Rules == nil {
		return event.Verdict{Standing: event.Refused, Rule: "participants only"}, nil
	}
	return p.o.Rules.Judge(ctx, resource, w.AOR)
}

// latest is the document that was published last, nil for none.
func latest(publications []event.Publication) *xmltree.Element {
	var root *xmltree.Element
	var last event.Publication
	for _, pub := range publications {
		r, ok := pub.Parsed.(*xmltree.Element)
		if ok && (root == nil || cmp.Or(pub.Changed.Compare(last.Changed), cmp.Compare(pub.ID, last.ID)) > 0) {
			root, last = r, pub
		}
	}
	return root
}

// Compose implements event.Package. When others take part than before, watchers are
// judged again.
func (p *Package) Compose(_ context.Context, resource sip.AOR, publications []event.Publication) (event.State, error) {
	root := latest(publications)
	if p.changed(resource, participants(root)) {
		if e := p.engine.Load(); e != nil {
			(*e).Rules(Name, resource)
		}
	}
	return event.State{Value: root}, nil
}

// Body implements event.Package.
func (p *Package) Body(_ context.Context, resource sip.AOR, s event.State, v event.View) (event.Body, error) {
	out := xmltree.New(Space, "", "conference-info")
	out.SetAttr("", "version", "0")
	out.SetAttr("", "state", deleted)
	out.SetAttr("", "entity", resource.String())
	if root := s.Value.(*xmltree.Element); root != nil && state(root) != deleted && v.Class == "" {
		out.SetAttr("", "state", full)
		for e := range root.Elements() {
			out.Append(e.Clone())
		}
	}
	return new(event.Times).Body(Type, out.Document()), nil
}

// MayPublish implements event.Publishable: a focus that is the conference, or one
// for many.
func (p *Package) MayPublish(_ context.Context, publisher, resource sip.AOR) error {
	if publisher != resource && (p.o.Publishers == nil || !p.o.Publishers(publisher)) {
		return sip.NewError(sip.StatusForbidden, "Conferences are published by their focus")
	}
	return nil
}

// Parse implements event.Publishable. What it returns is the root of a document of
// full state, or of a deleted one.
func (p *Package) Parse(_ sip.AOR, typ string, body []byte, old *event.Publication) (any, string, []byte, error) {
	if typ != Type {
		return nil, "", nil, sip.NewError(sip.StatusUnsupportedMedia, "", sip.Field{Name: "Accept", Value: Type})
	}
	root, err := parse(body)
	if err != nil {
		return nil, "", nil, err
	}
	if state(root) != partial {
		settle(root)
		return root, "", nil, nil
	}
	if old == nil { // RFC 4575 §4.6: the first document is full
		return nil, "", nil, sip.NewError(sip.StatusBadRequest, "Partial state without full state before it")
	}
	to, err := parse(old.Body)
	if err != nil {
		return nil, "", nil, err
	}
	settle(to)
	merge(to, root)
	settle(to)
	to.SetAttr("", "state", full)
	stored := to.Document()
	if len(stored) > MaxBytes {
		return nil, "", nil, sip.NewError(sip.StatusTooLarge, "")
	}
	if to, err = parse(stored); err != nil { // within the limits
		return nil, "", nil, err
	}
	return to, Type, stored, nil
}

// Replaces implements event.Publishable: a focus has one document of a conference.
func (p *Package) Replaces(next, old *event.Publication) bool {
	return next.Publisher == old.Publisher
}

// Start implements event.Source.
func (p *Package) Start(e event.Engine) {
	p.engine.Store(&e)
	if r, ok := p.o.Rules.(interface{ Observe(func(sip.AOR)) }); ok {
		r.Observe(func(resource sip.AOR) { e.Rules(Name, resource) })
	}
}
