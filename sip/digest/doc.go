// Package digest is the Digest access authentication of SIP (RFC 3261 §22, with
// the algorithms of RFC 8760 and the rules of RFC 7616): the credentials and
// challenges on the wire, the hashes, and the nonces of a server.
//
// # Credentials
//
// ParseCredentials reads the value of an Authorization or Proxy-Authorization
// field without copying it. The algorithms are MD5, SHA-256 and SHA-512-256. The
// session variants ("-sess") and qop=auth-int are not offered and not accepted:
// RFC 8760 §2.6 wants qop=auth at least, and no client asks for more.
//
// Credentials without qop, as RFC 2069 had them, are computed too (RFC 7616
// does not have them any more, libpurple sends nothing else); the caller decides
// whether it takes them.
//
// # Nonces
//
// A nonce is made by Nonces and not remembered: it is a time, a counter and a
// MAC over both by a key that only this process has. It is bound to nothing
// else, so a client uses one for all methods, targets and flows. It lives an
// hour unless set otherwise: what protects from replay is not a short life but
// the nonce count, of which each value is taken once, so a life only decides how
// often a client that is awake must ask again.
//
// The counts that were seen are kept as a window of 64 behind the highest
// (requests overtake each other over UDP), in a table of fixed size without
// pointers. A nonce that was never seen needs no entry. When an entry must
// leave, its bucket remembers that it forgot nonces up to that one's birth, and
// any nonce as old that is not in the table is stale: the client gets a new one,
// and a replay is never accepted.
//
// # Cost
//
// Nothing here allocates for credentials of usual size, and the hashes are
// computed on the stack. Responses are compared in constant time.
package digest
