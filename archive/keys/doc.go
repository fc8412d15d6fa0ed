// Package keys seals the content of records, each under a data key of its
// author and a month, so that destroying one key erases what one person wrote
// in one month, wherever copies of the ciphertext lie.
//
// A [Ring] is an archive.Sealer. Data keys are random, and lie wrapped by a
// [Master] in one file for each month; FORMAT.md in this folder states it. The
// master key of [File] lies in a file of keys_dir, and a key management system
// can stand in for it. Content is sealed with AES-256-GCM (NIST SP 800-38D);
// no nonce is used twice with a key, since record IDs are unique.
//
// Not here: who may destroy a key, and when. The archive's retention rules and
// holds say that.
package keys
