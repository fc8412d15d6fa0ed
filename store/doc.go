// Package store is the contract for everything the server keeps outside the
// compliance record: accounts, documents, queued messages, bindings,
// publications and subscriptions.
//
// All of them have one shape: an owner, some items that may expire, and a
// version that moves with each change. There is no SIP in this package, and
// the SIP code never learns which implementation it runs on.
//
// Package store/embedded keeps the state of one server in memory with an image
// on disk, package store/redis keeps it in Redis for several servers. Package
// store/storetest says what is correct, and both pass it.
//
// Left out: transactions over more than one owner, queries by value, and any
// promise about the order of changes of different owners.
package store
