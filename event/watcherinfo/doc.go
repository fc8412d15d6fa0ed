// Package watcherinfo is the event template-package "winfo" (RFC 3857): who watches
// a resource, told to the one whose resource it is. It goes over any event package,
// itself included.
//
// Documents are application/watcherinfo+xml (RFC 3858), always of full state: one
// that is lost or overtaken does no harm, and who ended is no longer in them. The
// version counts the NOTIFYs of a subscription from 0.
//
// # Left out
//
// Partial documents (RFC 3857 §4.3 leaves the policy to the server), watcher
// information for others than the account itself (§4.6), which would be their own
// subscription that they know from Subscription-State anyway, and groups of
// resources (§4.7).
package watcherinfo
