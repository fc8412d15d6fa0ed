package archive

import (
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// TestTreeRoot compares the tree with that of tlog at all sizes around full tiles.
func TestTreeRoot(t *testing.T) {
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	tiles := 0
	tr := tree{full: func(level int, n int64, hashes []tlog.Hash) {
		tiles++
		for i := range hashes {
			index := tlog.StoredHashIndex(level*tileHeight, n*tileWidth+int64(i))
			if index < int64(len(stored)) && stored[index] != hashes[i] {
				t.Fatalf("tile %d of level %d, hash %d", n, level, i)
			}
		}
	}}
	for n := range int64(1<<16 + 600) {
		if n < 600 || n%997 == 0 || n > 1<<16-3 {
			want, err := tlog.TreeHash(n, read)
			if err != nil || tr.root() != want {
				t.Fatalf("size %d: %v", n, err)
			}
		}
		h := tlog.RecordHash([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
		more, err := tlog.StoredHashesForRecordHash(n, h, read)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
		tr.add(h)
	}
	if tiles != (1<<16+600)/tileWidth+1 {
		t.Errorf("%d tiles", tiles)
	}
}

// BenchmarkTree measures what a record costs the committer.
func BenchmarkTree(b *testing.B) {
	payload, err := message(1).AppendBinary(nil)
	if err != nil {
		b.Fatal(err)
	}
	p, err := splitPayload(payload)
	if err != nil {
		b.Fatal(err)
	}
	payload = appendLeaf(nil, payload, &p)
	payload[atForm] = formErased // the commitment is made before the committer has it
	var t tree
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		h, again, err := leafHash(buf, payload)
		if err != nil {
			b.Fatal(err)
		}
		buf = again
		t.add(h)
	}
}
