// Package watcherinfo is the event template-package "winfo" (RFC 3857): who watches
// a resource, told to the one whose resource it is. It goes over any event package,
// itself included.
//
// Documents are application/watcherinfo+xml (RFC 3858): the full state first and after
// each SUBSCRIBE, and then what changed, where that is shorter and Accept names the
// type. Who ended is no longer in a full document. The version counts the NOTIFYs of a
// subscription from 0.
//
// # Left out
//
// Watcher information for others than the account itself (§4.6), which would be their own
// subscription that they know from Subscription-State anyway, and groups of
// resources (§4.7).
package watcherinfo
