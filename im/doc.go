// Package im relays MESSAGE requests (RFC 3428). message.go holds the one path
// that all of them take: authenticated, judged by policy, durably recorded, and
// only then sent on. No MESSAGE leaves before its record is durable; sendTo in
// deliver.go is the one place where one leaves, and it refuses to without the
// journal's receipt.
//
// A message for an account goes to every device that takes MESSAGE. When none
// takes it, it is kept (offline.go) and delivered in order when a device
// registers; the first device that takes it ends its wait. What comes for the one
// device of an account while stored messages are on their way to it queues behind
// them; with several devices it goes to all at once, and may overtake. The branch of what
// is sent is a keyed hash of the request and the device, so a repeat after a
// crash is a retransmission to the device (RFC 3261 §16.11).
//
// is-composing indications (RFC 3994) pass and are recorded without their body;
// they are never kept for later. Bodies are never touched.
//
// Left out: server-made delivery notifications (RFC 5438), URI lists (RFC 5365),
// groups, and requests from foreign domains.
package im
