// Package redistest starts real Redis servers for tests: the Debian package
// redis-server, on a private port of the loopback and in a directory of the
// test's own. It needs no Redis client.
package redistest
