package keys

import (
	"crypto/cipher"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/archive"
)

const (
	shards = 64
	// maxCached bounds the keys in memory, of authors and by ID, about 1 KB each.
	// Who is not in it costs a read and an unwrapping.
	maxCached = 1 << 16
	// quickKeys is how many authors' keys are found at the first look, 8 bytes each.
	quickKeys = 1 << 16
)

// Ring holds the data keys of an archive. It implements archive.Sealer, and
// its methods may be called from any goroutine. Sealing takes a lock of a 64th
// of the authors, and touches the disk only when an author writes for the
// first time in a month.
type Ring struct {
	dir    string
	master Master
	lock   *os.File
	seed   maphash.Seed
	cache  [shards]cache
	quick  [quickKeys]atomic.Pointer[dataKey] // of the authors' in cache, by the hash; the lock of that part guards each

	mu      sync.Mutex // of the files
	months  map[int]*month
	unsaved map[int]*month // with keys that are not durable yet
}

// dataKey is a key in memory.
type dataKey struct {
	id     ID
	aead   cipher.AEAD
	author string // of the keys that are found by it
	month  int
}

// cache holds keys by the hash of author and month, and by ID.
type cache struct {
	mu     sync.RWMutex
	author map[uint64]*dataKey // two of the same hash push each other out
	id     map[ID]*dataKey
}

// Open opens the ring in dir, and makes the folder when it is not there.
func Open(dir string, master Master) (*Ring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of data keys: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	return &Ring{dir: dir, master: master, lock: lock, seed: maphash.MakeSeed(), months: map[int]*month{}, unsaved: map[int]*month{}}, nil
}

// OpenForReading opens the ring of a running server, or of none, to read what is
// sealed. It takes no lock and makes no key.
func OpenForReading(dir string, master Master) *Ring {
	return &Ring{dir: dir, master: master, seed: maphash.MakeSeed(), months: map[int]*month{}, unsaved: map[int]*month{}}
}

// Acquire makes a ring that was opened for reading the one that may make keys and destroy
// them. It fails while another process is that.
func (r *Ring) Acquire() error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return fmt.Errorf("folder of data keys: %w", err)
	}
	lock, err := lockFolder(r.dir)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lock = lock
	return r.closeMonths() // they are open for reading only
}

// Release makes new keys durable and lets another process make keys. What is known is
// forgotten: keys may be destroyed meanwhile.
func (r *Ring) Release() error {
	err := r.Sync()
	r.mu.Lock()
	defer r.mu.Unlock()
	err = errors.Join(err, r.closeMonths(), r.lock.Close())
	r.lock = nil
	for i := range r.cache {
		c := &r.cache[i]
		c.mu.Lock()
		c.author, c.id = nil, nil
		c.mu.Unlock()
	}
	for i := range r.quick {
		r.quick[i].Store(nil)
	}
	return err
}

// closeMonths closes the files. r.mu is held.
func (r *Ring) closeMonths() (err error) {
	for _, m := range r.months {
		err = errors.Join(err, m.f.Close())
	}
	r.months = map[int]*month{}
	return err
}

// Close makes new keys durable and gives the folder free.
func (r *Ring) Close() error {
	err := r.Sync()
	r.mu.Lock()
	defer r.mu.Unlock()
	err = errors.Join(err, r.closeMonths())
	if r.lock != nil {
		err = errors.Join(err, r.lock.Close())
	}
	return err
}

// place returns the cache of the keys of an author, and the hash of those of a month.
func (r *Ring) place(author string, month int) (*cache, uint64) {
	h := maphash.String(r.seed, author)
	return &r.cache[h%shards], h + uint64(month)*shards
}

// placeOfID returns the cache of a key by its ID.
func (r *Ring) placeOfID(id ID) *cache { return &r.cache[maphash.Bytes(r.seed, id[:])%shards] }

// Seal implements archive.Sealer.
func (r *Ring) Seal(dst []byte, author string, at time.Time, id archive.ID, plain []byte) ([]byte, error) {
	month := monthOf(at)
	c, h := r.place(author, month)
	quick := &r.quick[h%quickKeys]
	c.mu.RLock()
	k := quick.Load()
	if k == nil || k.month != month || k.author != author {
		if k = c.author[h]; k != nil && k.month == month && k.author == author {
			quick.Store(k)
		} else {
			k = nil
		}
	}
	if k != nil { // a key is not destroyed while it seals
		dst = k.seal(dst, id, plain)
		c.mu.RUnlock()
		return dst, nil
	}
	c.mu.RUnlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	k, err := r.keyOf(author, month)
	if err != nil {
		return dst, err
	}
	return k.seal(dst, id, plain), nil
}

// Near brings the keys of authors near for whoever seals next: the processor waits for
// many places in memory at once here, and for one after the other there. It looks at
// no more than nearAtOnce.
func (r *Ring) Near(authors []string, at time.Time) {
	var found [nearAtOnce]*dataKey
	authors = authors[:min(len(authors), nearAtOnce)]
	month := monthOf(at)
	for i, a := range authors {
		_, h := r.place(a, month)
		found[i] = r.quick[h%quickKeys].Load()
	}
	sum := 0
	for i := range authors {
		if k := found[i]; k != nil && k.author != "" {
			sum += int(k.author[0]) + k.aead.NonceSize() // which stands with the key
		}
	}
	if sum == -1 { // never: it keeps the compiler from leaving the reads out
		r.quick[0].Store(nil)
	}
}

const nearAtOnce = 32

// Reseal implements archive.Resealer: it seals under the key that other content was sealed with; id must be
// new. Errors are those of Open.
func (r *Ring) Reseal(dst []byte, key [16]byte, id archive.ID, plain []byte) ([]byte, error) {
	k, err := r.keyByID(key)
	if err != nil {
		return dst, err
	}
	return k.seal(dst, id, plain), nil
}

func (k *dataKey) seal(dst []byte, id archive.ID, plain []byte) []byte {
	return k.aead.Seal(append(dst, k.id[:]...), id[4:], plain, id[:])
}

// Open implements archive.Opener.
func (r *Ring) Open(dst []byte, id archive.ID, sealed []byte) ([]byte, error) {
	if len(sealed) < len(ID{}) {
		return dst, errors.New("no key is named")
	}
	k, err := r.keyByID(ID(sealed))
	if err != nil {
		return dst, err
	}
	b, err := k.aead.Open(dst, id[4:], sealed[len(ID{}):], id[:])
	if err != nil {
		return dst, errors.New("it is not as it was sealed")
	}
	return b, nil
}

// Sync implements archive.Sealer.
func (r *Ring) Sync() error {
	r.mu.Lock()
	if len(r.unsaved) == 0 {
		r.mu.Unlock()
		return nil
	}
	unsaved := r.unsaved
	r.unsaved = map[int]*month{}
	r.mu.Unlock()
	for n, m := range unsaved { // no lock: others may seal meanwhile
		if err := m.f.Sync(); err != nil {
			r.mu.Lock()
			r.unsaved[n] = m
			r.mu.Unlock()
			return fmt.Errorf("sync data keys: %w", err)
		}
	}
	return nil
}

// keyOf returns the key of an author for new content, and makes it if there is
// none. r.mu is held.
func (r *Ring) keyOf(aor string, number int) (*dataKey, error) {
	if r.lock == nil {
		return nil, errors.New("data keys are open for reading only")
	}
	m, err := r.month(number, true)
	if err != nil {
		return nil, fmt.Errorf("data keys: %w", err)
	}
	a := authorOf(aor)
	var id ID
	var key []byte
	if slot, ok := m.live[a]; ok {
		id, key, err = m.read(slot, r.master)
	} else {
		id, key, err = m.add(a, r.master)
		r.unsaved[number] = m
	}
	if err != nil {
		return nil, fmt.Errorf("data key of %s in %s: %w", aor, monthName(number), err)
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	k := &dataKey{id: id, aead: aead, author: strings.Clone(aor), month: number}
	c, h := r.place(aor, number)
	c.mu.Lock()
	if c.author == nil {
		c.author = map[uint64]*dataKey{}
	}
	if old, ok := makeRoom(c.author); ok {
		r.quick[old%quickKeys].Store(nil)
	}
	c.author[h] = k
	r.quick[h%quickKeys].Store(k)
	c.mu.Unlock()
	return k, nil
}

func (r *Ring) keyByID(id ID) (*dataKey, error) {
	c := r.placeOfID(id)
	c.mu.RLock()
	k := c.id[id]
	c.mu.RUnlock()
	if k != nil {
		return k, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m, err := r.month(id.month(), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, archive.ErrNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("data keys: %w", err)
	}
	found, key, err := m.read(id.slot(), r.master)
	switch {
	case errors.Is(err, errNoSlot), err == nil && found != id, errors.Is(err, errZapped) && found != id:
		return nil, archive.ErrNoKey
	case errors.Is(err, errZapped):
		return nil, archive.ErrErased
	case err != nil:
		return nil, err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	k = &dataKey{id: id, aead: aead}
	c.mu.Lock()
	if c.id == nil {
		c.id = map[ID]*dataKey{}
	}
	makeRoom(c.id)
	c.id[id] = k
	c.mu.Unlock()
	return k, nil
}

// month returns the file of a month, with missing one that is made if it is not there. r.mu is held.
func (r *Ring) month(number int, missing bool) (*month, error) {
	if m := r.months[number]; m != nil {
		return m, nil
	}
	m, err := openMonth(r.dir, number, missing, r.lock == nil)
	if err == nil {
		r.months[number] = m
	}
	return m, err
}

// Period is a month in which an author has a key.
type Period struct {
	Month string `json:"month"` // "2026-11"
	Key   ID     `json:"-"`
}

// Periods lists the months in which the author has a key that is not destroyed.
func (r *Ring) Periods(aor string) ([]Period, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Period
	err := r.each(aor, time.Time{}, time.Time{}, func(m *month, slot int) error {
		id, _, err := m.read(slot, r.master)
		if err == nil {
			out = append(out, Period{strings.TrimSuffix(monthName(m.number), ".keys"), id})
		}
		return err
	})
	return out, err
}

// Destroy destroys the author's keys of all months that lie within from
// (included) and to (excluded); a zero time is no bound. It returns the months
// whose keys are gone for good, on the disk too, when it returns.
func (r *Ring) Destroy(aor string, from, to time.Time) ([]string, error) {
	if r.lock == nil {
		return nil, errors.New("data keys are open for reading only")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var done []string
	err := r.each(aor, from, to, func(m *month, slot int) error {
		id, _, err := m.read(slot, r.master)
		if err != nil {
			return err
		}
		if err := m.destroy(slot); err != nil {
			return fmt.Errorf("destroy data key: %w", err)
		}
		delete(m.live, authorOf(aor))
		c, h := r.place(aor, m.number)
		c.mu.Lock()
		delete(c.author, h) // of another one with this hash it is only not known any more
		r.quick[h%quickKeys].Store(nil)
		c.mu.Unlock()
		c = r.placeOfID(id)
		c.mu.Lock()
		delete(c.id, id)
		c.mu.Unlock()
		done = append(done, strings.TrimSuffix(monthName(m.number), ".keys"))
		return nil
	})
	return done, err
}

// each calls f for each live key of an author. r.mu is held.
func (r *Ring) each(aor string, from, to time.Time, f func(m *month, slot int) error) error {
	names, err := filepath.Glob(filepath.Join(r.dir, "????-??.keys"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	a := authorOf(aor)
	for _, name := range names {
		start, err := time.Parse("2006-01", strings.TrimSuffix(filepath.Base(name), ".keys"))
		if err != nil {
			continue // not a file of ours
		}
		if start.Before(from) || !to.IsZero() && start.AddDate(0, 1, 0).After(to) {
			continue
		}
		m, err := r.month(monthOf(start), false)
		if err != nil {
			return fmt.Errorf("data keys: %w", err)
		}
		if slot, ok := m.live[a]; ok {
			if err := f(m, slot); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeRoom drops a key of no choice from a full part of the cache, and tells which.
func makeRoom[K comparable](m map[K]*dataKey) (dropped K, ok bool) {
	if len(m) < maxCached/shards {
		return dropped, false
	}
	for k := range m {
		delete(m, k)
		return k, true
	}
	return dropped, false
}
