package auth

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/store"
)

// Directory is the accounts of our domains. Its methods may be called by many
// goroutines.
//
// A store that lives in this process is asked each time: that is a look into a
// map. In front of any other store stands a cache of bounded size, which drops
// what the store hints at and asks again after a while all the same.
type Directory struct {
	store   store.Store
	table   *store.Table[*Account]
	former  *store.Table[Former]
	aliases *store.Table[Alias]
	owners  owners // of the aliases
	domains []string
	cache   *cache // nil for a local store

	stop context.CancelFunc
	done sync.WaitGroup
}

// NewDirectory returns the accounts in s of the domains, of which the first is the
// one for whoever names none. Close ends its use of s.
func NewDirectory(s store.Store, domains []string) (*Directory, error) {
	if len(domains) == 0 {
		return nil, errors.New("a directory needs a domain")
	}
	d := &Directory{store: s, stop: func() {}}
	for _, domain := range domains {
		d.domains = append(d.domains, strings.ToLower(domain))
	}
	d.table = store.NewTable(s, accountKind,
		func(a *Account) (store.Item, error) { return store.Item{Value: a.encode()}, nil },
		func(i store.Item) (*Account, error) { return decode(viewValue(i.Value)) })
	d.former, d.aliases = newFormer(s), newAliases(s)
	if s.Local() { // nobody else changes it
		return d, d.readAliases(context.Background())
	}
	ctx, cancel := context.WithCancel(context.Background())
	hints, err := d.table.Watch(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch accounts: %w", err)
	}
	if err := d.followAliases(ctx); err != nil {
		cancel()
		return nil, err
	}
	d.stop = cancel
	d.cache = newCache()
	d.done.Go(func() {
		for k := range hints {
			d.cache.drop(k.Owner)
		}
	})
	return d, nil
}

// Close ends the watch over the store, which stays open.
func (d *Directory) Close() {
	d.stop()
	d.done.Wait()
}

// Domains returns our domains in lower case, the first one first. The slice must
// not be changed.
func (d *Directory) Domains() []string { return d.domains }

// Serves reports whether the domain, in lower case, is one of ours.
func (d *Directory) Serves(domain string) bool { return slices.Contains(d.domains, domain) }

// Lookup returns what is known of an account, or ErrNoAccount. It is for each
// request: an account of a local store, or one that is cached, costs no allocation
// and no I/O.
func (d *Directory) Lookup(ctx context.Context, aor sip.AOR) (Person, error) {
	p, _, err := d.lookup(ctx, aor.String())
	if err == nil && p.IsZero() {
		return Person{}, ErrNoAccount
	}
	return p, err
}

// Known is Lookup for a caller that must not wait: it does not ask a store on
// another machine, and returns false when it would have to.
func (d *Directory) Known(ctx context.Context, aor sip.AOR) (Person, bool) {
	if d.cache != nil {
		v := d.cache.get(aor.String(), time.Now())
		return Person{v}, v != ""
	}
	p, _, err := d.lookup(ctx, aor.String())
	return p, err == nil && !p.IsZero()
}

// Has reports whether there is such an account, also a disabled one.
func (d *Directory) Has(ctx context.Context, aor sip.AOR) (bool, error) {
	p, _, err := d.lookup(ctx, aor.String())
	return !p.IsZero(), err
}

// lookup returns the zero Person for an unknown owner. Cached tells that the store
// might know better.
func (d *Directory) lookup(ctx context.Context, owner string) (p Person, cached bool, err error) {
	if owner == "" {
		return Person{}, false, nil
	}
	if d.cache != nil {
		if v := d.cache.get(owner, time.Now()); v != "" {
			return Person{v}, true, nil
		}
	}
	p, err = d.load(ctx, owner)
	return p, false, err
}

// load asks the store, and puts what it says into the cache.
func (d *Directory) load(ctx context.Context, owner string) (Person, error) {
	var seen uint64
	if d.cache != nil {
		seen = d.cache.generation(owner)
	}
	set, err := d.store.Load(ctx, store.Key{Kind: accountKind, Owner: owner})
	if err != nil {
		return Person{}, fmt.Errorf("load account: %w", err)
	}
	item, ok := set.Get("")
	if !ok {
		if d.cache != nil {
			d.cache.drop(owner)
		}
		return Person{}, nil
	}
	v := viewValue(item.Value)
	if err := checkValue(v); err != nil {
		return Person{}, err
	}
	if d.cache != nil {
		d.cache.put(owner, v, seen, time.Now())
	}
	return Person{v}, nil
}

// Get returns an account from the store, or ErrNoAccount. It is for
// administration; requests use Lookup.
func (d *Directory) Get(ctx context.Context, aor sip.AOR) (*Account, error) {
	a, _, ok, err := d.table.Get(ctx, aor.String(), "")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrNoAccount
	}
	return a, nil
}

// Add makes a new account with a password. Secrets, Created and Changed of a are
// not looked at. It fails with ErrExists, ErrDomain, ErrPassword or ErrQuarantine.
func (d *Directory) Add(ctx context.Context, a Account, password string) error {
	if err := d.quarantined(ctx, a.AOR.String()); err != nil {
		return err
	}
	return d.add(ctx, a, password)
}

// Put adds or replaces an account. Zero Secrets keep those that are there; a new
// account without any is refused with ErrNoPassword. Created is kept, Changed is set.
func (d *Directory) Put(ctx context.Context, a Account) error {
	return d.update(ctx, a.AOR, func(old *Account) (*Account, error) {
		next := a
		if next.Secrets == (digest.Secrets{}) {
			if old == nil {
				return nil, ErrNoPassword
			}
			next.Secrets = old.Secrets
		}
		return &next, nil
	})
}

// SetPassword gives an account another password. Nonces and registrations go on;
// the next request with the old password is refused.
func (d *Directory) SetPassword(ctx context.Context, aor sip.AOR, password string) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	return d.change(ctx, aor, func(a *Account) {
		a.Secrets = digest.NewSecrets(aor.User(), aor.Domain(), password)
	})
}

// SetDisabled takes from an account that it can log in, or gives it back.
func (d *Directory) SetDisabled(ctx context.Context, aor sip.AOR, disabled bool) error {
	return d.change(ctx, aor, func(a *Account) { a.Disabled = disabled })
}

// change updates an account that is there.
func (d *Directory) change(ctx context.Context, aor sip.AOR, f func(*Account)) error {
	return d.update(ctx, aor, func(old *Account) (*Account, error) {
		if old == nil {
			return nil, ErrNoAccount
		}
		next := *old
		f(&next)
		return &next, nil
	})
}

// update decides on the account that is there, nil for none, what is there next.
// The decision may be asked for several times.
func (d *Directory) update(ctx context.Context, aor sip.AOR, decide func(old *Account) (*Account, error)) error {
	if !d.Serves(aor.Domain()) {
		return fmt.Errorf("%s: %w", aor, ErrDomain)
	}
	if err := d.notAlias(ctx, aor.String()); err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	_, err := d.table.Update(ctx, aor.String(), func(items []*Account) ([]store.Change, error) {
		var old *Account
		if len(items) > 0 {
			old = items[0]
		}
		next, err := decide(old)
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", aor, err)
		}
		change, err := d.revise(old, next, now)
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", aor, err)
		}
		return []store.Change{change}, nil
	})
	d.forget(aor.String())
	return err
}

// revise checks what comes after old, nil for none, and returns its change.
func (d *Directory) revise(old, next *Account, now time.Time) (store.Change, error) {
	if err := next.check(); err != nil {
		return store.Change{}, err
	}
	next.Created, next.Changed = now, now
	if old != nil {
		next.Created, next.extra = old.Created, old.extra
	}
	return d.table.Put(next)
}

// Delete removes an account, or returns ErrNoAccount. What else is stored under
// its AOR is not touched.
func (d *Directory) Delete(ctx context.Context, aor sip.AOR) error {
	_, err := d.table.Update(ctx, aor.String(), func(items []*Account) ([]store.Change, error) {
		if len(items) == 0 {
			return nil, fmt.Errorf("account %s: %w", aor, ErrNoAccount)
		}
		return []store.Change{store.Delete("")}, nil
	})
	d.forget(aor.String())
	return err
}

// forget makes this process see its own change at once.
func (d *Directory) forget(owner string) {
	if d.cache != nil {
		d.cache.drop(owner)
	}
}

// List gives all accounts sorted by AOR, those of domains included that are no
// longer ours. An error is given as the last pair.
func (d *Directory) List(ctx context.Context) iter.Seq2[*Account, error] {
	return func(yield func(*Account, error) bool) {
		var owners []string
		for owner, err := range d.table.Keys(ctx) {
			if err != nil {
				yield(nil, fmt.Errorf("list accounts: %w", err))
				return
			}
			owners = append(owners, owner)
		}
		slices.Sort(owners)
		owners = slices.Compact(owners)
		for chunk := range slices.Chunk(owners, loadChunk) {
			loaded, err := d.loadMany(ctx, chunk)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, l := range loaded {
				if l.account != nil && !yield(l.account, nil) {
					return
				}
			}
		}
	}
}

// loadChunk is how many accounts a list or import has loaded at once, and
// loadWorkers how many of them are on the way to a store that is not here.
const (
	loadChunk   = 4096
	loadWorkers = 64
)

type loaded struct {
	account *Account // nil: none
	version store.Version
}

// loadMany loads accounts in the order of the owners.
func (d *Directory) loadMany(ctx context.Context, owners []string) ([]loaded, error) {
	workers := loadWorkers
	if d.store.Local() {
		workers = 1
	}
	out := make([]loaded, len(owners))
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(owners); i += workers {
				a, v, _, err := d.table.Get(ctx, owners[i], "")
				if err != nil {
					errs[w] = err
					return
				}
				out[i] = loaded{a, v}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Key is where the store has an account.
func (d *Directory) Key(aor sip.AOR) store.Key {
	return store.Key{Kind: accountKind, Owner: aor.String()}
}
