// Package eventtest is the suite that every event package passes: what can be said
// of an event.Package without an engine (RFC 6665 §5.4, RFC 3903).
//
// Left out: what the engine does for all packages, such as dialogs, rates and the
// numbers of documents.
package eventtest
