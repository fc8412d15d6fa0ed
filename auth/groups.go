package auth

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"rollcall/sip"
)

// Groups knows who is in which group, for lists of contacts. It reads all accounts when
// it is first asked, and follows their changes from then on. Its methods may be called
// by many goroutines.
type Groups struct {
	d         *Directory
	observers []func()

	reading chan struct{} // full while all accounts are being read

	mu     sync.Mutex
	read   time.Time // when all accounts were read; zero: not yet
	hinted []string  // what changed while they are being read; nil: they are not
	table

	stop context.CancelFunc
	done sync.WaitGroup
}

// GroupMember is an account in a group.
type GroupMember struct {
	AOR    sip.AOR
	Name   string // display name
	Groups []string
}

const (
	// groupsEvery is after how long all accounts are read again: a hint of the store may
	// be lost.
	groupsEvery = 10 * time.Minute
	// groupsSettle gathers changes that come together, as of an import.
	groupsSettle = 100 * time.Millisecond
)

// NewGroups follows the accounts of d until Close. Observers are called, on a goroutine
// of its own, when the members of any group may have changed.
func NewGroups(d *Directory, observers ...func()) (*Groups, error) {
	ctx, cancel := context.WithCancel(context.Background())
	hints, err := d.table.Watch(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch accounts: %w", err)
	}
	g := &Groups{d: d, observers: observers, stop: cancel, reading: make(chan struct{}, 1)}
	g.done.Go(func() {
		settle := time.NewTimer(time.Hour)
		settle.Stop()
		for {
			select {
			case k, open := <-hints:
				if !open {
					return
				}
				if g.follow(ctx, k.Owner) {
					settle.Reset(groupsSettle)
				}
			case <-settle.C:
				for _, f := range g.observers {
					f()
				}
			}
		}
	})
	return g, nil
}

// Close ends following.
func (g *Groups) Close() {
	g.stop()
	g.done.Wait()
}

// GroupAddress is how a group is written in an address: letters in lower case, digits,
// dots and dashes, and a dash for anything else.
func GroupAddress(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
			return c
		case c >= 'A' && c <= 'Z':
			return c + ('a' - 'A')
		}
		return '-'
	}, strings.TrimSpace(name))
}

// follow looks at an account again, and reports whether the members of a group changed.
func (g *Groups) follow(ctx context.Context, owner string) bool {
	g.mu.Lock()
	known := !g.read.IsZero()
	if g.hinted != nil {
		g.hinted = append(g.hinted, owner)
	}
	g.mu.Unlock()
	if !known {
		return false
	}
	aor, err := sip.ParseAORString(owner)
	if err != nil {
		return false
	}
	a, err := g.d.Get(ctx, aor)
	if err != nil {
		a = &Account{AOR: aor} // gone, as far as lists go
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.put(a)
}

// table is who is in which group.
type table struct {
	members map[string]map[sip.AOR]string // display names
	of      map[sip.AOR][]string          // the groups of each account that has any
}

// put states the groups of an account.
func (g *table) put(a *Account) (changed bool) {
	var next []string
	if !a.Disabled {
		next = a.Groups
	}
	for _, name := range g.of[a.AOR] {
		if !slices.Contains(next, name) {
			delete(g.members[name], a.AOR)
			changed = true
		}
	}
	delete(g.of, a.AOR)
	if len(next) == 0 {
		return changed
	}
	g.of[a.AOR] = next
	for _, name := range next {
		m := g.members[name]
		if m == nil {
			m = map[sip.AOR]string{}
			g.members[name] = m
		}
		if was, there := m[a.AOR]; !there || was != a.DisplayName {
			m[a.AOR] = a.DisplayName
			changed = true
		}
	}
	return changed
}

// load reads all accounts if that is due.
func (g *Groups) load(ctx context.Context) error {
	if g.fresh() {
		return nil
	}
	select {
	case g.reading <- struct{}{}:
		defer func() { <-g.reading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if g.fresh() { // somebody else has read them meanwhile
		return nil
	}
	g.mu.Lock()
	g.hinted = []string{}
	g.mu.Unlock()
	t := table{map[string]map[sip.AOR]string{}, map[sip.AOR][]string{}}
	var err error
	for a, failed := range g.d.List(ctx) {
		if err = failed; err != nil {
			break
		}
		if g.d.Serves(a.AOR.Domain()) {
			t.put(a)
		}
	}
	g.mu.Lock()
	hinted := g.hinted
	g.hinted = nil
	if err == nil {
		g.table, g.read = t, time.Now()
	}
	g.mu.Unlock()
	if err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	for _, owner := range hinted {
		g.follow(ctx, owner)
	}
	return nil
}

func (g *Groups) fresh() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.read.IsZero() && time.Since(g.read) < groupsEvery
}

// Names lists the groups that have members, sorted.
func (g *Groups) Names(ctx context.Context) ([]string, error) {
	if err := g.load(ctx); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var names []string
	for name, m := range g.members {
		if len(m) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Members lists who is in the groups that an address names (GroupAddress), sorted by
// name and address: accounts that are not disabled.
func (g *Groups) Members(ctx context.Context, address string) ([]GroupMember, error) {
	if err := g.load(ctx); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []GroupMember
	for name, m := range g.members {
		if GroupAddress(name) != address {
			continue
		}
		for aor, display := range m {
			list = append(list, GroupMember{aor, display, g.of[aor]})
		}
	}
	slices.SortFunc(list, func(a, b GroupMember) int {
		if c := strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)); c != 0 {
			return c
		}
		return strings.Compare(a.AOR.String(), b.AOR.String())
	})
	return slices.CompactFunc(list, func(a, b GroupMember) bool { return a.AOR == b.AOR }), nil
}
