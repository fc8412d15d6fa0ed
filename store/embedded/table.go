package embedded

import (
	"sync/atomic"

	"rollcall/store"
)

// table finds the entries of one shard by their owner, with open addressing. A reader
// takes no lock: one locked instruction would hold up all reads of memory behind it,
// and what a request looks up is seldom in the processor's caches. Writers hold the
// lock of the shard.
type table struct {
	slots atomic.Pointer[slots]
	n     int // entries
	used  int // slots that are not empty; more than n by the gone ones
}

// slots are a power of two, and at most half of them are used.
type slots []atomic.Pointer[entry]

// entry is what is known of one owner. It is never changed once it is in a table,
// but for its round, which only writers look at.
type entry struct {
	owner string
	state
	hash  uint32 // of the owner
	round uint32
}

// entryOfOne is an entry whose only item lies beside it.
type entryOfOne struct {
	entry
	item [1]store.Item
}

// gone is where an entry was. Nobody has the empty owner.
var gone = new(entry)

// newEntry returns an entry with items of its own.
func newEntry(hash uint32, owner string, s state) *entry {
	var e *entry
	if len(s.items) == 1 {
		of := &entryOfOne{item: [1]store.Item{s.items[0]}}
		e = &of.entry
		e.items = of.item[:]
	} else {
		e = new(entry)
		e.items = append(make([]store.Item, 0, len(s.items)), s.items...)
	}
	e.hash, e.owner, e.version, e.next = hash, owner, s.version, s.next
	return e
}

// get returns the entry of an owner, nil for none.
func (t *table) get(hash uint32, owner string) *entry {
	p := t.slots.Load()
	if p == nil {
		return nil
	}
	s := *p
	for i := int(hash); ; i++ {
		e := s[i&(len(s)-1)].Load()
		if e == nil || e.hash == hash && e.owner == owner {
			return e
		}
	}
}

// likely returns what is in the first slot in which an owner of that hash may be. It
// does not look at it.
func (t *table) likely(hash uint32) *entry {
	p := t.slots.Load()
	if p == nil {
		return nil
	}
	s := *p
	return s[int(hash)&(len(s)-1)].Load()
}

// put adds an entry, or replaces that of the same owner.
func (t *table) put(e *entry) {
	p := t.slots.Load()
	if p == nil || 2*(t.used+1) > len(*p) {
		p = t.rebuild()
	}
	s := *p
	i := int(e.hash)
	for ; ; i++ {
		o := s[i&(len(s)-1)].Load()
		if o == nil {
			t.n++
			t.used++
			break
		}
		if o.hash == e.hash && o.owner == e.owner {
			break
		}
	}
	s[i&(len(s)-1)].Store(e)
}

// remove takes an owner out.
func (t *table) remove(hash uint32, owner string) {
	p := t.slots.Load()
	if p == nil {
		return
	}
	s := *p
	for i := int(hash); ; i++ {
		at := &s[i&(len(s)-1)]
		switch o := at.Load(); {
		case o == nil:
			return
		case o.hash == hash && o.owner == owner:
			at.Store(gone)
			t.n--
			return
		}
	}
}

// rebuild makes room for one more, a quarter used, without those that are gone.
func (t *table) rebuild() *slots {
	size := 8
	for size < 4*(t.n+1) {
		size *= 2
	}
	s := make(slots, size)
	t.each(func(e *entry) {
		i := int(e.hash)
		for s[i&(size-1)].Load() != nil {
			i++
		}
		s[i&(size-1)].Store(e)
	})
	t.used = t.n
	t.slots.Store(&s)
	return &s
}

// each calls f with every entry.
func (t *table) each(f func(*entry)) {
	p := t.slots.Load()
	if p == nil {
		return
	}
	for i := range *p {
		if e := (*p)[i].Load(); e != nil && e != gone {
			f(e)
		}
	}
}
