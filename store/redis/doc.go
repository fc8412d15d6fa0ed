// Package redis is the store of several servers that share a Redis, version 7 or
// later: one alone, one behind sentinels, or a cluster.
//
// An owner is one hash, and each Apply is one script that runs on it alone.
// Commands of many goroutines travel in common pipelines. docs/store.md draws
// the keys.
//
// How durable a change is when Apply returns is what the Redis is configured
// for: with appendfsync always it is on its disk, with everysec up to a second
// may be lost with the machine. Left out: reading from replicas, and waiting for
// them.
package redis
