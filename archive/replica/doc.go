// Package replica keeps a second copy of the record in an S3-compatible store whose
// objects can't be changed or removed for a time (object lock, compliance mode): the
// compressed segments, and checkpoints.
//
// Segments that are not compressed yet are not copied, and neither are tiles, which are
// computed from the records. A segment that a purge wrote anew becomes a further version
// of its object; the older one keeps content in sealed form, whose keys are destroyed.
package replica
