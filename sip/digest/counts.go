package digest

import (
	"hash/maphash"
	"math/bits"
	"sync"
)

// window is how far a count may be behind the highest one of its nonce: requests
// overtake each other over UDP, but not by more.
const window = 64

const (
	bucketSlots = 8   // 192 bytes, three cache lines
	countShards = 256 // locks; a power of two
)

// counts remembers which counts were used with which nonce, in a table of fixed
// size: buckets of eight slots each. The nonces that a bucket holds are decided by
// a hash with a secret seed.
//
// Every nonce that the bucket has forgotten is at most as new as forgot, and one
// that is at most as new and has no slot is taken for forgotten.
type counts struct {
	seed    maphash.Seed
	mask    uint64
	buckets []bucket
	locks   [countShards]paddedMutex
}

type bucket struct {
	slots  [bucketSlots]slot
	forgot NonceID
}

// slot holds a nonce; ID 0 is a free one.
type slot struct {
	id      NonceID
	seen    uint64 // bit i: count highest-i was used
	highest uint32
}

type paddedMutex struct {
	sync.Mutex
	_ [56]byte // a cache line each
}

func (c *counts) init(capacity int) {
	n := max(uint64(capacity)/bucketSlots, countShards)
	n = 1 << bits.Len64(n-1)
	c.seed = maphash.MakeSeed()
	c.mask = n - 1
	c.buckets = make([]bucket, n)
}

// use takes a count of a nonce that has not expired.
func (c *counts) use(id NonceID, count uint32) NonceState {
	at := maphash.Comparable(c.seed, uint64(id)) & c.mask
	lock := &c.locks[at%countShards]
	lock.Lock()
	defer lock.Unlock()
	b := &c.buckets[at]
	leaves := &b.slots[0]
	for i := range b.slots {
		s := &b.slots[i]
		if s.id == id {
			return s.take(count)
		}
		if s.id < leaves.id {
			leaves = s
		}
	}
	if id <= b.forgot {
		return NonceStale
	}
	// The oldest leaves: a free slot if there is one, then those that expired. If
	// it is the new one itself, it is forgotten right after its only use.
	if leaves.id > id {
		b.forgot = id
		return NonceFresh
	}
	b.forgot = max(b.forgot, leaves.id)
	*leaves = slot{id: id, seen: 1, highest: count}
	return NonceFresh
}

// take marks a count as used if it was not.
func (s *slot) take(count uint32) NonceState {
	if count > s.highest {
		s.seen = s.seen<<(count-s.highest) | 1 // a shift by 64 and more gives 0
		s.highest = count
		return NonceFresh
	}
	behind := s.highest - count
	if behind >= window || s.seen&(1<<behind) != 0 {
		return NonceReplayed
	}
	s.seen |= 1 << behind
	return NonceFresh
}
