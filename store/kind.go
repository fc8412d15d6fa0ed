package store

import (
	"fmt"
	"sync"
)

// Life is how long what was applied must last.
type Life uint8

const (
	// Soft state may lose its last second when the server is killed: it is
	// refreshed by those who own it.
	Soft Life = iota + 1
	// Durable state is on stable storage before Apply returns.
	Durable
)

func (l Life) String() string {
	switch l {
	case Soft:
		return "soft"
	case Durable:
		return "durable"
	}
	return fmt.Sprintf("life(%d)", uint8(l))
}

// Place is where what was applied is kept by a store that lives in this process.
type Place uint8

const (
	// Hot state is all in memory, and Load of it never waits for a disk.
	Hot Place = iota + 1
	// Cold state is on disk alone: documents, the bytes of queued messages.
	Cold
)

func (p Place) String() string {
	switch p {
	case Hot:
		return "hot"
	case Cold:
		return "cold"
	}
	return fmt.Sprintf("place(%d)", uint8(p))
}

// Kind is a sort of owners, such as bindings or accounts. It is declared once, as
// a variable of the package whose state it is, and compared by pointer.
//
// The name is stored for ever. Life and place may change between releases only
// with a conversion of what is stored.
type Kind struct {
	name  string
	index int
	life  Life
	place Place
	hints bool
}

var kinds struct {
	sync.RWMutex
	all    []*Kind
	byName map[string]*Kind
}

// NewKind declares a kind. The name is of 1 to 32 lower case letters, digits and
// hyphens. It panics if the name is another, or is declared already.
func NewKind(name string, life Life, place Place) *Kind {
	if !validName(name) {
		panic(fmt.Sprintf("store: kind name %q", name))
	}
	if life != Soft && life != Durable || place != Hot && place != Cold {
		panic(fmt.Sprintf("store: kind %s is %s and %s", name, life, place))
	}
	kinds.Lock()
	defer kinds.Unlock()
	if kinds.byName[name] != nil {
		panic(fmt.Sprintf("store: kind %s is declared twice", name))
	}
	if kinds.byName == nil {
		kinds.byName = make(map[string]*Kind)
	}
	k := &Kind{name: name, index: len(kinds.all), life: life, place: place}
	kinds.all = append(kinds.all, k)
	kinds.byName[name] = k
	return k
}

func validName(name string) bool {
	if name == "" || len(name) > 32 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Name returns the name under which the kind is stored.
func (k *Kind) Name() string { return k.name }

// Life returns how long what was applied must last.
func (k *Kind) Life() Life { return k.life }

// Place returns where a store in this process keeps it.
func (k *Kind) Place() Place { return k.place }

// WithHints makes Watch of the kind possible, and returns it. A store that several
// processes share has to tell all of them of each change then. It belongs to
// the declaration.
func (k *Kind) WithHints() *Kind {
	k.hints = true
	return k
}

// Hints reports whether the kind can be watched.
func (k *Kind) Hints() bool { return k.hints }

// Index returns a small number that is the kind's own in this process, for
// tables. It is never stored.
func (k *Kind) Index() int { return k.index }

func (k *Kind) String() string { return k.name }

// Kinds returns all kinds declared so far, in the order of their Index.
func Kinds() []*Kind {
	kinds.RLock()
	defer kinds.RUnlock()
	return kinds.all[:len(kinds.all):len(kinds.all)]
}
