// Package transport carries SIP messages: UDP, TCP and TLS (RFC 3261 §18), WebSocket (RFC 7118), symmetric
// responses (RFC 3581), keep-alives by CRLF and STUN (RFC 5626 §3.5, §4.4) and
// the limits that keep a stranger from growing anything.
//
// UDP is read in batches from several sockets that share one port
// (SO_REUSEPORT), so that the kernel spreads peers over processors. Writes to a
// socket gather while one goroutine is sending, and go out together.
//
// A Flow is the way to a peer, a comparable value: for UDP the pair of
// addresses, for a connection also its number, so that what was bound to it
// (bindings, subscriptions) ends with it.
package transport
