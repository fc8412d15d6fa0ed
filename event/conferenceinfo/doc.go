// Package conferenceinfo is the event package conference: who takes part in a
// conference (RFC 4575). A focus publishes it for the conference's address, whole or
// as what changed since its last publication. A watcher whose Accept names the type
// gets it whole first and then what changed, where that is shorter.
//
// Those who take part may watch, as RFC 4575 §3.5 recommends, and whom the rules
// let in. Who leaves is judged again with the next document: that one, which tells
// of the leaving, is the last.
//
// A conference that nobody publishes is told as deleted.
//
// Left out: ending subscriptions with the reason noresource
// when a conference ends (RFC 4575 §3.3), as participants are turned away then; and
// merging the documents of several foci: the latest counts.
package conferenceinfo
