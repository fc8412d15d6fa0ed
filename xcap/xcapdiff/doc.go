// Package xcapdiff makes the documents that tell a subscriber of changes to XCAP
// documents: what a subscription to the event package xcap-diff names (RFC 5875
// §4.4) and the bodies of its notifications (RFC 5874).
//
// A Request is the list of XCAP URIs in the body of a SUBSCRIBE: documents, elements
// and attributes in them, and collections. A Snapshot is what they give at a time
// to one reader. Full writes a snapshot as the first notification has it, and
// Changes what is different between two.
//
// Of the modes of RFC 5875 §4.3 it has no-patching and aggregate. Who asks for
// xcap-patching gets no-patching, the simpler one that §4.7 allows: the versions
// between two snapshots are not kept. A patch is sent only when it leads to exactly
// the new document; for any other change the subscriber fetches it.
//
// Package is the event package on top of them. Its resource is a user, who alone
// may subscribe. The snapshots that were sent last are kept to make patches from;
// after a restart, or when one was forgotten, a subscription gets its list whole,
// which does not tell of a document that went meanwhile.
//
// Left out: documents that others than the owner may read, as there are none, and
// global documents, which tell nothing of changes.
package xcapdiff
