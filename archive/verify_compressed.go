package archive

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// verifyCompressed checks that each compressed segment is the file that the
// record says it is. Of those that a server makes while the archive is read the
// statements may not have been read: numbers are those that were there before.
func (a Folder) verifyCompressed(rep *Report, numbers []uint64, stated map[uint64][]string) error {
	for _, n := range numbers {
		name := CompressedName(n)
		sums := stated[n]
		if len(sums) == 0 {
			rep.fault(&Fault{File: name, Reason: "no record states this compressed segment"})
			continue
		}
		got, err := fileSum(compressedPath(a.Dir, n))
		if err != nil {
			return err
		}
		last := sums[len(sums)-1]
		if hex.EncodeToString(got) == last {
			continue
		}
		// A server that stopped between the statement and the rename leaves
		// the stated file beside the one before it.
		waits, err := fileSum(filepath.Join(a.Dir, strings.TrimSuffix(name, compressedExt)+newExt))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil || hex.EncodeToString(waits) != last || !slices.Contains(sums, hex.EncodeToString(got)) {
			rep.fault(&Fault{File: name, Reason: "not the file that the record states: SHA-256 is " + hex.EncodeToString(got) + ", stated was " + last})
		}
	}
	return nil
}
