// Command compare measures rollcall beside Kamailio on this machine: the same
// load on both servers in one run, one after the other and back again, so that
// what the machine does besides falls on both. The figure that counts is the
// server's CPU time for each successful operation; requests per second drift
// on a shared machine, the ratio does not much.
//
// Kamailio is Debian's package with the settings that serve it best on two
// cores (kamailio.go has them, and docs/performance.md says why). rollcall is
// built from this source tree and recorded messages are durable before they
// are relayed; Kamailio records nothing.
//
// Servers listen on loopback, on free ports, with their data under .bench/,
// which must lie on a real disk: on a memory file system an fsync costs
// nothing.
//
// Left out: TLS, more than one node, other machines.
package main
