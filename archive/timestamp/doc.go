// Package timestamp has an authority state when a checkpoint of the record was there (RFC
// 3161), and checks such statements later, with nothing but a certificate of the
// authority at hand.
//
// Left out: revocation of the authority's certificates, and renewal of stamps before
// their algorithms grow weak.
package timestamp
