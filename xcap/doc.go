// Package xcap keeps the documents of users and serves them over HTTP: an XCAP 1.0
// server (RFC 4825) for contact lists (RFC 4826), presence rules (RFC 5025 over
// RFC 4745), permanent presence (RFC 4827), and the application usages of OMA that
// softphones use: its presence rules, icons, user profile and directory.
//
// Documents holds them in a store.Store and is the way of the other packages to
// them: Get, Put, Delete, Service and Lookup, and Observe for changes. Handler is
// the HTTP side, whose requests all carry digest credentials of an account. A user
// reads and writes documents of his own tree and no other; what is global may be
// read by every user and written by none.
//
// # What is checked
//
// A document is checked as a whole before any part of a change is seen, whether it
// came whole or as an element or attribute (RFC 4825 §8.2.5). The schema check is a
// content model in Go for each usage: elements, attributes, how many, in which
// order, and the values. It is no XSD engine: types such as xs:anyURI are checked
// for what would do harm, not in full. Elements of other namespaces pass where the
// schema lets them.
//
// The URI of a resource list service is unique among all users and names no account
// (RFC 4826 §4.4.5). It is claimed in the store before the document is written, so
// that two users can't both have it; a claim that was left by a crash is taken over
// a minute later.
//
// # Entity tags
//
// A tag is a hash of the document, the same for all of its nodes (RFC 4825 §8.5).
// Two documents of the same bytes have the same tag.
//
// # What a write keeps
//
// A document that is put is stored and given back as its bytes. When one of its
// nodes is changed it is written anew: what stood before and after the root element
// is replaced by one XML declaration, and references and CDATA sections become
// plain text.
//
// # Bounds
//
// The length of URIs, the bytes, depth and elements of a document, the documents of
// a user in a usage, and the cache of parsed documents. Documents are cold in the
// store: those that nobody reads cost no memory.
//
// # Left out
//
// Writing global documents, privileged users, request bodies that are compressed,
// extension selectors, and lists that a URI of another server names.
package xcap
