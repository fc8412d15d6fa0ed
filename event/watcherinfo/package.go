package watcherinfo

import (
	"context"
	"sync/atomic"
	"time"

	"rollcall/event"
	"rollcall/sip"
)

// Suffix makes the name of the package of that of the watched one (RFC 3857 §4.1).
const Suffix = ".winfo"

const (
	// Type is the body type (RFC 3858 §8.1).
	Type = "application/watcherinfo+xml"

	// Space is the namespace of documents (RFC 3858 §3).
	Space = "urn:ietf:params:xml:ns:watcherinfo"
)

// Package is the event package. It has no state but the engine's.
type Package struct {
	of     string
	engine atomic.Pointer[event.Engine]
}

var (
	_ event.Package = (*Package)(nil)
	_ event.Source  = (*Package)(nil)
)

// New returns the event package that tells of the watchers of another one, which
// the engine must have.
func New(of string) *Package { return &Package{of: of} }

// Spec implements event.Package: RFC 3857 §4.4 gives the duration. The five seconds
// between NOTIFYs that §4.10 recommends are left to the watcher (RFC 6446): the
// engine has one NOTIFY under way to it at a time, and drops what is out of date.
func (p *Package) Spec() event.Spec {
	return event.Spec{
		Name:    p.of + Suffix,
		Types:   []string{Type},
		Default: time.Hour,
		Min:     time.Minute,
		Max:     24 * time.Hour,
	}
}

// Start implements event.Source.
func (p *Package) Start(e event.Engine) {
	p.engine.Store(&e)
	e.ObserveWatchers(p.of, func(resource sip.AOR) { e.Changed(p.of+Suffix, resource) })
}

// Authorize implements event.Package: who watches is told to the account alone
// (RFC 3857 §4.6, §6.2).
func (p *Package) Authorize(_ context.Context, resource sip.AOR, w event.Watcher) (event.Verdict, error) {
	if w.AOR != resource {
		return event.Verdict{Standing: event.Refused, Rule: "watchers of another"}, nil
	}
	return event.Verdict{Standing: event.Active, Rule: "own watchers"}, nil
}

// Compose implements event.Package.
func (p *Package) Compose(_ context.Context, resource sip.AOR, _ []event.Publication) (event.State, error) {
	var watchers []event.WatcherInfo
	if e := p.engine.Load(); e != nil {
		watchers = (*e).Watchers(p.of, resource)
	}
	return event.State{Value: document(p.of, resource, watchers, time.Now())}, nil
}

// Body implements event.Package. All who may watch see the same.
func (p *Package) Body(_ context.Context, _ sip.AOR, s event.State, _ event.View) (event.Body, error) {
	b, _ := s.Value.(event.Body)
	return b, nil
}
