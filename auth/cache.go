package auth

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	cacheShards = 64
	// cacheEntries bounds what is remembered of a store that is not in this
	// process: about 60 MB at most.
	cacheEntries = 200_000
	// cacheLife is how long an account is believed without a hint, as hints may be
	// lost. A wrong password is never believed: see Authenticator.
	cacheLife = 30 * time.Second
	// cacheSample is of how many entries the one that was idle longest leaves.
	cacheSample = 8
)

// cache keeps stored accounts by AOR. Only what exists is in it, so strangers can't
// fill it.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	sync.RWMutex
	entries map[string]*cached
	drops   uint64 // grows with each drop
}

type cached struct {
	value  string
	loaded time.Time
	used   atomic.Int64 // Unix seconds
}

func newCache() *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].entries = make(map[string]*cached)
	}
	return c
}

func (c *cache) shard(owner string) *cacheShard {
	return &c.shards[maphash.String(c.seed, owner)%cacheShards]
}

// get returns the stored form, or "" if it must be loaded.
func (c *cache) get(owner string, now time.Time) string {
	s := c.shard(owner)
	s.RLock()
	e := s.entries[owner]
	s.RUnlock()
	if e == nil || now.Sub(e.loaded) >= cacheLife {
		return ""
	}
	if sec := now.Unix(); e.used.Load() != sec {
		e.used.Store(sec)
	}
	return e.value
}

// generation is to be taken before a load and given to put after it.
func (c *cache) generation(owner string) uint64 {
	s := c.shard(owner)
	s.RLock()
	defer s.RUnlock()
	return s.drops
}

// put remembers what was loaded, unless something was dropped since: then it may
// be what the drop was meant for.
func (c *cache) put(owner, value string, generation uint64, now time.Time) {
	s := c.shard(owner)
	e := &cached{value: value, loaded: now}
	e.used.Store(now.Unix())
	s.Lock()
	defer s.Unlock()
	if s.drops != generation {
		return
	}
	if _, known := s.entries[owner]; !known {
		owner = strings.Clone(owner) // it may be a part of a message
		if len(s.entries) >= cacheEntries/cacheShards {
			s.evict()
		}
	}
	s.entries[owner] = e
}

// evict removes the entry that was idle longest of a few. A map gives them in
// random order.
func (s *cacheShard) evict() {
	victim, idle, n := "", int64(0), 0
	for owner, e := range s.entries {
		if used := e.used.Load(); n == 0 || used < idle {
			victim, idle = owner, used
		}
		if n++; n == cacheSample {
			break
		}
	}
	delete(s.entries, victim)
}

func (c *cache) drop(owner string) {
	s := c.shard(owner)
	s.Lock()
	defer s.Unlock()
	s.drops++
	delete(s.entries, owner)
}
