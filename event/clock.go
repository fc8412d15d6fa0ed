package event

import (
	"container/heap"
	"sync"
	"time"
)

// clockTick is how exactly expiries and rates are kept.
const clockTick = 50 * time.Millisecond

// clock knows when each resource has something due. A resource stands in it once
// for each time that was the earliest; stale entries wake it for nothing.
type clock struct {
	mu   sync.Mutex
	heap entries
}

type entry struct {
	at time.Time
	r  *resource
}

type entries []entry

func (e entries) Len() int           { return len(e) }
func (e entries) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e entries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *entries) Push(x any)        { *e = append(*e, x.(entry)) }
func (e *entries) Pop() any {
	old := *e
	x := old[len(old)-1]
	old[len(old)-1] = entry{}
	*e = old[:len(old)-1]
	return x
}

func (c *clock) init() { c.heap = make(entries, 0, 64) }

// set has the resource woken at that time, unless it is earlier anyway. The
// resource's lock is held.
func (c *clock) set(r *resource, at time.Time) {
	if at.IsZero() || !r.next.IsZero() && !at.Before(r.next) {
		return
	}
	r.next = at
	c.mu.Lock()
	heap.Push(&c.heap, entry{at, r})
	c.mu.Unlock()
}

// due takes off what is due, each resource once.
func (c *clock) due(now time.Time) []*resource {
	c.mu.Lock()
	var list []entry
	for len(c.heap) > 0 && !c.heap[0].at.After(now) {
		list = append(list, heap.Pop(&c.heap).(entry))
	}
	c.mu.Unlock()
	var rs []*resource
	for _, e := range list {
		e.r.mu.Lock()
		if e.r.next.Equal(e.at) {
			e.r.next = time.Time{}
			rs = append(rs, e.r)
		}
		e.r.mu.Unlock()
	}
	return rs
}
