// Package event is the event engine: the notifier of RFC 6665 and the event state
// compositor of RFC 3903, for every event package.
//
// What an event package must define (RFC 6665 §5.4) is the interface Package and
// the abilities beside it. The engine owns the rest: dialogs, expiry,
// authorization state, rate, retries, entity-tags and storage. A package says who
// may see a resource, what the state is, and what a published body means.
//
// All that happens to one resource goes through its one serial queue (resource.go).
// A change marks the resource; a worker composes its state once, makes one body
// for each view, and sends it to the watchers with that view. A watcher that has
// not answered the last NOTIFY gets the latest state when it has, so a storm of
// changes becomes few NOTIFYs and always the last state.
//
// Left out: conditions of SUBSCRIBE (RFC 5839) over a restart, after which the state is
// told once; a filter and a list in the body of one SUBSCRIBE.
package event
