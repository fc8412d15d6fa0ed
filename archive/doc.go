// Package archive keeps the record of what was said: a journal of
// append-only segment files, and the readers that search and verify them.
//
// A [Journal] writes. Append returns a [Receipt] when the record is on stable
// storage, and many callers share one fsync. Note writes an outcome in order
// without waiting for the disk. A record is never changed; what becomes of a
// message is a second record that cites the first.
//
// The readers ([Scan], [Reader], [Find], [Search], [Verify], [Stats]) need
// only the files, and work beside a running server. FORMAT.md states the
// format of the files, precise enough to write another reader. The package
// uses the standard library, golang.org/x/mod/sumdb and one Zstandard reader, so that
// an auditor can build the verifier.
//
// The records hold what RFC 3428 requests carry; nothing here parses SIP but
// the empty line between headers and body (RFC 3261 §7).
//
// A record is an envelope and a content: the request, and what tells where its
// author was. A [Sealer] seals the content; the package keys is one. What
// proves the record is made of the envelope and a salted commitment to the
// content, so that it holds whether the content is there or not. Finished
// segments are written again in compressed form by [Folder.Compact], which can
// leave contents out; the record states what file it made.
//
// A Merkle tree is over all records (RFC 6962), and signed checkpoints state it
// ([Checkpoint], C2SP tlog-checkpoint). [Folder.VerifyWith] recomputes it;
// [Prover] proves a record, or that an older tree is the beginning of this one.
//
// Not here: retention, holds, and an index.
package archive
