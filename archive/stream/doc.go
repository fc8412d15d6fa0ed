// Package stream is a journal on Redis Streams, for several servers that share a record.
// A record is durable when Redis has it, as durable as that is configured; one of the
// servers then seals all of them into segments and tree, in the folder of the record,
// which lies where every server reaches it.
//
// # Exactly once
//
// Records of a conversation are in one stream, in their order. One server holds a lease,
// with a number that grows with each holder; only who holds it may acknowledge or trim.
// All servers read under one name of the consumer group, so what a dead one had read and
// not acknowledged is what the next one reads first. An entry is acknowledged when its
// record is on the disk. A new holder looks which of the entries without acknowledgement
// are in the record already, by their IDs; and it can't open the folder before the old
// holder has let it go.
//
// # Content
//
// What was said is sealed in the stream under a key of the server and the hour, which
// each entry carries, wrapped by the master key. In the segment it is sealed under the
// key of its author, so an erasure takes it when the stream has been trimmed.
//
// Left out: a second copy on a local disk while Redis is away, and replication of a Redis
// cluster (WAIT belongs to one connection).
package stream
