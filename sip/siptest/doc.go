// Package siptest helps tests of SIP elements: a network in memory that loses,
// delays and doubles packets, a user agent that follows a script, and a
// difference of two messages that a person can read.
//
// Everything runs on package time and in the goroutine bubble of the test, so a
// test under testing/synctest sees the timers of RFC 3261 §17 exactly and waits
// for none. Chance comes from a seed: a failure repeats.
//
// Left out: streams. A connection that breaks is tested on real sockets.
package siptest
