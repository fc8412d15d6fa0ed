package event

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
	"rollcall/store"
)

// Requests sends a request of ours and tells how it ended: transaction.Layer.
type Requests interface {
	Request(f transport.Flow, branch string, data []byte, done transaction.Done)
}

// Transport is what the notifier asks of sockets.
type Transport interface {
	Alive(f transport.Flow) bool
	SentBy(f transport.Flow) (hostport string)
	// Reach gives then the flow for a request of so many bytes to a URI that was
	// learned over from: at once if there is one, else when it is made. False: there
	// is no way.
	Reach(uri string, from transport.Flow, size int, then func(transport.Flow, bool))
	// Post runs f soon where what it sends leaves together.
	Post(f func())
}

// Accounts tells which addresses of record exist.
type Accounts interface {
	Has(ctx context.Context, aor sip.AOR) (bool, error)
	// Owner returns the account that an address is an alias of. It waits for nothing.
	Owner(alias sip.AOR) (sip.AOR, bool)
}

// Settings may change while the server runs.
type Settings struct {
	MaxPerWatcher int           // subscriptions of one account; 1,000
	MaxInAll      int           // subscriptions of this server; 500,000
	MaxPublished  int           // publications for one resource and package; 32
	FlowGrace     time.Duration // how long a publication outlives its connection; 30 s
	GiveUp        time.Duration // how long a watcher is remembered that nobody decided about; a week
}

func (s *Settings) setDefaults() {
	def := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	def(&s.MaxPerWatcher, 1000)
	def(&s.MaxInAll, 500_000)
	def(&s.MaxPublished, 32)
	if s.FlowGrace <= 0 {
		s.FlowGrace = 30 * time.Second
	}
	if s.GiveUp <= 0 {
		s.GiveUp = 7 * 24 * time.Hour
	}
}

// Options are what a Notifier works with.
type Options struct {
	Store     store.Store
	Requests  Requests
	Transport Transport
	Accounts  Accounts
	Lists     Lists // nil: none

	// Bound reports whether the account is registered from the address: a device
	// that closed a connection, on which it sent what was too long for a datagram, is
	// still there. Nil: it is not.
	Bound func(ctx context.Context, account sip.AOR, from netip.Addr) bool

	// Apart names the rule of the company that keeps a watcher from learning anything of
	// a resource, whatever the package would allow; "" when none does. Nil: none does.
	Apart func(ctx context.Context, watcher, resource sip.AOR) string

	Settings Settings
	Log      *zap.Logger
	// Go runs what has to wait on a goroutine of its own.
	Go func(func())
}

// Counters count what happens; read with Load.
type Counters struct {
	Subscriptions atomic.Int64 // that live now
	Notified      atomic.Uint64
	Unchanged     atomic.Uint64 // NOTIFYs spared because nothing changed for the watcher
	Ended         atomic.Uint64 // by the watcher's answer or silence
	Refused       atomic.Uint64
	Published     atomic.Uint64
	Failed        atomic.Uint64 // compositions that failed
}

// pack is a registered package with its abilities.
type pack struct {
	Package
	spec    Spec
	publish Publishable
	partial Partial
	filter  Filterable
	members MemberFilter
	viewer  Viewer
	hearer  Hearer
	observe []func(sip.AOR)
	apart   func(ctx context.Context, watcher, resource sip.AOR) string // nil: none
	list    *pack                                                       // of its lists: a queue beside that of the single resource
}

// Authorize asks the company's rules first, and then the package.
func (k *pack) Authorize(ctx context.Context, resource sip.AOR, w Watcher) (Verdict, error) {
	if k.apart != nil {
		if rule := k.apart(ctx, w.AOR, resource); rule != "" {
			return Verdict{Rule: rule}, nil
		}
	}
	return k.Package.Authorize(ctx, resource, w)
}

// listSuffix marks the lists of a package in the store.
const listSuffix = " list"

// Notifier is the engine. All methods may be called by many goroutines.
type Notifier struct {
	Counters Counters

	o        Options
	settings atomic.Pointer[Settings]
	packs    map[string]*pack // fixed before the first request
	allow    string           // Allow-Events
	seed     maphash.Seed
	shards   [shardCount]shard
	clock    clock
	flows    flows

	countMu  sync.Mutex
	watchers map[sip.AOR]int                        // subscriptions of each watcher
	lists    map[sip.AOR]map[*subscription]struct{} // those to lists, of each watcher

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

const shardCount = 64

// shard is a part of the tables. mu guards the maps and is held for a look only.
type shard struct {
	mu        sync.Mutex
	resources map[resourceKey]*resource
	subs      map[string]*subscription // by local tag
}

type resourceKey struct {
	pkg string
	aor sip.AOR
}

// New makes a notifier of packages. Recover must be called before the first
// request, Close at the end.
func New(o Options, packages ...Package) *Notifier {
	o.Settings.setDefaults()
	n := &Notifier{o: o, packs: map[string]*pack{}, seed: maphash.MakeSeed(), watchers: map[sip.AOR]int{}, lists: map[sip.AOR]map[*subscription]struct{}{}}
	n.settings.Store(&o.Settings)
	n.ctx, n.stop = context.WithCancel(context.Background())
	for i := range n.shards {
		n.shards[i].resources, n.shards[i].subs = map[resourceKey]*resource{}, map[string]*subscription{}
	}
	var names []string
	for _, p := range packages {
		k := &pack{Package: p, spec: p.Spec(), apart: o.Apart}
		k.publish, _ = p.(Publishable)
		k.partial, _ = p.(Partial)
		k.filter, _ = p.(Filterable)
		k.members, _ = p.(MemberFilter)
		k.viewer, _ = p.(Viewer)
		k.hearer, _ = p.(Hearer)
		n.packs[k.spec.Name] = k
		of := *k
		of.spec.Name += listSuffix
		k.list = &of
		names = append(names, k.spec.Name)
	}
	n.allow = strings.Join(names, ", ")
	for _, p := range packages {
		if s, ok := p.(Source); ok {
			s.Start(n)
		}
	}
	if l, ok := o.Lists.(interface{ Observe(func(owner sip.AOR)) }); ok {
		l.Observe(n.relist)
	}
	n.wg.Go(n.run)
	return n
}

// Reload applies new settings to what comes from now on.
func (n *Notifier) Reload(s Settings) {
	s.setDefaults()
	n.settings.Store(&s)
}

// AllowEvents is the value of Allow-Events (RFC 6665 §8.2.2).
func (n *Notifier) AllowEvents() string { return n.allow }

// Close ends the timers. Subscriptions stay in the store.
func (n *Notifier) Close() {
	n.stop()
	n.wg.Wait()
}

// run wakes resources when something of theirs is due, and follows what other
// processes published.
func (n *Notifier) run() {
	var hints <-chan store.Key
	if !n.o.Store.Local() {
		if c, err := n.o.Store.Watch(n.ctx, kindPublication); err == nil {
			hints = c
		} else {
			n.o.Log.Warn("watch publications", zap.Error(err))
		}
	}
	t := time.NewTicker(clockTick)
	defer t.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case now := <-t.C:
			for _, r := range n.clock.due(now) {
				n.wake(r, false)
			}
		case k, ok := <-hints:
			if !ok {
				hints = nil
				continue
			}
			if pkg, owner, ok := strings.Cut(k.Owner, " "); ok {
				if aor, err := sip.ParseAORString(owner); err == nil {
					n.Changed(pkg, aor)
				}
			}
		}
	}
}

// isList tells the queue of a list from that of single resources.
func (k *pack) isList() bool { return strings.HasSuffix(k.spec.Name, listSuffix) }

func (n *Notifier) shardOf(s string) *shard { return &n.shards[maphash.String(n.seed, s)%shardCount] }

// resource returns the resource somebody watches, with missing one that is made if nobody does.
func (n *Notifier) resource(k *pack, aor sip.AOR, missing bool) *resource {
	key := resourceKey{k.spec.Name, aor}
	sh := n.shardOf(aor.String())
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.resources[key]
	if r == nil && missing {
		r = &resource{pack: k, aor: aor}
		sh.resources[key] = r
	}
	return r
}

// newTag is unguessable: a To tag names a subscription, an entity-tag a publication.
func newTag() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (n *Notifier) packOf(m *sip.Message) (*pack, *sip.Error) {
	name, _, _ := strings.Cut(m.Get(sip.HeaderEvent), ";")
	name = strings.ToLower(strings.TrimSpace(name)) // some clients write it with a capital letter
	if k := n.packs[name]; k != nil {
		return k, nil
	}
	return nil, sip.NewError(sip.StatusBadEvent, "", sip.Field{Name: "Allow-Events", Value: n.allow}) // RFC 6665 §8.3.2
}

// account refuses resources that no account has.
func (n *Notifier) account(ctx context.Context, m *sip.Message) (sip.AOR, error) {
	aor, err := sip.ParseAOR(m.URI())
	if err != nil {
		return aor, sip.NewError(sip.StatusNotFound, "")
	}
	aor = n.owner(aor)
	known, err := n.o.Accounts.Has(ctx, aor)
	if err != nil {
		return aor, err
	}
	if !known {
		return aor, sip.NewError(sip.StatusNotFound, "")
	}
	return aor.Clone(), nil
}

// owner returns whose address it is: an alias is its account's.
func (n *Notifier) owner(aor sip.AOR) sip.AOR {
	if owner, ok := n.o.Accounts.Owner(aor); ok {
		return owner
	}
	return aor
}

// expires reads the asked duration (RFC 6665 §4.1.2.1, RFC 3903 §6 item 4) within
// the package's bounds.
func expires(m *sip.Message, def, least, most time.Duration) (time.Duration, *sip.Error) {
	v := m.Get(sip.HeaderExpires)
	if v == "" {
		return def, nil
	}
	s, ok := sip.ParseUint(v)
	if !ok {
		return 0, sip.NewError(sip.StatusBadRequest, "Malformed Expires")
	}
	d := time.Duration(s) * time.Second
	if d > 0 && d < least && d < time.Hour { // RFC 6665 §4.2.1.1: not for an hour or more
		return 0, sip.NewError(sip.StatusIntervalTooBrief, "", sip.Field{Name: "Min-Expires", Value: fmt.Sprint(int(least / time.Second))})
	}
	return min(d, most), nil
}

var errNoRoute = errors.New("no way to the watcher")

// ErrTooMany is of a local watcher who would have too many subscriptions.
var ErrTooMany = errors.New("too many subscriptions")

// ErrNoPackage is returned for an event package that is not here.
var ErrNoPackage = errors.New("no such event package")
