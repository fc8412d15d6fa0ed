package transport

import (
	"hash/maphash"
	"net/netip"
)

// backlogChunk is the memory that a backlog grows by.
const backlogChunk = 128 << 10

// entryBytes counts against the limit for each datagram beside its own bytes.
const entryBytes = 64

// backlog is what a reader has set aside: datagrams in the order in which they
// came, each once. It belongs to the reader.
type backlog struct {
	limit int // bytes
	bytes int
	chunk []*laidAside
	spare *laidAside
	seed  maphash.Seed
	known map[uint64]struct{} // by a hash of bytes and source
}

// laidAside is one chunk; what is before next was served.
type laidAside struct {
	outBatch
	next int
	hash []uint64
}

func (q *backlog) init(limit int) {
	*q = backlog{limit: limit, seed: maphash.MakeSeed(), known: map[uint64]struct{}{}}
}

func (q *backlog) empty() bool { return len(q.chunk) == 0 }

// What became of a datagram that was to be set aside.
const (
	aside    = iota
	repeated // the same one from the same source waits: a retransmission (RFC 3261 §17.1.2.2)
	full
)

// put copies a datagram.
func (q *backlog) put(b []byte, remote netip.AddrPort) int {
	var h maphash.Hash
	h.SetSeed(q.seed)
	_, _ = h.Write(b) // never fails
	a := remote.Addr().As16()
	_, _ = h.Write(a[:])
	_, _ = h.Write([]byte{byte(remote.Port()), byte(remote.Port() >> 8)})
	key := h.Sum64()
	if _, ok := q.known[key]; ok {
		return repeated
	}
	size := len(b) + entryBytes
	if q.bytes+size > q.limit {
		return full
	}
	n := len(q.chunk)
	if n == 0 || len(q.chunk[n-1].buf)+len(b) > cap(q.chunk[n-1].buf) {
		c := q.spare
		if q.spare = nil; c == nil {
			c = &laidAside{outBatch: outBatch{buf: make([]byte, 0, backlogChunk)}}
		}
		q.chunk = append(q.chunk, c)
		n++
	}
	c := q.chunk[n-1]
	from := len(c.buf)
	c.buf = append(c.buf, b...)
	c.msgs = append(c.msgs, outMsg{from, len(c.buf), remote})
	c.hash = append(c.hash, key)
	q.known[key] = struct{}{}
	q.bytes += size
	return aside
}

// take calls f with the oldest datagrams, n at most; their bytes are gone when
// done is called after the last.
func (q *backlog) take(n int, f func(b []byte, remote netip.AddrPort), done func()) {
	if q.empty() {
		return
	}
	c := q.chunk[0]
	for ; n > 0 && c.next < len(c.msgs); n-- {
		m := c.msgs[c.next]
		delete(q.known, c.hash[c.next])
		q.bytes -= m.to - m.from + entryBytes
		c.next++
		f(c.buf[m.from:m.to:m.to], m.remote)
	}
	done()
	if c.next < len(c.msgs) {
		return
	}
	c.buf, c.msgs, c.hash, c.next = c.buf[:0], c.msgs[:0], c.hash[:0], 0
	q.spare, q.chunk[0] = c, nil
	if q.chunk = q.chunk[1:]; len(q.chunk) == 0 {
		q.chunk, q.known = nil, map[uint64]struct{}{} // a map that was large stays large
	}
}
