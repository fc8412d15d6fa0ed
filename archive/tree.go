package archive

import (
	"golang.org/x/mod/sumdb/tlog"
)

// tileWidth is the number of hashes in a full tile, of height 8.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// tree is the right edge of the Merkle tree over all records (RFC 6962 §2.1):
// what is needed to add a leaf and to compute the root.
type tree struct {
	size int64
	// edge has, for each level of tiles, the hashes of the tile that is being
	// filled: fewer than tileWidth.
	edge [][]tlog.Hash
	// full is given each tile when it is full. It may be nil, and keeps nothing.
	full func(level int, n int64, hashes []tlog.Hash)
}

// add appends a leaf.
func (t *tree) add(h tlog.Hash) {
	t.size++
	n := t.size
	for level := 0; ; level++ {
		if level == len(t.edge) {
			t.edge = append(t.edge, make([]tlog.Hash, 0, tileWidth))
		}
		t.edge[level] = append(t.edge[level], h)
		if len(t.edge[level]) < tileWidth {
			return
		}
		n /= tileWidth
		if t.full != nil {
			t.full(level, n-1, t.edge[level])
		}
		h = perfect(t.edge[level])
		t.edge[level] = t.edge[level][:0]
	}
}

// perfect returns the root of a tree whose leaves are a power of two of hashes.
func perfect(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	var buf [tileWidth / 2]tlog.Hash
	n := len(hashes) / 2
	for i := range n {
		buf[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
	}
	for ; n > 1; n /= 2 {
		for i := range n / 2 {
			buf[i] = tlog.NodeHash(buf[2*i], buf[2*i+1])
		}
	}
	return buf[0]
}

// root returns the hash of the tree. That of the empty tree is the hash of
// nothing (RFC 6962 §2.1).
func (t *tree) root() tlog.Hash {
	var root tlog.Hash
	some := false
	// From the smallest perfect tree on the right to the largest on the left.
	for _, hashes := range t.edge {
		for end := len(hashes); end > 0; {
			width := end & -end
			h := perfect(hashes[end-width : end])
			if some {
				h = tlog.NodeHash(h, root)
			}
			root, some = h, true
			end -= width
		}
	}
	if !some {
		return emptyRoot
	}
	return root
}

// emptyRoot is SHA-256 of the empty string.
var emptyRoot, _ = tlog.TreeHash(0, nil)

// leafHash returns the leaf of the record with the payload b; buf is used again.
func leafHash(buf, b []byte) (tlog.Hash, []byte, error) {
	p, err := splitPayload(b)
	if err != nil {
		return tlog.Hash{}, buf, err
	}
	buf = appendLeaf(buf[:0], b, &p)
	return tlog.RecordHash(buf), buf, nil
}
