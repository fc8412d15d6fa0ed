package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// tileFolder holds the full tiles of the tree. They are made from the records,
// and made again when they are missing.
const tileFolder = "tile"

const (
	tileBytes = tileWidth * tlog.HashSize
	// tilesInFile is how many tiles stand behind each other in a file: a file for
	// each of them would be a hundred files made in a second of high load.
	tilesInFile = 256
)

// tileName returns where a tile stands: tile/<level>/<file>, as C2SP tlog-tiles
// would name a tile with the number of the file, and the offset in it.
func tileName(level int, n int64) (name string, offset int64) {
	return tileFile(level, n/tilesInFile), n % tilesInFile * tileBytes
}

func tileFile(level int, file int64) string {
	// The number in groups of three digits, all but the last after an x.
	name := fmt.Sprintf("%03d", file%1000)
	for n := file / 1000; n > 0; n /= 1000 {
		name = fmt.Sprintf("x%03d/%s", n%1000, name)
	}
	return filepath.Join(tileFolder, fmt.Sprint(level), name)
}

// readTile returns a full tile, or fs.ErrNotExist. A tile that was only partly
// on the disk when the power went is not there: its end, or hashes in it, are missing.
func readTile(dir string, level int, n int64) ([]tlog.Hash, error) {
	name, offset := tileName(level, n)
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, tileBytes)
	if _, err := f.ReadAt(b, offset); errors.Is(err, io.EOF) {
		return nil, fs.ErrNotExist
	} else if err != nil {
		return nil, err
	}
	hashes := make([]tlog.Hash, tileWidth)
	for i := range hashes {
		copy(hashes[i][:], b[i*tlog.HashSize:])
		if hashes[i] == (tlog.Hash{}) {
			return nil, fs.ErrNotExist
		}
	}
	return hashes, nil
}

// tileWriter writes full tiles. It belongs to one goroutine.
type tileWriter struct {
	dir  string
	open map[int]tileOut // by level
	buf  []byte
}

type tileOut struct {
	name string
	f    *os.File
}

// write puts a full tile in its place. It is not made durable: it can be made again.
func (w *tileWriter) write(level int, n int64, hashes []tlog.Hash) error {
	name, offset := tileName(level, n)
	out := w.open[level]
	if out.name != name {
		path := filepath.Join(w.dir, name)
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
				f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
			}
		}
		if err != nil {
			return err
		}
		if out.f != nil {
			_ = out.f.Close() // nothing in it needs to be durable
		}
		if w.open == nil {
			w.open = map[int]tileOut{}
		}
		out = tileOut{name, f}
		w.open[level] = out
	}
	w.buf = w.buf[:0]
	for i := range hashes {
		w.buf = append(w.buf, hashes[i][:]...)
	}
	_, err := out.f.WriteAt(w.buf, offset)
	return err
}

func (w *tileWriter) close() {
	for _, out := range w.open {
		_ = out.f.Close()
	}
	w.open = nil
}

// tileFiles calls f for each file under tile/, with the level, the number
// that it should have by its name, and the bytes it has; level is -1 for any other name.
func tileFiles(dir string, f func(name string, level int, number, size int64)) error {
	root := filepath.Join(dir, tileFolder)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		level, n := -1, int64(0)
		var l int
		parts := strings.Split(filepath.ToSlash(name), "/")
		if _, err := fmt.Sscanf(parts[1], "%d", &l); err == nil && l >= 0 && l < 8 && len(parts) > 2 && len(parts) < 8 {
			for _, p := range parts[2:] {
				var k int64
				_, _ = fmt.Sscanf(strings.TrimPrefix(p, "x"), "%03d", &k)
				n = n*1000 + k
			}
			if tileFile(l, n) == name {
				level = l
			}
		}
		f(name, level, n, info.Size())
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// hashes gives the hashes of the tree over the first size records. It reads
// tiles where they are, and records where they are not. It belongs to one
// goroutine.
type hashes struct {
	a     Folder
	size  int64
	cache map[int64][]tlog.Hash // leaves, by the number of their tile
	nodes map[node]tlog.Hash    // hashes above the leaves
	upper map[node][]tlog.Hash  // tiles above the leaves, by their level and number; nil where there is none
	lost  bool                  // a full tile was not there
}

func (a Folder) hashes(size int64) *hashes {
	return &hashes{a: a, size: size, cache: make(map[int64][]tlog.Hash), nodes: make(map[node]tlog.Hash), upper: make(map[node][]tlog.Hash)}
}

// node is a place in the tree.
type node struct {
	level int
	n     int64
}

// maxNodes bounds the hashes above the leaves in memory, about 80 bytes each.
const maxNodes = 1 << 17

// ReadHashes implements tlog.HashReader.
func (h *hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		var err error
		if out[i], err = h.hash(level, n); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (h *hashes) hash(level int, n int64) (tlog.Hash, error) {
	if (n+1)<<level > h.size {
		return tlog.Hash{}, fmt.Errorf("the tree has no hash %d of level %d", n, level)
	}
	if level == 0 {
		leaves, err := h.leaves(n / tileWidth)
		if err != nil {
			return tlog.Hash{}, err
		}
		if int(n%tileWidth) >= len(leaves) {
			return tlog.Hash{}, fmt.Errorf("record %d is not there", n+1)
		}
		return leaves[n%tileWidth], nil
	}
	if found, ok := h.nodes[node{level, n}]; ok {
		return found, nil
	}
	if level%tileHeight == 0 {
		if tile := h.tile(level/tileHeight, n/tileWidth); tile != nil {
			return tile[n%tileWidth], nil
		}
	}
	left, err := h.hash(level-1, 2*n)
	if err != nil {
		return left, err
	}
	right, err := h.hash(level-1, 2*n+1)
	if err != nil {
		return right, err
	}
	parent := tlog.NodeHash(left, right)
	if len(h.nodes) >= maxNodes {
		clear(h.nodes)
	}
	h.nodes[node{level, n}] = parent
	return parent, nil
}

// maxCachedTiles bounds the tiles in memory, 8 KB each.
const maxCachedTiles = 256

// tile returns a tile above the leaves, or nil.
func (h *hashes) tile(level int, n int64) []tlog.Hash {
	at := node{level, n}
	tile, known := h.upper[at]
	if !known {
		if len(h.upper) >= maxCachedTiles {
			clear(h.upper)
		}
		tile, _ = readTile(h.a.Dir, level, n) // what can't be read is computed
		h.upper[at] = tile
	}
	return tile
}

// leaves returns the hashes of a tile of level 0, or fewer at the end.
func (h *hashes) leaves(n int64) ([]tlog.Hash, error) {
	if l, ok := h.cache[n]; ok {
		return l, nil
	}
	l, err := readTile(h.a.Dir, 0, n)
	if errors.Is(err, fs.ErrNotExist) {
		h.lost = h.lost || (n+1)*tileWidth <= h.size
		l, err = h.a.leafHashes(n*tileWidth, tileWidth)
	}
	if err != nil {
		return nil, err
	}
	if len(h.cache) >= maxCachedTiles {
		clear(h.cache)
	}
	h.cache[n] = l
	return l, nil
}

// leafHashes computes the leaves of up to count records behind the first of
// this many. One that is missing ends them.
func (a Folder) leafHashes(first int64, count int) ([]tlog.Hash, error) {
	r, err := Folder{Dir: a.Dir}.readerAt(uint64(first) + 1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []tlog.Hash
	var buf []byte
	for len(out) < count {
		f, _, err := r.next()
		var fault *Fault
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case errors.As(err, &fault):
			continue
		case err != nil:
			return nil, err
		}
		switch seq := int64(seqOf(f)); {
		case seq <= first:
			continue
		case seq != first+int64(len(out))+1:
			return out, nil
		}
		h, b, err := leafHash(buf, f[frameHead:])
		if err != nil {
			return out, nil
		}
		buf, out = b, append(out, h)
	}
	return out, nil
}

// loadTree returns the edge of the tree over the first size records, from
// tiles and records, and whether the tiles it needed were all there.
func (a Folder) loadTree(size int64) (t *tree, complete bool, err error) {
	h := a.hashes(size)
	t = &tree{size: size}
	for level := 0; size>>(tileHeight*level) > 0; level++ {
		count := size >> (tileHeight * level) // hashes of this level
		edge := make([]tlog.Hash, 0, tileWidth)
		for n := count - count%tileWidth; n < count; n++ {
			hash, err := h.hash(tileHeight*level, n)
			if err != nil {
				return nil, false, err
			}
			edge = append(edge, hash)
		}
		t.edge = append(t.edge, edge)
	}
	return t, !h.lost, nil
}

// rebuildTree computes the tree over all records from the records, and writes
// every tile. For a record that cannot be read it takes the hash of a tile
// that is there, so that damage changes no tree.
func (a Folder) rebuildTree(size int64) (*tree, error) {
	r, err := Folder{Dir: a.Dir}.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var failed error
	t := &tree{}
	out := tileWriter{dir: a.Dir}
	defer out.close()
	t.full = func(level int, n int64, hashes []tlog.Hash) {
		if err := out.write(level, n, hashes); err != nil && failed == nil {
			failed = err
		}
	}
	known := a.hashes(size)
	lost := func(to int64) {
		for t.size < to {
			h, err := known.hash(0, t.size)
			if err != nil {
				h = tlog.Hash{}
			}
			t.add(h)
		}
	}
	var buf []byte
	for t.size < size && failed == nil {
		f, _, err := r.next()
		var fault *Fault
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.As(err, &fault) {
			continue
		}
		if err != nil {
			return nil, err
		}
		seq := int64(seqOf(f))
		if seq <= t.size || seq > size {
			continue
		}
		h, b, err := leafHash(buf, f[frameHead:])
		if err != nil {
			continue
		}
		lost(seq - 1)
		buf = b
		t.add(h)
	}
	lost(size)
	t.full = nil
	return t, failed
}
