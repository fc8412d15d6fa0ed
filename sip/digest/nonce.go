package digest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// A nonce is 18 bytes in base64url: eight for its ID, ten of MAC.
const (
	nonceIDBytes  = 8
	nonceMACBytes = 10
	nonceBytes    = nonceIDBytes + nonceMACBytes
	nonceText     = nonceBytes * 4 / 3 // 24 characters, no padding
)

// NonceID names a nonce of this process: 42 bits of milliseconds since 1970, until
// the year 2109, and 22 bits of counter, so a later one is greater, and 4 million
// in one millisecond differ.
type NonceID uint64

const nonceCounterBits = 22

// NonceState is what a server thinks of a nonce.
type NonceState uint8

const (
	// NonceFresh may be used.
	NonceFresh NonceState = iota + 1
	// NonceStale was made by this process and is too old, or the counts that
	// were seen with it are forgotten.
	NonceStale
	// NonceReplayed was made by this process and its count was seen before, or is
	// so far behind the highest that it can't be told.
	NonceReplayed
	// NonceForeign was not made by this process: by another one, an earlier one,
	// or by the client.
	NonceForeign
)

// DefaultNonceLife is how long a nonce may be used.
const DefaultNonceLife = time.Hour

// LegacyNonceLife is how long a nonce may be used without nonce counts, as
// RFC 2069 had it: such a request can be replayed as long.
const LegacyNonceLife = time.Minute

// DefaultNonceCapacity is how many nonces with their counts are remembered.
const DefaultNonceCapacity = 1 << 19

// NoncesOptions set up Nonces. Zero values are good.
type NoncesOptions struct {
	// Key signs the nonces. Zero means a random one, as it should be: who shares it
	// accepts replays of what the other has accepted.
	Key [32]byte

	// Life is how long a nonce may be used. Zero means DefaultNonceLife.
	Life time.Duration

	// Capacity is how many nonces are remembered with their counts, 24 bytes each.
	// Above it the oldest become stale. Zero means DefaultNonceCapacity.
	Capacity int
}

// Nonces makes nonces and knows which counts were used with them. Its methods may
// be called by many goroutines.
type Nonces struct {
	key     [32]byte
	life    time.Duration
	start   time.Time
	counter atomic.Uint64
	counts  counts
}

// NewNonces returns a maker of nonces.
func NewNonces(o NoncesOptions) *Nonces {
	if o.Life <= 0 {
		o.Life = DefaultNonceLife
	}
	if o.Capacity <= 0 {
		o.Capacity = DefaultNonceCapacity
	}
	n := &Nonces{key: o.Key, life: o.Life, start: time.Now()}
	if n.key == ([32]byte{}) {
		_, _ = rand.Read(n.key[:]) // never fails (crypto/rand)
	}
	n.counts.init(o.Capacity)
	return n
}

// Life returns how long a nonce may be used.
func (n *Nonces) Life() time.Duration { return n.life }

// Append writes a new nonce behind dst: 24 characters of base64url.
func (n *Nonces) Append(dst []byte, now time.Time) []byte {
	count := n.counter.Add(1) & (1<<nonceCounterBits - 1)
	var b [nonceBytes]byte
	binary.BigEndian.PutUint64(b[:], uint64(n.at(now))<<nonceCounterBits|count)
	mac := n.mac(b[:nonceIDBytes])
	copy(b[nonceIDBytes:], mac[:])
	return base64.RawURLEncoding.AppendEncode(dst, b[:])
}

// mac is SHA-256 over the key and the ID, cut to 80 bits. The input has one length
// and fits one block, and what is cut off is needed to go on from there, so there
// is nothing to extend and HMAC would add nothing but time.
func (n *Nonces) mac(id []byte) (m [nonceMACBytes]byte) {
	var b [len(n.key) + nonceIDBytes]byte
	copy(b[:], n.key[:])
	copy(b[len(n.key):], id)
	h := sha256.Sum256(b[:])
	copy(m[:], h[:])
	return m
}

// Check tells whether a nonce was made here and is young enough. It does not look
// at counts: see Use. The ID is valid unless the state is NonceForeign.
func (n *Nonces) Check(nonce string, now time.Time) (NonceID, NonceState) {
	if len(nonce) != nonceText {
		return 0, NonceForeign
	}
	var text [nonceText]byte
	var b [nonceBytes]byte
	copy(text[:], nonce)
	// The decoder passes over line ends; then there are fewer bytes.
	if c, err := base64.RawURLEncoding.Decode(b[:], text[:]); err != nil || c != nonceBytes {
		return 0, NonceForeign
	}
	mac := n.mac(b[:nonceIDBytes])
	if subtle.ConstantTimeCompare(mac[:], b[nonceIDBytes:]) != 1 {
		return 0, NonceForeign
	}
	id := NonceID(binary.BigEndian.Uint64(b[:]))
	// One that seems to come from the future met a caller with an older now.
	if age := n.Age(id, now); age >= n.life || age < -n.life {
		return id, NonceStale
	}
	return id, NonceFresh
}

// Use takes the count of a nonce that Check found fresh, for credentials that are
// right: of many callers with the same count one gets NonceFresh.
func (n *Nonces) Use(id NonceID, count uint32) NonceState { return n.counts.use(id, count) }

// at is the time of nonces in milliseconds. It follows the monotonic clock from
// the start on: a step of the wall clock makes no nonce live longer, and no new
// one look older than what the table forgot.
func (n *Nonces) at(now time.Time) int64 { return n.start.Add(now.Sub(n.start)).UnixMilli() }

// Age returns how long ago the nonce was made.
func (n *Nonces) Age(id NonceID, now time.Time) time.Duration {
	return time.Duration(n.at(now)-int64(id>>nonceCounterBits)) * time.Millisecond
}
