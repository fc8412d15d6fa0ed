package presence

import (
	"context"
	"sync/atomic"
	"time"

	"rollcall/event"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/xmltree"
)

// Name is the name of the event package (RFC 3856 §6.1).
const Name = "presence"

// Body types.
const (
	TypePIDF  = "application/pidf+xml"  // RFC 3863 §3.1
	TypeXPIDF = "application/xpidf+xml" // what old phones want
)

// ClassOffline is the class of a watcher who sees a user who never published,
// whatever is true (polite-block, RFC 5025 §3.2.1).
const ClassOffline = "offline"

// Locations tells who is registered. A *registrar.Registrar satisfies it.
type Locations interface {
	Lookup(ctx context.Context, aor sip.AOR) ([]registrar.Binding, error)
}

// Rules decide who may see what. A Rules that is also a Transformer can give
// classes of its own; if its value has a method Observe(func(sip.AOR)), that is
// called once with what must be told whose rules changed, the zero AOR for all.
type Rules interface {
	// Judge returns the verdict. Its Class is "" for all that there is,
	// ClassOffline, or one that Transform knows.
	Judge(ctx context.Context, resource, watcher sip.AOR) (event.Verdict, error)
}

// Transformer is the ability of Rules to show some watchers less (RFC 5025 §3.3).
type Transformer interface {
	// Transform returns what the class may see of a presence document, nil for
	// nothing but that of a user who never published. It may change doc, which is
	// its own, and return it.
	Transform(class string, doc *xmltree.Element) *xmltree.Element
}

// Options are what a Package works with. All may be left out.
type Options struct {
	// Locations makes registration a hint. Nil: only publications count. If its
	// value has the method Observe of registrar.Registrar, changes are heard.
	Locations Locations

	// Rules decide about watchers. Nil: everybody sees everything.
	Rules Rules

	// Publishers tells who may publish for others: a PBX that knows who is on the
	// phone. Nil: nobody.
	Publishers func(sip.AOR) bool

	// HardState is what holds without a publication. Nil: there is none.
	HardState HardState

	// Interval is the least time between two NOTIFYs to a watcher. RFC 3856 §6.10
	// recommends five seconds; zero is none, as the engine has one NOTIFY at a time
	// under way to a watcher and drops states that are out of date.
	Interval time.Duration
}

// Package is the event package. It has no state but what others keep.
type Package struct {
	o         Options
	transform Transformer // nil if the rules have none
	spheres   *spheres    // of the rules; nil if they ask for none
	engine    atomic.Pointer[event.Engine]
}

var (
	_ event.Package     = (*Package)(nil)
	_ event.Publishable = (*Package)(nil)
	_ event.Source      = (*Package)(nil)
)

// New returns the event package.
func New(o Options) *Package {
	p := &Package{o: o}
	p.transform, _ = o.Rules.(Transformer)
	if r, ok := o.Rules.(*RuleSets); ok {
		p.spheres = &r.spheres
		p.spheres.of = p.sphereOf
	}
	return p
}

// Spec implements event.Package. An hour is what RFC 3856 §6.4 recommends.
func (p *Package) Spec() event.Spec {
	return event.Spec{
		Name:     Name,
		Types:    []string{TypePIDF, TypeDiff, TypeXPIDF},
		Default:  time.Hour,
		Min:      time.Minute,
		Max:      24 * time.Hour,
		Interval: p.o.Interval,
		Publish:  []string{TypePIDF, TypeDiff},
	}
}

// Authorize implements event.Package. Everybody sees all of their own presence.
func (p *Package) Authorize(ctx context.Context, resource sip.AOR, w event.Watcher) (event.Verdict, error) {
	switch {
	case w.AOR == resource:
		return event.Verdict{Standing: event.Active, Rule: "own presence"}, nil
	case p.o.Rules == nil:
		return event.Verdict{Standing: event.Active, Rule: "no rules"}, nil
	}
	return p.o.Rules.Judge(ctx, resource, w.AOR)
}

// Start implements event.Source.
func (p *Package) Start(e event.Engine) {
	p.engine.Store(&e)
	if l, ok := p.o.Locations.(interface{ Observe(func(*registrar.Change)) }); ok {
		l.Observe(func(c *registrar.Change) {
			// A refresh changes nothing that is seen, and Compose is asked anyway when
			// the expiry that it saw has come.
			if len(c.Added) > 0 || len(c.Removed) > 0 {
				e.Changed(Name, c.AOR)
			}
		})
	}
	if h, ok := p.o.HardState.(interface{ Observe(func(sip.AOR)) }); ok {
		h.Observe(func(resource sip.AOR) {
			e.Changed(Name, resource)
			p.Published(context.Background(), resource)
		})
	}
	if r, ok := p.o.Rules.(interface{ Observe(func(sip.AOR)) }); ok {
		r.Observe(func(resource sip.AOR) { e.Rules(Name, resource) })
	}
}
