// Package presence is the event package "presence": what a person is doing and
// where the person can be reached, told to those who may know it.
//
// It is the place of PIDF (RFC 3863), the data model (RFC 4479) and its rich
// extensions (RFC 4480, 4481, 4482, 5196), the composition of several
// publications into one document (RFC 3856), authorization rules (RFC 5025 over
// RFC 4745) and partial documents (RFC 5262, 5263, 5264).
//
// Nothing of that is here yet.
package presence
