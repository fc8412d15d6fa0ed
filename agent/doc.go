// Package agent is a small SIP user agent: it sends one instant message, publishes
// presence, or registers and shows what arrives and how the presence of others
// changes. `rollcall send`, `publish` and `watch` are built on it.
//
// It stands on github.com/emiago/sipgo and shares no SIP code with the server,
// so that a fault in the server's own SIP core cannot hide behind itself.
//
// What it follows: MESSAGE (RFC 3428), REGISTER with +sip.instance (RFC 3261
// §10.2, RFC 5626 §4.1), digest access authentication with SHA-256 before MD5
// (RFC 7616, RFC 8760), the initial PUBLISH (RFC 3903 §4.2), the subscriber's side
// of presence (RFC 6665 §4.1, RFC 3856), PIDF with RPID activities and notes (RFC
// 3863, RFC 4479, RFC 4480), message/cpim (RFC 3862), composing notices (RFC 3994)
// and disposition notices (RFC 5438).
//
// What it leaves out: TLS and WebSocket, the outbound flows of RFC 5626
// (reg-id), calls, groups, lists of presentities (RFC 4662), more than one notifier
// for a SUBSCRIBE that forks (the first counts), refreshing what was published, and
// sending composing or disposition notices. A message of any content type is accepted, and shown as far as it is
// text.
package agent
