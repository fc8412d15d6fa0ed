package event

import (
	"container/heap"
	"sync"
	"time"
)

// clockTick is how exactly expiries and rates are kept.
const clockTick = 50 * time.Millisecond

// clock knows when each resource has something due. A resource stands in it once at
// most, and not when it is out of the table. mu guards the fields next and place of
// the resources too.
type clock struct {
	mu   sync.Mutex
	heap byTime
}

type byTime []*resource

func (b byTime) Len() int           { return len(b) }
func (b byTime) Less(i, j int) bool { return b[i].next.Before(b[j].next) }
func (b byTime) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].place, b[j].place = i+1, j+1
}
func (b *byTime) Push(x any) {
	r := x.(*resource)
	*b = append(*b, r)
	r.place = len(*b)
}
func (b *byTime) Pop() any {
	old := *b
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*b, r.place = old[:len(old)-1], 0
	return r
}

// set has the resource woken at that time; never, if it is zero. The resource's
// lock is held.
func (c *clock) set(r *resource, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case at.IsZero() && r.place == 0:
	case at.IsZero():
		heap.Remove(&c.heap, r.place-1)
	case r.place == 0:
		r.next = at
		heap.Push(&c.heap, r)
	default:
		r.next = at
		heap.Fix(&c.heap, r.place-1)
	}
}

// due takes off what is due.
func (c *clock) due(now time.Time) []*resource {
	c.mu.Lock()
	defer c.mu.Unlock()
	var rs []*resource
	for len(c.heap) > 0 && !c.heap[0].next.After(now) {
		rs = append(rs, heap.Pop(&c.heap).(*resource))
	}
	return rs
}
