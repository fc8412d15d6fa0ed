package xcap

import (
	"container/list"
	"sync"
	"time"
)

// setOverhead is what a cached set costs besides its bytes, and treeFactor how many
// bytes a document takes with its tree for each of its own.
const (
	setOverhead = 512
	treeFactor  = 6
)

// cache keeps the sets that were used last, up to a sum of bytes.
type cache struct {
	most int
	age  time.Duration // after which a set is loaded again; 0 for never

	mu      sync.Mutex
	entries map[string]*list.Element // of *cached
	order   list.List                // last used first
	bytes   int
	drops   uint64
}

type cached struct {
	key   string
	set   *set
	bytes int
	since time.Time
}

func newCache(most int, age time.Duration) *cache {
	return &cache{most: most, age: age, entries: map[string]*list.Element{}}
}

// get returns a set or nil, and the moment for put.
func (c *cache) get(key string, now time.Time) (*set, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		return nil, c.drops
	}
	entry := e.Value.(*cached)
	if c.age > 0 && now.Sub(entry.since) > c.age {
		c.remove(e)
		return nil, c.drops
	}
	c.order.MoveToFront(e)
	return entry.set, c.drops
}

// peek is get that changes nothing.
func (c *cache) peek(key string) *set {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		return e.Value.(*cached).set
	}
	return nil
}

// put keeps a set that was loaded after the moment, unless anything was dropped
// since: it may be old.
func (c *cache) put(key string, s *set, moment uint64, now time.Time) {
	n := setOverhead
	for _, d := range s.docs {
		n += treeFactor * len(d.Body)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if moment != c.drops || n > c.most/4 {
		return
	}
	if e := c.entries[key]; e != nil {
		c.remove(e)
	}
	c.entries[key] = c.order.PushFront(&cached{key, s, n, now})
	c.bytes += n
	for c.bytes > c.most {
		c.remove(c.order.Back())
	}
}

// replace drops a set, and keeps the next one if nothing was dropped since the
// moment.
func (c *cache) replace(key string, next *set, moment uint64, now time.Time) {
	c.drop(key)
	c.put(key, next, moment+1, now)
}

// moment is now, for replace.
func (c *cache) moment() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.drops
}

func (c *cache) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops++
	if e := c.entries[key]; e != nil {
		c.remove(e)
	}
}

func (c *cache) remove(e *list.Element) {
	entry := c.order.Remove(e).(*cached)
	delete(c.entries, entry.key)
	c.bytes -= entry.bytes
}
