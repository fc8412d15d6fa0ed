package xcap

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/store"
	"rollcall/xmltree"
)

// documentKind has an owner for each user and usage, and an item for each document.
var documentKind = store.NewKind("xcap", store.Durable, store.Cold).WithHints()

// valueVersion begins every stored document.
const valueVersion = 1

// Accounts knows whose address a URI is.
type Accounts interface {
	// Has reports whether there is such an account.
	Has(ctx context.Context, aor sip.AOR) (bool, error)
	// Serves reports whether a domain, in lower case, is one of ours.
	Serves(domain string) bool
}

// Options set up Documents. Zero values are good where a default stands.
type Options struct {
	Store    store.Store
	Accounts Accounts
	// Apart names the rule of the company that keeps an account from putting an address
	// on a list of its own, or gives "". It may be nil.
	Apart func(ctx context.Context, user, entry sip.AOR) string
	// Company makes the document global/index of resource-lists for an account: the lists
	// of its company. It may be nil: then there is none.
	Company func(ctx context.Context, user sip.AOR) (*xmltree.Element, error)

	Bytes       int // of a document, default 256 KiB
	IconBytes   int // of an icon, default 1 MiB
	PerUsage    int // documents of a user in one usage, default 32
	CachedBytes int // of documents kept in memory, default 64 MiB
	GlobalBytes int // of a global document, default 4 MiB
	Log         *zap.Logger
}

// Documents are the documents of all users. Its methods may be called by many
// goroutines.
type Documents struct {
	o     Options
	store store.Store
	cache *cache
	log   *zap.Logger

	mu        sync.Mutex
	observers []func(Change)
	writing   map[string]*writers // owners that this process changes now

	stop context.CancelFunc
	done sync.WaitGroup
}

// writers of one owner. A hint that comes meanwhile is most likely of their own
// change and is looked at when they have told it.
type writers struct {
	n      int
	hinted bool
}

// Document is one version of a document. It must not be changed.
type Document struct {
	User sip.AOR
	AUID string
	Name string
	ETag string // with its quotes
	Body []byte

	parse sync.Once
	root  *xmltree.Element
	err   error
}

// Tree returns the root element, parsed once. It must not be changed; Clone it.
func (d *Document) Tree() (*xmltree.Element, error) {
	d.parse.Do(func() { d.root, d.err = xmltree.Parse(d.Body, limitsFor(len(d.Body))) })
	return d.root, d.err
}

// limitsFor are those of a document of so many bytes. Its elements are bounded by
// its bytes.
func limitsFor(size int) xmltree.Limits {
	return xmltree.Limits{Bytes: size, Elements: 20_000, Attributes: 64}
}

// Change is what became of a document. Old is nil if it is new or was not known,
// New is nil if it is gone.
type Change struct {
	User     sip.AOR
	AUID     string
	Name     string
	Old, New *Document
}

// NewDocuments returns the documents in o.Store. Close ends its use of the store.
func NewDocuments(o Options) (*Documents, error) {
	for _, f := range []struct {
		field *int
		value int
	}{{&o.Bytes, 256 << 10}, {&o.IconBytes, 1 << 20}, {&o.PerUsage, 32}, {&o.CachedBytes, 64 << 20}, {&o.GlobalBytes, 4 << 20}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &Documents{o: o, store: o.Store, cache: newCache(o.CachedBytes, cacheAge(o.Store)), log: o.Log, stop: cancel, writing: map[string]*writers{}}
	if o.Store.Local() {
		return d, nil // every change is made through d
	}
	hints, err := o.Store.Watch(ctx, documentKind)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch documents: %w", err)
	}
	d.done.Go(func() {
		for k := range hints {
			if !d.postponed(k.Owner) {
				d.changedElsewhere(ctx, k.Owner)
			}
		}
	})
	return d, nil
}

// cacheAge makes a lost hint good.
func cacheAge(s store.Store) time.Duration {
	if s.Local() {
		return 0
	}
	return 30 * time.Second
}

// Close ends the watch over the store, which stays open.
func (d *Documents) Close() {
	d.stop()
	d.done.Wait()
}

// Observe has f called after each change, by the goroutine that made it or that
// heard of it from another server, and before the change is answered. Changes of
// one document that overlap may be told in any order: look at the document again.
// f must not wait for long. A change by another server whose old document is not
// in the cache has no Old.
func (d *Documents) Observe(f func(Change)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.observers = append(d.observers[:len(d.observers):len(d.observers)], f)
}

func (d *Documents) tell(c Change) {
	d.mu.Lock()
	observers := d.observers
	d.mu.Unlock()
	for _, f := range observers {
		f(c)
	}
}

// set is what a user has in one usage.
type set struct {
	version store.Version
	docs    []*Document
}

func (s *set) get(name string) *Document {
	for _, doc := range s.docs {
		if doc.Name == name {
			return doc
		}
	}
	return nil
}

// with is the set after a document was put, or deleted if doc is nil.
func (s *set) with(v store.Version, name string, doc *Document) *set {
	next := &set{version: v}
	placed := doc == nil
	for _, old := range s.docs {
		if old.Name != name {
			next.docs = append(next.docs, old)
		} else if doc != nil {
			next.docs = append(next.docs, doc)
			placed = true
		}
	}
	if !placed {
		next.docs = append(next.docs, doc)
	}
	return next
}

func owner(user sip.AOR, auid string) string { return user.String() + "\x00" + auid }

func cutOwner(owner string) (user sip.AOR, auid string, ok bool) {
	name, auid, ok := strings.Cut(owner, "\x00")
	if !ok {
		return sip.AOR{}, "", false
	}
	user, err := sip.ParseAORString(name)
	return user, auid, err == nil
}

func (d *Documents) load(ctx context.Context, user sip.AOR, auid string) (*set, error) {
	s, err := d.store.Load(ctx, store.Key{Kind: documentKind, Owner: owner(user, auid)})
	if err != nil {
		return nil, fmt.Errorf("load documents of %s: %w", user, err)
	}
	out := &set{version: s.Version, docs: make([]*Document, 0, len(s.Items))}
	for _, item := range s.Items {
		if len(item.Value) == 0 || item.Value[0] != valueVersion {
			return nil, fmt.Errorf("document %q of %s: stored form is not known", item.ID, user)
		}
		out.docs = append(out.docs, newDocument(user, auid, item.ID, item.Value[1:]))
	}
	return out, nil
}

func newDocument(user sip.AOR, auid, name string, body []byte) *Document {
	h := sha256.Sum256(body)
	return &Document{User: user, AUID: auid, Name: name, Body: body, ETag: `"` + base64.RawURLEncoding.EncodeToString(h[:16]) + `"`}
}

// list returns what the user has in a usage, from the cache if it is there.
func (d *Documents) list(ctx context.Context, user sip.AOR, auid string) (*set, error) {
	key := owner(user, auid)
	s, seen := d.cache.get(key, time.Now())
	if s != nil {
		return s, nil
	}
	s, err := d.load(ctx, user, auid)
	if err != nil {
		return nil, err
	}
	d.cache.put(key, s, seen, time.Now())
	return s, nil
}

// fresh is Get that sees every change that was answered, also by another server:
// what a client that changes servers must see.
func (d *Documents) fresh(ctx context.Context, user sip.AOR, auid, name string) (*Document, error) {
	if d.store.Local() {
		return d.Get(ctx, user, auid, name)
	}
	s, err := d.load(ctx, user, auid)
	if err != nil {
		return nil, err
	}
	if doc := s.get(name); doc != nil {
		return doc, nil
	}
	return nil, ErrNotFound
}

// Get returns a document of a user, or ErrNotFound. A change by another server is
// seen when Observe tells of it, 30 s later if its hint was lost.
func (d *Documents) Get(ctx context.Context, user sip.AOR, auid, name string) (*Document, error) {
	s, err := d.list(ctx, user, auid)
	if err != nil {
		return nil, err
	}
	if doc := s.get(name); doc != nil {
		return doc, nil
	}
	return nil, ErrNotFound
}

// List returns the documents that a user has in a usage.
func (d *Documents) List(ctx context.Context, user sip.AOR, auid string) ([]*Document, error) {
	s, err := d.list(ctx, user, auid)
	if err != nil {
		return nil, err
	}
	return s.docs, nil
}

// Put stores a document as a PUT of the user would, with the same checks.
func (d *Documents) Put(ctx context.Context, user sip.AOR, auid, name string, body []byte) (*Document, error) {
	return d.PutIf(ctx, user, auid, name, body, "")
}

// PutIf is Put with an If-Match, "" for none: ErrPrecondition.
func (d *Documents) PutIf(ctx context.Context, user sip.AOR, auid, name string, body []byte, match string) (*Document, error) {
	u := usageOf(auid)
	if u == nil || u.generated {
		return nil, ErrNotFound
	}
	doc, _, err := d.change(ctx, user, u, name, func(old *Document) (edit, error) {
		if !ifMatch(match, old) {
			return edit{}, ErrPrecondition
		}
		return d.whole(u, body)
	})
	return doc, err
}

// Delete removes a document of a user, or returns ErrNotFound.
func (d *Documents) Delete(ctx context.Context, user sip.AOR, auid, name string) error {
	return d.DeleteIf(ctx, user, auid, name, "")
}

// DeleteIf is Delete with an If-Match, "" for none: ErrPrecondition.
func (d *Documents) DeleteIf(ctx context.Context, user sip.AOR, auid, name, match string) error {
	u := usageOf(auid)
	if u == nil || u.generated {
		return ErrNotFound
	}
	_, _, err := d.change(ctx, user, u, name, func(old *Document) (edit, error) {
		switch {
		case !ifMatch(match, old):
			return edit{}, ErrPrecondition
		case old == nil:
			return edit{}, ErrNotFound
		}
		return edit{}, nil
	})
	return err
}

// Forget removes all documents of a user.
func (d *Documents) Forget(ctx context.Context, user sip.AOR) error {
	for _, u := range usages {
		if u.generated {
			continue
		}
		docs, err := d.List(ctx, user, u.AUID)
		if err != nil {
			return err
		}
		for _, doc := range docs {
			if err := d.Delete(ctx, user, u.AUID, doc.Name); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

func (d *Documents) beginWrite(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.writing[key]
	if w == nil {
		w = &writers{}
		d.writing[key] = w
	}
	w.n++
}

func (d *Documents) endWrite(ctx context.Context, key string) {
	d.mu.Lock()
	w := d.writing[key]
	w.n--
	last := w.n == 0
	if last {
		delete(d.writing, key)
	}
	d.mu.Unlock()
	if last && w.hinted {
		d.changedElsewhere(context.WithoutCancel(ctx), key)
	}
}

// postponed leaves a hint to the writers of the owner, if there are any.
func (d *Documents) postponed(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.writing[key]
	if w != nil {
		w.hinted = true
	}
	return w != nil
}

// changedElsewhere tells of a change by another server, or of one of our own that
// was told already.
func (d *Documents) changedElsewhere(ctx context.Context, key string) {
	user, auid, ok := cutOwner(key)
	if !ok {
		return
	}
	before := d.cache.peek(key)
	now, err := d.load(ctx, user, auid)
	if err != nil {
		d.cache.drop(key)
		return
	}
	if before != nil && before.version == now.version {
		return
	}
	d.cache.drop(key)
	for _, doc := range now.docs {
		var old *Document
		if before != nil {
			old = before.get(doc.Name)
		}
		if old == nil || old.ETag != doc.ETag {
			d.tell(Change{User: user, AUID: auid, Name: doc.Name, Old: old, New: doc})
		}
	}
	if before == nil {
		return
	}
	for _, old := range before.docs {
		if now.get(old.Name) == nil {
			d.tell(Change{User: user, AUID: auid, Name: old.Name, Old: old})
		}
	}
}
