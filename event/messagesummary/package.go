package messagesummary

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"rollcall/event"
	"rollcall/sip"
)

// Name of the event package and type of its bodies (RFC 3842 §3.1, §3.5).
const (
	Name = "message-summary"
	Type = "application/simple-message-summary"
)

// Queue keeps messages for accounts whose devices are away. If its value has a
// method Observe(func(sip.AOR)), that is called once with what must be told whose
// number changed; it must not block.
type Queue interface {
	// Waiting returns how many messages wait for the account.
	Waiting(ctx context.Context, aor sip.AOR) (int, error)
}

// Options are what a Package works with. All may be left out.
type Options struct {
	// Queue is counted as new messages of the class pager-message.
	Queue Queue

	// Publishers tells who may publish for others: the voicemail servers.
	Publishers func(sip.AOR) bool
}

// Package is the event package. It has no state of its own.
type Package struct{ o Options }

var (
	_ event.Package     = (*Package)(nil)
	_ event.Publishable = (*Package)(nil)
	_ event.Source      = (*Package)(nil)
)

// New returns the event package.
func New(o Options) *Package { return &Package{o} }

// Spec implements event.Package. RFC 3842 §3.4 lets subscriptions last hours or
// days; §3.11 has a second between NOTIFYs.
func (p *Package) Spec() event.Spec {
	return event.Spec{
		Name: Name, Types: []string{Type}, Publish: []string{Type},
		Default: time.Hour, Min: time.Minute, Max: 24 * time.Hour, Interval: time.Second,
	}
}

// Authorize implements event.Package: the messages are the account's own.
func (p *Package) Authorize(_ context.Context, resource sip.AOR, w event.Watcher) (event.Verdict, error) {
	if w.AOR != resource {
		return event.Verdict{Standing: event.Refused, Rule: "owner"}, nil
	}
	return event.Verdict{Standing: event.Active, Rule: "owner"}, nil
}

// Compose implements event.Package: numbers are added, and anything that waits
// anywhere waits (RFC 3842 §3.10).
func (p *Package) Compose(ctx context.Context, resource sip.AOR, publications []event.Publication) (event.State, error) {
	sum := &Summary{}
	list := slices.SortedFunc(slices.Values(publications), func(a, b event.Publication) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	for _, pub := range list {
		if s, ok := pub.Parsed.(*Summary); ok {
			sum.add(s)
		}
	}
	if p.o.Queue != nil {
		n, err := p.o.Queue.Waiting(ctx, resource)
		if err != nil {
			return event.State{}, fmt.Errorf("count waiting messages of %s: %w", resource, err)
		}
		if n > 0 {
			sum.add(&Summary{Waiting: true, Counts: []Count{{Class: "pager-message", New: uint32(min(n, math.MaxUint32))}}})
		}
	}
	return event.State{Value: sum}, nil
}

// Body implements event.Package.
func (p *Package) Body(_ context.Context, _ sip.AOR, s event.State, _ event.View) (event.Body, error) {
	return event.Body{Type: Type, Bytes: s.Value.(*Summary).Append(nil), Version: -1}, nil
}

// MayPublish implements event.Publishable.
func (p *Package) MayPublish(_ context.Context, publisher, _ sip.AOR) error {
	if p.o.Publishers == nil || !p.o.Publishers(publisher) {
		return sip.NewError(sip.StatusForbidden, "Message summaries come from voicemail servers")
	}
	return nil
}

// Parse implements event.Publishable. What it returns is a *Summary.
func (p *Package) Parse(_ sip.AOR, typ string, body []byte, _ *event.Publication) (any, string, []byte, error) {
	if typ != Type {
		return nil, "", nil, sip.NewError(sip.StatusUnsupportedMedia, "", sip.Field{Name: "Accept", Value: Type})
	}
	s, err := ParseSummary(body)
	if err != nil {
		return nil, "", nil, err
	}
	return s, "", nil, nil
}

// Replaces implements event.Publishable: a publisher has one summary of an account.
func (p *Package) Replaces(next, old *event.Publication) bool {
	return next.Publisher == old.Publisher
}

// Start implements event.Source.
func (p *Package) Start(e event.Engine) {
	if q, ok := p.o.Queue.(interface{ Observe(func(sip.AOR)) }); ok {
		q.Observe(func(aor sip.AOR) { e.Changed(Name, aor) })
	}
}
