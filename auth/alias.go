package auth

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"rollcall/sip"
	"rollcall/store"
)

// aliasKind has one item, with the empty ID, for each alias. Its owner is the alias.
var aliasKind = store.NewKind("alias", store.Durable, store.Hot).WithHints()

// Limits of aliases.
const (
	MaxAliases = 100 // of one account
	MaxPurpose = 200 // bytes
)

// Errors of aliases.
var (
	// ErrNoAlias is returned for an address that is no alias.
	ErrNoAlias = errors.New("no such alias")
	// ErrAlias wraps what is wrong with an alias that is to be made.
	ErrAlias = errors.New("alias")
)

const aliasVersion = 1

// Alias is a further address of an account. What is sent to it is for the account, its
// owner; nobody registers or logs in as it.
type Alias struct {
	AOR     sip.AOR
	Owner   sip.AOR
	Purpose string // what it is for, in words
	By      string // who made it
	Created time.Time
}

func newAliases(s store.Store) *store.Table[Alias] {
	return store.NewTable(s, aliasKind,
		func(a Alias) (store.Item, error) {
			b := binary.BigEndian.AppendUint64([]byte{aliasVersion}, uint64(a.Created.UnixMilli()))
			for _, text := range [...]string{a.AOR.String(), a.Owner.String(), a.Purpose, a.By} {
				b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
			}
			return store.Item{Value: b}, nil
		},
		func(i store.Item) (a Alias, err error) {
			if len(i.Value) < 9 || i.Value[0] != aliasVersion {
				return a, errValue
			}
			a.Created = time.UnixMilli(int64(binary.BigEndian.Uint64(i.Value[1:]))).UTC()
			rest := i.Value[9:]
			var texts [4]string
			for k := range texts {
				n, size := binary.Uvarint(rest)
				if size <= 0 || n > uint64(len(rest)-size) {
					return a, errValue
				}
				texts[k], rest = string(rest[size:size+int(n)]), rest[size+int(n):]
			}
			a.Purpose, a.By = texts[2], texts[3]
			if a.AOR, err = sip.ParseAORString(texts[0]); err == nil {
				a.Owner, err = sip.ParseAORString(texts[1])
			}
			return a, err
		})
}

// owners has whose alias an address is in memory, for every message asks.
type owners struct {
	n  atomic.Int64
	mu sync.RWMutex
	of map[sip.AOR]sip.AOR
}

func (o *owners) get(alias sip.AOR) (sip.AOR, bool) {
	if o.n.Load() == 0 {
		return sip.AOR{}, false
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	owner, ok := o.of[alias]
	return owner, ok
}

// set states an alias; the zero owner is none.
func (o *owners) set(alias, owner sip.AOR) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if owner.IsZero() {
		delete(o.of, alias)
	} else {
		o.of[alias] = owner
	}
	o.n.Store(int64(len(o.of)))
}

func (o *owners) replace(of map[sip.AOR]sip.AOR) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of = of
	o.n.Store(int64(len(of)))
}

// aliasesEvery is after how long all aliases are read again: a hint of the store may be
// lost. aliasesRetry is how long that waits for a store that is away.
const (
	aliasesEvery = 10 * time.Minute
	aliasesRetry = time.Second
)

// followAliases keeps the aliases in memory until ctx ends.
func (d *Directory) followAliases(ctx context.Context) error {
	hints, err := d.aliases.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watch aliases: %w", err)
	}
	next := aliasesEvery
	if d.readAliases(ctx) != nil {
		next = aliasesRetry
	}
	d.done.Go(func() {
		again := time.NewTimer(next)
		defer again.Stop()
		for {
			select {
			case k, open := <-hints:
				if !open {
					return
				}
				if alias, err := sip.ParseAORString(k.Owner); err == nil {
					if a, _, _, err := d.aliases.Get(ctx, k.Owner, ""); err == nil {
						d.owners.set(alias, a.Owner)
					}
				}
			case <-again.C:
				next := aliasesEvery
				if d.readAliases(ctx) != nil {
					next = aliasesRetry
				}
				again.Reset(next)
			}
		}
	})
	return nil
}

func (d *Directory) readAliases(ctx context.Context) error {
	of := map[sip.AOR]sip.AOR{}
	list, err := d.Aliases(ctx)
	if err != nil {
		return err
	}
	for _, a := range list {
		of[a.AOR] = a.Owner
	}
	d.owners.replace(of)
	return nil
}

// Owner returns the account that an address is an alias of, or false. It looks into
// memory: of a change at another server it may learn a moment later.
func (d *Directory) Owner(alias sip.AOR) (sip.AOR, bool) { return d.owners.get(alias) }

// Aliases lists all aliases in the order of their addresses.
func (d *Directory) Aliases(ctx context.Context) ([]Alias, error) {
	var list []Alias
	for name, err := range d.aliases.Keys(ctx) {
		if err != nil {
			return nil, fmt.Errorf("list aliases: %w", err)
		}
		a, _, ok, err := d.aliases.Get(ctx, name, "")
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b Alias) int { return strings.Compare(a.AOR.String(), b.AOR.String()) })
	return slices.CompactFunc(list, func(a, b Alias) bool { return a.AOR == b.AOR }), nil
}

// AddAlias makes an alias; Created is set. It fails with ErrExists, ErrNoAccount of the
// owner, ErrDomain, ErrQuarantine or ErrAlias.
func (d *Directory) AddAlias(ctx context.Context, a Alias) error {
	name := a.AOR.String()
	a.Purpose = strings.TrimSpace(a.Purpose)
	switch {
	case !d.Serves(a.AOR.Domain()):
		return fmt.Errorf("%s: %w", name, ErrDomain)
	case a.Purpose == "" || len(a.Purpose) > MaxPurpose || !utf8.ValidString(a.Purpose) || strings.ContainsFunc(a.Purpose, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return fmt.Errorf("%w %s: the purpose is one line of 1 to %d bytes", ErrAlias, name, MaxPurpose)
	}
	if _, err := d.Get(ctx, a.Owner); err != nil {
		if to, ok, _ := d.alias(ctx, a.Owner.String()); ok {
			return fmt.Errorf("%w %s: %s is an alias itself, of %s", ErrAlias, name, a.Owner, to.Owner)
		}
		return fmt.Errorf("account %s: %w", a.Owner, err)
	}
	if err := d.quarantined(ctx, name); err != nil {
		return err
	}
	list, err := d.Aliases(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, other := range list {
		if other.Owner == a.Owner {
			n++
		}
	}
	if n >= MaxAliases {
		return fmt.Errorf("%w %s: %s has %d already", ErrAlias, name, a.Owner, n)
	}
	a.Created = time.Now().UTC().Truncate(time.Millisecond)
	put, err := d.aliases.Put(a)
	if err != nil {
		return err
	}
	_, err = d.aliases.Update(ctx, name, func(old []Alias) ([]store.Change, error) {
		if len(old) > 0 {
			return nil, d.taken(name, old[0])
		}
		return []store.Change{put}, nil
	})
	if err != nil {
		return err
	}
	// Looked at last: an account of that name may have been made meanwhile, which looks
	// for an alias first.
	if _, err := d.Get(ctx, a.AOR); !errors.Is(err, ErrNoAccount) {
		if err == nil {
			err = fmt.Errorf("account %s: %w", name, ErrExists)
		}
		return errors.Join(err, d.dropAlias(ctx, a.AOR))
	}
	d.owners.set(a.AOR, a.Owner)
	return nil
}

func (d *Directory) taken(name string, a Alias) error {
	return fmt.Errorf("%s is an alias of %s: %w", name, a.Owner, ErrExists)
}

// RemoveAlias deletes an alias, or returns ErrNoAlias, and keeps its name from being
// given to another one until then, as GiveUp does.
func (d *Directory) RemoveAlias(ctx context.Context, alias sip.AOR, until time.Time) error {
	if _, ok, err := d.alias(ctx, alias.String()); err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("%s: %w", alias, ErrNoAlias)
	}
	if err := d.quarantine(ctx, alias, until); err != nil {
		return err
	}
	return d.dropAlias(ctx, alias)
}

func (d *Directory) dropAlias(ctx context.Context, alias sip.AOR) error {
	if _, err := d.aliases.Apply(ctx, alias.String(), store.Any, store.Delete("")); err != nil {
		return err
	}
	d.owners.set(alias, sip.AOR{})
	return nil
}

// alias asks the store.
func (d *Directory) alias(ctx context.Context, name string) (Alias, bool, error) {
	a, _, ok, err := d.aliases.Get(ctx, name, "")
	return a, ok, err
}

// notAlias refuses a new account under a name that is an alias.
func (d *Directory) notAlias(ctx context.Context, name string) error {
	a, ok, err := d.alias(ctx, name)
	if err != nil || !ok {
		return err
	}
	return d.taken(name, a)
}
