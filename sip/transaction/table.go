package transaction

// table maps keys to places in a ring: open addressing with linear probing, a
// power of two of slots at most two thirds full. Keys are hashes already, so
// looking one up touches one line of memory where a Go map touches several,
// and that is most of what a transaction costs.
type table struct {
	slot []slot
	n    int
}

// slot is free when place is 0: places are stored plus one.
type slot struct {
	key   Key
	place uint64
}

const firstSlots = 64

// find returns the index of k's slot, or of the free one where it belongs.
func (t *table) find(k Key) int {
	mask := len(t.slot) - 1
	i := int(k) & mask
	for t.slot[i].place != 0 && t.slot[i].key != k {
		i = (i + 1) & mask
	}
	return i
}

func (t *table) get(k Key) (place uint64, ok bool) {
	if t.n == 0 {
		return 0, false
	}
	s := &t.slot[t.find(k)]
	return s.place - 1, s.place != 0
}

func (t *table) put(k Key, place uint64) {
	if 3*(t.n+1) > 2*len(t.slot) {
		t.resize(max(firstSlots, 2*len(t.slot)))
	}
	s := &t.slot[t.find(k)]
	if s.place == 0 {
		t.n++
	}
	*s = slot{k, place + 1}
}

// remove takes k out and closes the gap, so that no probe ends early.
func (t *table) remove(k Key) {
	if t.n == 0 {
		return
	}
	mask := len(t.slot) - 1
	gap := t.find(k)
	if t.slot[gap].place == 0 {
		return
	}
	for i := (gap + 1) & mask; t.slot[i].place != 0; i = (i + 1) & mask {
		home := int(t.slot[i].key) & mask
		if (i-home)&mask >= (i-gap)&mask { // it may stand in the gap
			t.slot[gap] = t.slot[i]
			gap = i
		}
	}
	t.slot[gap] = slot{}
	t.n--
	if len(t.slot) > firstSlots && 8*t.n < len(t.slot) {
		t.resize(len(t.slot) / 2)
	}
}

func (t *table) resize(n int) {
	old := t.slot
	t.slot = make([]slot, n)
	for _, s := range old {
		if s.place != 0 {
			t.slot[t.find(s.key)] = s
		}
	}
}
