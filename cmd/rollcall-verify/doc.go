// Command rollcall-verify checks an archive of rollcall, or a copy of one,
// with nothing else at hand: it is the verifier alone, for an examiner who
// reads and builds it.
//
//	rollcall-verify [--key KEY]… [--checkpoint FILE] FOLDER
//
// It prints every fault and ends with exit code 1 when there is one.
package main
