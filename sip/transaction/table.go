package transaction

// table maps keys to places in a ring, or to transactions: open addressing with
// linear probing, a power of two of slots at most two thirds full. Keys are hashes
// already, so looking one up touches one line of memory where a Go map touches
// several, and that is most of what a transaction costs.
type table[V comparable] struct {
	slot []slot[V]
	n    int
}

// slot is free when its value is zero, which no value in a table is.
type slot[V comparable] struct {
	key   Key
	value V
}

func (s *slot[V]) free() bool {
	var none V
	return s.value == none
}

const firstSlots = 64

// find returns the index of k's slot, or of the free one where it belongs.
func (t *table[V]) find(k Key) int {
	mask := len(t.slot) - 1
	i := int(k) & mask
	for !t.slot[i].free() && t.slot[i].key != k {
		i = (i + 1) & mask
	}
	return i
}

func (t *table[V]) get(k Key) (v V, ok bool) {
	if t.n == 0 {
		return v, false
	}
	s := &t.slot[t.find(k)]
	return s.value, !s.free()
}

func (t *table[V]) put(k Key, v V) {
	if 3*(t.n+1) > 2*len(t.slot) {
		t.resize(max(firstSlots, 2*len(t.slot)))
	}
	s := &t.slot[t.find(k)]
	if s.free() {
		t.n++
	}
	*s = slot[V]{k, v}
}

// remove takes k out and closes the gap, so that no probe ends early.
func (t *table[V]) remove(k Key) {
	if t.n == 0 {
		return
	}
	mask := len(t.slot) - 1
	gap := t.find(k)
	if t.slot[gap].free() {
		return
	}
	for i := (gap + 1) & mask; !t.slot[i].free(); i = (i + 1) & mask {
		home := int(t.slot[i].key) & mask
		if (i-home)&mask >= (i-gap)&mask { // it may stand in the gap
			t.slot[gap] = t.slot[i]
			gap = i
		}
	}
	t.slot[gap] = slot[V]{}
	t.n--
	if len(t.slot) > firstSlots && 8*t.n < len(t.slot) {
		t.resize(len(t.slot) / 2)
	}
}

func (t *table[V]) resize(n int) {
	old := t.slot
	t.slot = make([]slot[V], n)
	for _, s := range old {
		if !s.free() {
			t.slot[t.find(s.key)] = s
		}
	}
}
