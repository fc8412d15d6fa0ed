// Package dialoginfo is the event package dialog: which calls an account is in, for
// the lamps of telephones and the words "on the phone" (RFC 4235).
//
// A telephone publishes the dialogs of its own account, a PBX those of any. They
// are put together into one document. A partial publication is applied to the one
// before it. A watcher whose Accept names the type gets the full state first and then
// the dialogs that changed, where that is shorter.
//
// The account itself sees everything. Another watcher sees a single dialog that
// says whether there is a call, as RFC 4235 §3.7.2 recommends, unless Options.Full
// says that it is one who may see with whom, like an attendant. Who may not see
// dialogs may not ask for one by its identifiers either, so nothing can be probed.
//
// A session description is shown only to who may see all and asks for it with
// include-session-description.
//
// A duration counts from when it was published, and is right when a NOTIFY leaves. That
// time goes by is no change. A dialog that was published without one, or has ended, has
// none.
//
// Left out: the rule of RFC 4235 §3.3 that a party of a dialog is not told of it.
package dialoginfo
