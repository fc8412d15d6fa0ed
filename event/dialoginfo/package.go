package dialoginfo

import (
	"context"
	"slices"
	"time"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xmltree"
)

// Name of the event package and type of its bodies (RFC 4235 §3.1, §3.5).
const (
	Name = "dialog"
	Type = "application/dialog-info+xml"
)

// The classes besides "", which sees all.
const (
	ClassOffline = "offline" // sees no dialogs, whatever is true
	ClassCall    = "call"    // sees whether there is a call
)

// Rules decide who may watch, the same that decide about presence. If its value has
// a method Observe(func(sip.AOR)), that is called once with what must be told whose
// rules changed, the zero AOR for all.
type Rules interface {
	// Judge returns the verdict. Of its Class only ClassOffline counts.
	Judge(ctx context.Context, resource, watcher sip.AOR) (event.Verdict, error)
}

// Options are what a Package works with. All may be left out.
type Options struct {
	// Rules decide about watchers. Nil: everybody sees whether there is a call.
	Rules Rules

	// Full tells which watchers, of those whom the rules let in, see the dialogs
	// themselves. Nil: the account alone.
	Full func(resource, watcher sip.AOR) bool

	// Publishers tells who may publish for others: a PBX.
	Publishers func(sip.AOR) bool
}

// Package is the event package. It has no state of its own.
type Package struct{ o Options }

var (
	_ event.Package     = (*Package)(nil)
	_ event.Publishable = (*Package)(nil)
	_ event.Viewer      = (*Package)(nil)
	_ event.Source      = (*Package)(nil)
)

// New returns the event package.
func New(o Options) *Package { return &Package{o} }

// Spec implements event.Package. An hour is the default of RFC 4235 §3.4; the rate
// of §3.10 is left to the engine, which has one NOTIFY at a time under way to a
// watcher: a lamp that is a second late is of no use.
func (p *Package) Spec() event.Spec {
	return event.Spec{
		Name: Name, Types: []string{Type}, Publish: []string{Type},
		Default: time.Hour, Min: time.Minute, Max: 24 * time.Hour,
	}
}

// Authorize implements event.Package.
func (p *Package) Authorize(ctx context.Context, resource sip.AOR, w event.Watcher) (event.Verdict, error) {
	v, err := p.judge(ctx, resource, w.AOR)
	if err != nil || v.Standing == event.Refused {
		return v, err
	}
	want, err := selectionOf(w.Event)
	if err != nil {
		return event.Verdict{}, sip.NewError(sip.StatusBadRequest, err.Error())
	}
	if v.Class != "" && want.named() { // RFC 4235 §3.7.2
		return event.Verdict{Standing: event.Refused, Rule: "dialogs are not shown"}, nil
	}
	return v, nil
}

func (p *Package) judge(ctx context.Context, resource, watcher sip.AOR) (event.Verdict, error) {
	if watcher == resource { // RFC 4235 §3.6
		return event.Verdict{Standing: event.Active, Rule: "own dialogs"}, nil
	}
	v := event.Verdict{Standing: event.Active, Rule: "no rules"}
	if p.o.Rules != nil {
		var err error
		if v, err = p.o.Rules.Judge(ctx, resource, watcher); err != nil {
			return event.Verdict{}, err
		}
	}
	switch {
	case v.Class == ClassOffline:
	case p.o.Full != nil && p.o.Full(resource, watcher):
		v.Class = ""
	default:
		v.Class = ClassCall
	}
	return v, nil
}

// ViewParams implements event.Viewer.
func (p *Package) ViewParams(event string) string {
	s, err := selectionOf(event)
	if err != nil {
		return ""
	}
	return s.String()
}

// MayPublish implements event.Publishable: everybody for themselves, a PBX for all.
func (p *Package) MayPublish(_ context.Context, publisher, resource sip.AOR) error {
	if publisher != resource && (p.o.Publishers == nil || !p.o.Publishers(publisher)) {
		return sip.NewError(sip.StatusForbidden, "Publish for yourself only")
	}
	return nil
}

// Parse implements event.Publishable. What it returns is a *Document of full state.
func (p *Package) Parse(resource sip.AOR, typ string, body []byte, old *event.Publication) (any, string, []byte, error) {
	if typ != Type {
		return nil, "", nil, sip.NewError(sip.StatusUnsupportedMedia, "", sip.Field{Name: "Accept", Value: Type})
	}
	d, err := ParseDocument(body)
	if err != nil || !d.partial {
		return d, "", nil, err
	}
	was := &Document{}
	if old != nil {
		if was, err = ParseDocument(old.Body); err != nil {
			return nil, "", nil, err
		}
		was = was.aged(max(time.Since(old.Changed), 0))
	}
	if d, err = d.apply(was); err != nil {
		return nil, "", nil, err
	}
	full := d.write(resource.String())
	if len(full) > MaxBytes {
		return nil, "", nil, sip.NewError(sip.StatusTooLarge, "")
	}
	return d, Type, full, nil
}

// Replaces implements event.Publishable: a new publication makes void an older one
// that tells of one of its dialogs, and one of the same device if either tells of
// none. A PBX has a publication for each call, so the device alone does not count.
func (p *Package) Replaces(next, old *event.Publication) bool {
	a, okA := next.Parsed.(*Document)
	b, okB := old.Parsed.(*Document)
	if next.Publisher != old.Publisher || !okA || !okB {
		return false
	}
	device := next.Device != "" && next.Device == old.Device
	if device && (len(a.Dialogs) == 0 || len(b.Dialogs) == 0) {
		return true
	}
	return slices.ContainsFunc(a.Dialogs, func(x *xmltree.Element) bool {
		return slices.ContainsFunc(b.Dialogs, func(y *xmltree.Element) bool { return same(x, y, device) })
	})
}

// Start implements event.Source.
func (p *Package) Start(e event.Engine) {
	if r, ok := p.o.Rules.(interface{ Observe(func(sip.AOR)) }); ok {
		r.Observe(func(resource sip.AOR) { e.Rules(Name, resource) })
	}
}
