// Package index finds records of an archive quickly: words, parties, units, groups, flags, outcomes and
// times, in the query language of package archive and with its results. It is a SQLite database with FTS5
// beside the archive, made from it alone: it may be removed at any time, and one that is damaged, of another
// version or of another archive is made again.
//
// An Index follows the journal by seq. The rows of a batch and the seq that they reach are one transaction,
// so a restart goes on where the last commit was. How far it is behind can be asked at any time.
//
// It has what was said in clear. So it lies outside the archive and its backups, with SQLite's secure_delete
// and FTS5's secure-delete, and what an erasure or a purge took out of the archive goes out of its files too:
// Forget and ForgetSegment when it happens, and the acts that the index reads in the record if the
// process ended in between.
//
// It leaves out ranking, parts of words and synonyms: a search of the record must find the same each time.
package index
