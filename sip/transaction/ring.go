package transaction

import (
	"encoding/binary"
	"time"
)

// chunkBytes is the unit in which a ring grows and shrinks.
const chunkBytes = 64 << 10

// entryHead precedes an answer in a chunk: key, expiry in ms, length.
const entryHead = 8 + 8 + 4

// ring keeps answers in the order in which they were given, which is the order
// in which they expire, as all are kept equally long. It holds no pointers per
// answer, so millions cost the garbage collector nothing.
type ring struct {
	index table[uint64] // chunk number << 32 | offset
	first uint64        // number of chunks[0]; they count from 1
	chunk [][]byte
	head  int // offset of the oldest answer in chunks[0]
	free  [][]byte
	bytes int
	limit int
	base  time.Time // expiry is counted from here by the monotonic clock
}

func (r *ring) init(limit int, base time.Time) {
	r.base, r.first = base, 1
	r.limit = max(limit, 4*chunkBytes)
}

// put keeps an answer; it returns how many older ones had to leave for it.
func (r *ring) put(k Key, answer []byte, expires time.Time) (evicted int) {
	need := entryHead + len(answer)
	for r.bytes+need > r.limit && len(r.chunk) > 0 {
		r.pop()
		evicted++
	}
	if n := len(r.chunk); n == 0 || len(r.chunk[n-1])+need > cap(r.chunk[n-1]) {
		r.grow(need)
	}
	last := len(r.chunk) - 1
	c := r.chunk[last]
	at := len(c)
	c = binary.LittleEndian.AppendUint64(c, uint64(k))
	c = binary.LittleEndian.AppendUint64(c, uint64(expires.Sub(r.base).Milliseconds()))
	c = binary.LittleEndian.AppendUint32(c, uint32(len(answer)))
	r.chunk[last] = append(c, answer...)
	r.index.put(k, (r.first+uint64(last))<<32|uint64(at))
	r.bytes += need
	return evicted
}

func (r *ring) grow(need int) {
	var c []byte
	if n := len(r.free); n > 0 && need <= chunkBytes {
		c, r.free = r.free[n-1], r.free[:n-1]
	} else {
		c = make([]byte, 0, max(chunkBytes, need))
		populate(c)
	}
	r.chunk = append(r.chunk, c)
}

// get returns the answer kept under k; it is valid while the shard is locked.
func (r *ring) get(k Key) ([]byte, bool) {
	ref, ok := r.index.get(k)
	if !ok {
		return nil, false
	}
	c := r.chunk[ref>>32-r.first]
	at := int(ref & (1<<32 - 1))
	n := int(binary.LittleEndian.Uint32(c[at+16:]))
	return c[at+entryHead : at+entryHead+n], true
}

// expire drops the answers whose time is over.
func (r *ring) expire(now time.Time) {
	limit := uint64(now.Sub(r.base).Milliseconds())
	for len(r.chunk) > 0 && binary.LittleEndian.Uint64(r.chunk[0][r.head+8:]) <= limit {
		r.pop()
	}
}

// pop drops the oldest answer.
func (r *ring) pop() {
	c := r.chunk[0]
	k := Key(binary.LittleEndian.Uint64(c[r.head:]))
	n := entryHead + int(binary.LittleEndian.Uint32(c[r.head+16:]))
	if place, ok := r.index.get(k); ok && place == r.first<<32|uint64(r.head) {
		r.index.remove(k)
	}
	r.bytes -= n
	r.head += n
	if r.head < len(c) {
		return
	}
	if cap(c) == chunkBytes && len(r.free) < 4 {
		r.free = append(r.free, c[:0])
	}
	r.chunk[0] = nil
	r.chunk = r.chunk[1:]
	r.first++
	r.head = 0
}
