// Package rfc knows which RFCs and which sections of them exist, so that a
// citation in a comment can be checked, and which code cites which section, so
// that docs/conformance.md can be made from the source.
//
// The index is sections.txt: numbers and titles only, no RFC text. `go run
// ./rfc/extract rfc3261.txt …` adds documents to it from their plain text, `go
// run ./rfc/conformance` writes the table.
//
// Left out: errata, and which RFC obsoletes which. A citation of an obsoleted
// document passes; the reader of docs/conformance.md sees it there.
package rfc
