// Package sip reads and writes SIP messages (RFC 3261 §7, §19, §20, §25).
//
// A Message is a view over the bytes that were received: parsing finds where
// things are and copies nothing. Values are handed out as strings that share
// memory with the message, so they live as long as its buffer does; whoever
// keeps one beyond that clones it (Message.Clone, strings.Clone). Forwarding
// writes the original bytes with the few lines that a proxy must touch spliced
// in (RFC 3261 §16.6), so nothing is lost by being parsed.
//
// Parsing is strict where RFC 4475 says so and tolerant where it says so; the
// verdict for each of its messages is a test of this package. A message that
// can be answered but not served carries its fault: Check returns a *Error with
// the status that the peer must hear.
//
// What this package does not do: transports, transactions and dialogs (its
// subpackages), message bodies beyond their extent, and any decision that needs
// to know who is asking.
package sip
