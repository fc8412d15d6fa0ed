// Package bench loads a SIP server and measures what it costs.
//
// It speaks to any server that takes REGISTER, MESSAGE, or SUBSCRIBE and
// PUBLISH for presence, with digest authentication (RFC 3261 §10 and §22, RFC
// 3428, RFC 3856, RFC 3903, RFC 7616, RFC 8760) over UDP or TCP. It holds no SIP stack: requests are put together from prepared
// pieces, answers are matched by a number in the Via branch, packets go
// through recvmmsg and sendmmsg where the system has them, and one thread does
// it all. So an exchange costs the generator about two microseconds, and what
// is measured is the server.
//
// [Register], [Message] and [Presence] run a load and return a [Report]. The
// load is a closed loop (Window operations under way at any moment) or an open
// one (Rate operations a second, latency counted from the moment each was due,
// so a server that stalls cannot hide the requests that would have come).
//
// An operation is what a user would call one: a REGISTER or MESSAGE with all
// the challenges it took, a PUBLISH with the NOTIFYs that follow it. Over UDP
// a request is repeated by Timer E and given up by Timer F (RFC 3261
// §17.1.2.1).
//
// Left out: TLS and WebSocket, Record-Route, RFC 3263 lookups (the server is an
// address), folded header lines and Authentication-Info in answers, the -sess
// variants and auth-int of digest, connections opened again after the server
// closed them (the run ends with an error).
package bench
