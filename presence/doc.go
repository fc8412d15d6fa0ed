// Package presence is the event package "presence" (RFC 3856): what a person is
// doing and where the person can be reached, told to those who may know it.
//
// It reads and writes PIDF (RFC 3863) with the data model (RFC 4479), RPID (RFC
// 4480), timed status (RFC 4481), CIPID (RFC 4482) and capabilities (RFC 5196).
// What it does not know of a document survives.
//
// # Composition
//
// Several publications become one document (RFC 3856 §6.11.1):
//
//   - Services: the tuples of all publications stand side by side. An id that is
//     taken already is changed. Open ones come first, as some clients read the
//     first tuple alone, then closed ones, then those without basic status. Within
//     these the older publication comes first.
//   - The contact of a tuple is the presentity's own address in place of a sip or
//     sips one: a watcher calls the person, not the device.
//   - Person: one, made of all. Of elements with the same name the one counts
//     whose person is newest, by its timestamp if that is not in the future of the
//     publication, else by when it was published. An element without content
//     counts only if nobody has one with content, and one that is not true now by
//     its "from" and "until" does not count.
//   - Devices: of those with the same deviceID the newest.
//   - Notes: a person without a note gets that of the first tuple that has one,
//     and the first tuple, if without, gets the person's: clients look in one
//     place only.
//   - A timed status that covers the present takes the place of the status (RFC
//     4481 §3).
//   - Registration is a hint: if no publication says open or closed, a registered
//     user is open, with a tuple for each binding (RFC 3856 §7.2) that has what the
//     device said it can do (RFC 5196 §3.2).
//   - Contact information (RFC 4482 §3) is of the person or of a tuple, wherever it was
//     published, and follows the precedence of that.
//   - Hard state (RFC 4827) is one more publication, older than all others. A tuple
//     of it gives way to a published one with its id, and it does not keep
//     registration from being a hint.
//   - There is always a tuple with basic status: closed, if nothing else is known.
//
// # Views
//
// A watcher with the class ClassOffline sees what it would see of somebody who
// never published. Other classes are transformed by the rules that gave them.
//
// # Partial documents and filters
//
// A watcher that takes application/pidf-diff+xml gets a pidf-full and then what
// changed (RFC 5263); a publisher may do the same (RFC 5264). A watcher may send a
// filter (RFC 4660, RFC 4661). It is applied after the rules, so that it can't ask
// for what the class does not see. A filter-set replaces the one before it as a
// whole.
//
// # Left out
//
// Validation against the schemas beyond what composition needs, and conversion of
// geographic locations, which pass as they are.
package presence
