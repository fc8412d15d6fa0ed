package bench

import (
	"math/bits"
	"time"
)

const (
	subBits    = 6 // 64 buckets for each power of two: values are right to 1.6 %
	subBuckets = 1 << subBits
)

// histogram counts durations in buckets whose width grows with the value. The
// zero value is ready to use; it has one owner.
type histogram struct {
	buckets [(64 - subBits) * subBuckets]uint64
	count   uint64
	sum     time.Duration
	max     time.Duration
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucketOf(uint64(d))]++
	h.count++
	h.sum += d
	h.max = max(h.max, d)
}

// bucketOf maps values below 64 to themselves; above, the top seven bits name
// the bucket.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift*subBuckets + int(v>>shift)
}

// bucketTop is the largest value of a bucket.
func bucketTop(i int) uint64 {
	if i < 2*subBuckets {
		return uint64(i)
	}
	shift := i/subBuckets - 1
	return (uint64(i-shift*subBuckets)+1)<<shift - 1
}

// quantile returns the smallest duration that at least the share q of all
// counted ones do not exceed, rounded up to its bucket's end. Zero if nothing
// was counted.
func (h *histogram) quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	want := uint64(q * float64(h.count))
	if float64(want) < q*float64(h.count) {
		want++
	}
	want = max(want, 1)
	var seen uint64
	for i, n := range h.buckets {
		seen += n
		if seen >= want {
			return min(time.Duration(bucketTop(i)), h.max)
		}
	}
	return h.max
}

func (h *histogram) mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return h.sum / time.Duration(h.count)
}
