package event

import (
	"context"
	"time"

	"rollcall/sip"
)

// Package is one event package (RFC 6665 §5.4). Its methods may be called by many
// goroutines at once, for one resource by one at a time, and must not wait for a
// network other than the store's. Abilities are further interfaces that the same
// value may satisfy: Publishable, Partial, Filterable, Source. They are looked for
// once, when the package is registered.
type Package interface {
	// Spec returns what the package fixes. It is asked once.
	Spec() Spec

	// Authorize decides about a watcher before anything else happens for it. It is
	// asked at SUBSCRIBE and again whenever Source reports that rules changed. An
	// error refuses: a *sip.Error with its status, any other with 500.
	Authorize(ctx context.Context, resource sip.AOR, w Watcher) (Verdict, error)

	// Compose makes the state of a resource from what was published for it and
	// what the package knows otherwise, once for each change. Parsed of each
	// publication is what Parse returned. The result is never changed afterwards.
	Compose(ctx context.Context, resource sip.AOR, publications []Publication) (State, error)

	// Body writes the state as those see it who share the view. Watchers of the
	// same view get the same bytes, so it is asked once for each of them.
	Body(ctx context.Context, resource sip.AOR, s State, v View) (Body, error)
}

// Spec is what an event package fixes once (RFC 6665 §5.4.1 to §5.4.12).
type Spec struct {
	Name  string   // of the Event header, template suffix included: "presence.winfo"
	Types []string // bodies of NOTIFY, the default for who sends no Accept first (§5.4.3, §5.4.5)

	Default, Min, Max time.Duration // of subscriptions (§5.4.4)

	// Interval is the least time between NOTIFYs to one watcher that asks for no
	// rate of its own (§5.4.10). Zero: none.
	Interval time.Duration

	// Publish bodies that are taken (RFC 3903 §10.1); empty when nobody may publish.
	Publish []string
}

// Watcher is who subscribes.
type Watcher struct {
	AOR   sip.AOR // authenticated
	Event string  // value of the Event header as received, parameters included
}

// Standing is where a watcher stands (RFC 6665 §4.1.3, RFC 3857 §4.7.1).
type Standing uint8

const (
	Refused Standing = iota // 403, or terminated with reason rejected; nothing is learned
	Pending                 // kept until somebody decides; sees nothing
	Active                  // sees what Class allows
)

func (s Standing) String() string {
	switch s {
	case Pending:
		return "pending"
	case Active:
		return "active"
	}
	return "terminated"
}

// Verdict is what authorization says of a watcher.
type Verdict struct {
	Standing Standing

	// Class names what the watcher may see: watchers of one resource with equal
	// classes see the same. The package alone reads it, in View. It is "" for all.
	Class string

	// Rule says for an operator which rule decided.
	Rule string

	// Until is when the verdict may change by itself, as with a rule that is valid
	// for a time. Zero: never.
	Until time.Time
}

// View is all that a body depends on besides the state. It is comparable.
type View struct {
	Class  string // of the Verdict
	Type   string // one of Spec.Types
	Filter string // body of SUBSCRIBE that ParseFilter took, "" for none
	Params string // Event parameters that the package listed in Viewer, "" for none
}

// Body is what a NOTIFY carries. Its bytes are never changed.
type Body struct {
	Type  string // Content-Type, with parameters; "" and no bytes: a NOTIFY without body
	Bytes []byte

	// Version is the offset in Bytes of the digit 0 that stands for the number of
	// the document within the subscription, -1 for a document without one. The
	// engine writes the number there: 0 first, and one more in each NOTIFY.
	Version int

	// Times are the numbers of seconds that the engine writes when it sends the body,
	// in the order in which they stand. See Times.Body.
	Times []Time
}

// State is a composed state.
type State struct {
	Value any // the package's own

	// Until is when the state changes by itself, so that Compose must be asked
	// again: a timed status begins, a binding expires. Zero: never. Publications
	// that expire are the engine's care.
	Until time.Time
}

// Publication is one publisher's event state (RFC 3903).
type Publication struct {
	ID        string  // stable while it is refreshed and modified
	ETag      string  // of now
	Publisher sip.AOR // authenticated
	Device    string  // what tells the publisher's devices apart: Call-ID
	Source    string  // transport and address that it last came from; "" if through another proxy
	Type      string  // Content-Type, lower case, without parameters
	Body      []byte  // as published, decoded
	Parsed    any     // by Parse
	Created   time.Time
	Changed   time.Time
	Expires   time.Time
	Lost      bool // the connection it came over is gone: it ends soon, unless it is refreshed
}

// Publishable is the ability to take PUBLISH.
type Publishable interface {
	// MayPublish reports whether the account may publish for the resource, nil or
	// the answer. The engine asks it before anything else.
	MayPublish(ctx context.Context, publisher, resource sip.AOR) error

	// Parse reads a published body. Its error is for the publisher: it becomes 400
	// with the text as reason, or the *sip.Error itself. It is asked again for
	// what the store holds. Old is the publication that is modified, nil for a new
	// one: a partial document (RFC 5264) is applied to it, and full, if not nil,
	// is stored in its place under the type fullType.
	Parse(resource sip.AOR, typ string, body []byte, old *Publication) (parsed any, fullType string, full []byte, err error)

	// Replaces reports whether a new publication of the same publisher makes an
	// older one void: it tells of the same device, tuple or dialog. So a client
	// that races itself or has forgotten its entity-tag leaves no ghost.
	Replaces(next, old *Publication) bool
}

// Partial is the ability to send what changed (RFC 5263, RFC 4235 §4.1).
type Partial interface {
	// Full reports whether a body type is partial, and the type of its full form.
	Full(typ string) (full string, ok bool)
	// Diff writes next relative to prev, both full bodies of one view. False:
	// send next whole.
	Diff(prev, next Body, typ string) (Body, bool)
}

// Filterable is the ability to filter (RFC 4660, RFC 4661).
type Filterable interface {
	// ParseFilter checks a filter body of a SUBSCRIBE. The error is for the watcher:
	// a *sip.Error is the answer, any other becomes 400 with its text.
	ParseFilter(typ string, body []byte) error
	// Triggers reports whether the change from prev to next is one that the
	// filter's triggers want told (RFC 4661 §3.6). Both are bodies of the view
	// without the filter; prev is empty if nothing was told yet.
	Triggers(filter string, prev, next Body) bool
}

// MemberFilter is for a Filterable whose filters name what they apply to.
type MemberFilter interface {
	// ForMembers returns what a filter of a SUBSCRIBE to a list is for its members:
	// what names the list applies to each of them (RFC 4660 §4.1). Errors are as those
	// of ParseFilter.
	ForMembers(filter string, list sip.AOR) (string, error)
}

// Viewer is the ability to let bodies depend on parameters of the Event header.
type Viewer interface {
	// ViewParams returns the part of the Event value that matters, "" for none.
	ViewParams(event string) string
}

// Source is a package whose state or rules change without a PUBLISH.
type Source interface {
	// Start hands in the engine's ear. It is called once, before anything else but
	// Spec.
	Start(e Engine)
}

// Hearer is a package that wants to know of publications that nobody watches, too.
type Hearer interface {
	// Published tells that the publications of a resource changed. It may ask the store.
	Published(ctx context.Context, resource sip.AOR)
}

// Engine is what a package may ask of the engine. Its methods wait for nothing but the
// store.
type Engine interface {
	// Changed tells that the state of a resource may have changed.
	Changed(pkg string, resource sip.AOR)
	// Rules tells that authorization for a resource may have changed: every
	// watcher is judged again, and NOTIFYs go out. The zero AOR means all.
	Rules(pkg string, resource sip.AOR)
	// Watchers lists who subscribes to a resource at this server, ended ones for a
	// moment too, and those that ended before anybody decided about them for Settings.GiveUp.
	Watchers(pkg string, resource sip.AOR) []WatcherInfo
	// ObserveWatchers makes f be called when a subscription of the package comes,
	// goes or changes its standing. It must not block.
	ObserveWatchers(pkg string, f func(resource sip.AOR))
	// Publications lists what is published for a resource.
	Publications(ctx context.Context, pkg string, resource sip.AOR) ([]Publication, error)
}

// WatcherInfo is one subscription as watcher information tells it (RFC 3857 §4.7,
// RFC 3858 §4).
type WatcherInfo struct {
	ID       string // unique and stable
	AOR      sip.AOR
	Display  string
	Standing Standing // Refused: terminated, or waiting
	Waiting  bool     // it ended while pending and is remembered (RFC 3857 §4.7.1)
	Event    string   // what led to this status: subscribe, approved, deactivated, probation, rejected, timeout, giveup, noresource
	Since    time.Time
	Expires  time.Time
}
