package auth

import (
	"hash/maphash"
	"math/bits"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/sip"
)

const (
	failureWindow = time.Minute

	defaultWrongPerSource  = 60
	defaultWrongPerAccount = 10
	defaultSources         = 1 << 16

	failureSlots  = 4
	failureShards = 64

	// heavyFactor is how many times its threshold a source must have guessed at an
	// account within the window before its further tries are slowed to one a second.
	heavyFactor = 10
)

// failures counts wrong passwords by source, and by source and account, in a table
// of fixed size: a bucket that is full forgets a count that is over, else the
// lowest. Its keys are hashes with a secret seed.
type failures struct {
	perSource, perAccount int
	seed                  maphash.Seed
	start                 time.Time
	mask                  uint64
	buckets               [][failureSlots]failure
	locks                 [failureShards]sync.Mutex
	heavyTill             atomic.Uint32 // second until which some source may be slowed: nearly always over
}

// failure counts from a moment on, in seconds since the table's start, for a
// window.
type failure struct {
	key     uint64
	since   uint32
	count   uint32
	checked uint32 // the second in which a heavy guesser had its last try
}

func newFailures(perSource, perAccount, sources int) *failures {
	if perSource == 0 {
		perSource = defaultWrongPerSource
	}
	if perAccount == 0 {
		perAccount = defaultWrongPerAccount
	}
	if sources <= 0 {
		sources = defaultSources
	}
	n := max(uint64(sources)/failureSlots, failureShards)
	n = 1 << bits.Len64(n-1)
	return &failures{
		perSource: perSource, perAccount: perAccount,
		seed: maphash.MakeSeed(), start: time.Now(), mask: n - 1,
		buckets: make([][failureSlots]failure, n),
	}
}

// sourcePrefix is what counts as one source: an IPv4 address, or the /64 that one
// IPv6 host or home has.
func sourcePrefix(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	n := a.BitLen()
	if a.Is6() {
		n = 64
	}
	p, err := a.Prefix(n)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// failureVerdict is what a wrong password comes to.
type failureVerdict struct {
	wait  time.Duration // zero: below the thresholds
	count int
	first bool // this one passed a threshold
}

// add counts a wrong password. Whether the account exists makes no difference.
func (f *failures) add(source netip.Addr, username, realm string, now time.Time) failureVerdict {
	bySource, byAccount := f.keys(source, username, realm)
	return worse(f.count(bySource, f.perSource, now), f.count(byAccount, f.perAccount, now))
}

// keys of the counts for a source, and for a source and account.
func (f *failures) keys(source netip.Addr, username, realm string) (bySource, byAccount uint64) {
	bySource = maphash.Comparable(f.seed, sourcePrefix(source))
	var h maphash.Hash
	h.SetSeed(f.seed)
	maphash.WriteComparable(&h, bySource)
	_, _ = h.WriteString(username)
	_ = h.WriteByte('@')
	_, _ = h.WriteString(realm)
	return bySource, h.Sum64()
}

// mayTry reports whether credentials may be looked at. A source that has guessed
// heavily at an account gets one try a second, right or wrong; every other source,
// and every other account from this one, goes on as before.
func (f *failures) mayTry(source netip.Addr, username, realm string, now time.Time) bool {
	sec := f.second(now)
	if sec >= f.heavyTill.Load() || f.perAccount < 0 {
		return true
	}
	_, key := f.keys(source, username, realm)
	key |= 1
	at := key >> 1 & f.mask
	lock := &f.locks[at%failureShards]
	lock.Lock()
	defer lock.Unlock()
	for i := range f.buckets[at] {
		s := &f.buckets[at][i]
		if s.key != key || sec-s.since >= uint32(failureWindow/time.Second) || int(s.count) < heavyFactor*f.perAccount {
			continue
		}
		if s.checked == sec {
			return false
		}
		s.checked = sec
	}
	return true
}

func (f *failures) second(now time.Time) uint32 {
	return uint32(max(now.Sub(f.start)/time.Second, 0))
}

// worse joins what two counts came to.
func worse(a, b failureVerdict) failureVerdict {
	if b.wait > a.wait || b.first {
		b.first = a.first || b.first
		b.wait = max(a.wait, b.wait)
		return b
	}
	return a
}

func (f *failures) count(key uint64, most int, now time.Time) failureVerdict {
	if most < 0 {
		return failureVerdict{}
	}
	key |= 1 // 0 is a free slot
	at := key >> 1 & f.mask
	sec := f.second(now)
	lock := &f.locks[at%failureShards]
	lock.Lock()
	defer lock.Unlock()
	window := uint32(failureWindow / time.Second)
	b := &f.buckets[at]
	slot, least := &b[0], ^uint32(0)
	for i := range b {
		if b[i].key == key {
			slot = &b[i]
			break
		}
		weight := b[i].count
		if sec-b[i].since >= window {
			weight = 0
		}
		if weight < least {
			slot, least = &b[i], weight
		}
	}
	if slot.key != key || sec-slot.since >= window {
		*slot = failure{key: key, since: sec}
	}
	slot.count++
	n := int(slot.count)
	if n >= heavyFactor*most {
		f.heavyTill.Store(sec + window + 1)
	}
	if n <= most {
		return failureVerdict{count: n}
	}
	wait := max(window-(sec-slot.since), 1)
	return failureVerdict{wait: time.Duration(wait) * time.Second, count: n, first: n == most+1}
}

func retryAfter(d time.Duration) sip.Field {
	return sip.Field{Name: "Retry-After", Value: strconv.Itoa(int(d / time.Second))}
}
