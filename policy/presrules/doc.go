// Package presrules reads and carries out presence authorization rules (RFC 5025)
// over common policy (RFC 4745): who is allowed, blocked, politely blocked or has
// to wait, and what of a presence document the allowed see.
//
// A condition that is not known makes its rule match nobody, and a permission
// that is not known grants nothing: so a document of a later kind shows less,
// never more. All watchers here are authenticated by digest.
//
// Left out: of the conditions of OMA all but external-list and other-identity match
// nobody.
package presrules
