package archive

import (
	"crypto/rand"
	"sync"
)

// scratchFrames are the frames that are made ready for a batch.
var scratchFrames = sync.Pool{New: func() any { return new([]byte) }}

// salts come from the system in blocks, so that most calls only copy.
var salts = sync.Pool{New: func() any { return new(saltBlock) }}

type saltBlock struct {
	bytes [4096]byte
	at    int // salts before this index are used up; 0 means all are
}

// newSalt takes random bytes that nobody else was given.
func newSalt(to *[16]byte) {
	s := salts.Get().(*saltBlock)
	if s.at == 0 {
		_, _ = rand.Read(s.bytes[:]) // crypto/rand.Read never returns an error
	}
	copy(to[:], s.bytes[s.at:])
	s.at = (s.at + len(to)) % len(s.bytes)
	salts.Put(s)
}
