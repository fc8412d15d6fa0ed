// Package transaction runs the non-INVITE transactions of RFC 3261 §17.1.2 and
// §17.2.2 with the corrections of RFC 4320. DESIGN.md draws the machines.
//
// A finished server transaction is nothing but its answer, kept for Timer J in
// a ring of bytes without pointers: well under a kilobyte for each. A request
// that is seen again is answered from there and goes no further. Timers hang in
// one wheel for each shard; there is no goroutine and no runtime timer for a
// transaction.
//
// Left out: INVITE transactions, which come with the proxy.
package transaction
