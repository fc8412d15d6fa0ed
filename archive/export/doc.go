// Package export writes messages of an archive for those who review or judge
// them elsewhere, in the formats that their tools load, with everything that
// proves them.
//
// An export is a folder. records-00001.jsonl and so on have each exported
// record with its leaf, its content and the hashes that lead to the root of
// checkpoint.txt. The other files have the same messages in the chosen format.
// manifest.json names every file with its SHA-256. seal.json has the record of
// the export itself, whose content is the SHA-256 of the manifest, with its
// proof: so nothing in the folder can be changed, added or left out, and
// [Verify] needs nothing else but a verifier key.
//
// The formats: JSON Lines, CSV, EML with a journal envelope, Actiance-style
// XML, Global-Relay-style EML, RSMF 2.0, EDRM XML 1.2. Their writers are in a
// file each. Not here: encryption and transport of exports.
package export
