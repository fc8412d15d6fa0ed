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
// The attributes expires and duration-registered are right when a NOTIFY leaves. That
// time goes by is no change.
//
// Left out: display names, which the registrar does not keep.
package reginfo
