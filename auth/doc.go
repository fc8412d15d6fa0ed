// Package auth knows who is asking: the accounts, the digest authentication of
// requests (RFC 3261 §22, RFC 7616, RFC 8760; the hashes and nonces are package
// sip/digest), and the rule that nobody speaks in another's name.
//
// # Accounts
//
// A Directory keeps accounts in a store.Store. A password is never stored, only
// its hashes for the account's realm, which is the domain of its AOR; the user
// name is the AOR's user part as the AOR has it. Accounts come and go while the
// server runs, by a command or by another server on the same store.
//
// # Requests
//
// An Authenticator turns a request into an Identity or into the answer that the
// peer must hear:
//
//	no credentials for our realm, an unknown scheme, algorithm or qop   401 or 407
//	credentials that do not read as Digest                              400
//	wrong password, unknown user                                        401 or 407
//	the same too often, or anything from a source that guesses heavily    503 with Retry-After
//	right password, nonce too old or of another process, or count used  401 or 407, stale=true
//	right password, account disabled                                    403
//	right password, From (or To of REGISTER) is another account         403
//	the store is away                                                   503 with Retry-After
//
// An unknown user is computed against a secret that nobody has, and answered
// like a wrong password, in the same time. A disabled account shows as such only
// to who has its password.
//
// The form of credentials is RFC 3261's, and when Options allow it the one of
// RFC 2069 without qop, which libpurple sends. Without counts it can be replayed,
// so its nonce lives a minute (digest.LegacyNonceLife), and it is counted.
//
// The digest-uri is not compared with the Request-URI (§22.4 item 6 has a MAY, and
// clients and proxies between write it differently); it is under the hash, and so
// is the method. qop=auth-int is not offered, so a body is not under the hash: that
// is the transport's part.
//
// # In whose name
//
// From must be the authenticated account. An anonymous From (RFC 3323 §4.1.1.3)
// is accepted if P-Preferred-Identity (RFC 3325 §9.2) names the account; any
// P-Preferred-Identity must name it. In a REGISTER, To must be the account as
// well: a third party cannot register another (RFC 3261 §10.3 item 3).
//
// # Wrong passwords
//
// They are counted by source address (IPv6 by /64), and by source and account
// together, a minute long, in a table of fixed size. Tries without credentials and
// right passwords are not counted. A source above one of the thresholds gets 503
// with Retry-After for a wrong password instead of a new challenge, and nothing is
// held for it meanwhile. A right password is accepted also from such a source: an
// office is one address.
//
// A source that has sent ten times the threshold for one account gets one try a
// second at it, right or wrong, until its minute is over; the rest is answered
// 503 unseen. So a source has at most about 160 guesses a minute at an account.
// Who can forge the address of a user's own source over UDP can so make that user
// wait, at that source; a connection can't be forged.
//
// # Left out
//
// Other schemes than Digest, TLS client certificates, asserted identity between
// trusted servers (RFC 3325 §9.1), and what an account may do: that is policy.
package auth
