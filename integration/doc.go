// Package integration tests rollcall from outside: the built binary as a
// process, real sockets, a real Redis, and SIP clients that other people wrote.
// Nothing here looks inside the server; what a test needs to know it asks by
// SIP, by HTTP or on the command line.
//
// The clients are sipp, baresip, liblinphone and libpurple from Debian, driven
// without a window or a sound device, and a raw client of this package for what
// no well-behaved client does: retransmissions across a crash, thousands of idle
// connections, bytes that come one at a time. A missing program fails a test,
// it does not skip it; `make test` installs them.
//
// ROLLCALL_NIGHTLY=N makes the crash test kill the server N times instead of 3.
package integration
