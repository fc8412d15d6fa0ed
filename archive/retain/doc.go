// Package retain says how long the content of records is kept, and takes it
// out of the archive when its time is over.
//
// A [Class] keeps content for a time from when it was archived; a [Hold] keeps
// what it covers whatever the classes say. A [Keeper] purges compressed
// segments, erases what a person wrote by destroying keys, and refuses with a
// reason while a class or a hold stands against it. Releasing a hold takes two
// people. Each act is a record before it takes effect, a refusal too.
// Envelopes and commitments are never removed.
//
// Not here: content of acts and outcomes, which is kept for ever.
package retain
