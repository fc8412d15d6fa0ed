// Package reginfo is the event package reg: where an account is registered (RFC
// 3680), for its other devices and for applications that act on registrations.
//
// State comes from the registrar alone; nobody publishes it. A document tells the
// full state of one address of record, or what changed where that is shorter and the
// watcher's Accept names the type. A contact that has gone stands in it as
// terminated, with the event that ended it, until the next change. What a document
// told last is remembered for a bounded number of accounts; one that is forgotten,
// as after a restart, is told without what has gone.
//
// Only the account itself may watch, and whom Options.Watchers allows.
//
// A contact that goes before its time is told as unregistered, also if its
// connection broke or an administrator removed it: the registrar does not tell
// these apart. The events created, shortened, deactivated, probation and rejected
// do not occur.
//
// Left out: the attributes expires and duration-registered, which RFC 3680 §5.1 has
// optional: they differ at any time, so no document would equal the one before (RFC
// 5839); display names, which the registrar does not keep; and GRUUs.
package reginfo
