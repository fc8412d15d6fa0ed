package reginfo

import (
	"context"
	"fmt"
	"time"

	"rollcall/event"
	"rollcall/registrar"
	"rollcall/sip"
)

// Name of the event package and type of its bodies (RFC 3680 §4.1, §4.5).
const (
	Name = "reg"
	Type = "application/reginfo+xml"
)

// Locations tells who is registered. A *registrar.Registrar satisfies it.
type Locations interface {
	Lookup(ctx context.Context, aor sip.AOR) ([]registrar.Binding, error)
	Observe(f func(*registrar.Change))
}

var _ Locations = (*registrar.Registrar)(nil)

// Options are what a Package works with.
type Options struct {
	Locations Locations

	// GRUUs are told with the contacts that have them (RFC 5627 §5.5). Nil knows none.
	GRUUs *registrar.GRUUs

	// Watchers tells who may watch accounts besides themselves: application
	// servers. Nil: nobody.
	Watchers func(resource, watcher sip.AOR) bool
}

// Package is the event package.
type Package struct {
	o      Options
	memory memory
}

var (
	_ event.Package = (*Package)(nil)
	_ event.Source  = (*Package)(nil)
)

// New returns the event package.
func New(o Options) *Package { return &Package{o: o} }

// Spec implements event.Package: RFC 3680 §4.4 gives the duration. The rate of
// §4.10 is left to the engine, which has one NOTIFY under way to a watcher.
func (p *Package) Spec() event.Spec {
	return event.Spec{
		Name: Name, Types: []string{Type},
		Default: 3761 * time.Second, Min: time.Minute, Max: 24 * time.Hour,
	}
}

// Authorize implements event.Package (RFC 3680 §4.6).
func (p *Package) Authorize(_ context.Context, resource sip.AOR, w event.Watcher) (event.Verdict, error) {
	switch {
	case w.AOR == resource:
		return event.Verdict{Standing: event.Active, Rule: "own registration"}, nil
	case p.o.Watchers != nil && p.o.Watchers(resource, w.AOR):
		return event.Verdict{Standing: event.Active, Rule: "watchers of registrations"}, nil
	}
	return event.Verdict{Standing: event.Refused, Rule: "owner"}, nil
}

// Compose implements event.Package.
func (p *Package) Compose(ctx context.Context, resource sip.AOR, _ []event.Publication) (event.State, error) {
	live, err := p.o.Locations.Lookup(ctx, resource)
	if err != nil {
		return event.State{}, fmt.Errorf("look up bindings: %w", err)
	}
	r := registration{aor: resource, gruus: p.o.GRUUs, live: live, gone: p.memory.step(resource, live, time.Now())}
	s := event.State{Value: r}
	for i := range live {
		if e := live[i].Expires; s.Until.IsZero() || e.Before(s.Until) {
			s.Until = e
		}
	}
	return s, nil
}

// Body implements event.Package.
func (p *Package) Body(_ context.Context, _ sip.AOR, s event.State, _ event.View) (event.Body, error) {
	r := s.Value.(registration)
	return r.body(), nil
}

// Start implements event.Source. A refresh is told too (RFC 3680 §4.7.1).
func (p *Package) Start(e event.Engine) {
	p.o.Locations.Observe(func(c *registrar.Change) { e.Changed(Name, c.AOR) })
}
