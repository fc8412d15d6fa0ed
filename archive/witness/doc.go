// Package witness shows the checkpoints of the record to places outside of the server:
// a file, an HTTP server (C2SP tlog-witness, or any that takes a POST), a syslog (RFC
// 5424). Whoever rewrites the archive, the keys at hand, can't rewrite these.
//
// Each witness has its own pace: it gets the newest checkpoint there is then, never a
// queue of them, and nothing waits for it.
//
// Left out: TLS to a syslog.
package witness
