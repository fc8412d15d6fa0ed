package registrar

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/sip/transport"
	"rollcall/store"
)

// Options are the settings of a Registrar. Zero values mean what stands beside
// them.
type Options struct {
	Default time.Duration // expiry of a contact that asks for none; one hour
	Min     time.Duration // less is answered 423, but for zero; one minute
	Max     time.Duration // more is shortened; two hours

	MaxContacts int // bindings of one address of record; 32

	// Domains are the domains whose addresses of record are kept here. Empty means
	// that the caller has checked them.
	Domains []string

	// Here reports an address that this server listens at: a contact there would
	// lead back. Nil knows only the address that the REGISTER came to.
	Here func(netip.AddrPort) bool

	// Boot is the process number in the flows of this process's connections.
	Boot uint32

	// Alive reports whether a flow over a connection still stands; it is not asked
	// about UDP. It is called on every Lookup and Register of such bindings, so it
	// must be quick. Nil means that the connections of this process stand until
	// FlowClosed and those of all others are gone; a server whose store has the
	// bindings of other nodes tells here which processes live.
	Alive func(transport.Flow) bool

	// Outbound makes the registrar say Require: outbound (RFC 5626 §6). It is for
	// a server that routes by flow, one flow of a device at a time.
	Outbound bool

	GRUUs *GRUUs // of devices that ask for them (RFC 5627); nil gives none

	Log *zap.Logger // nil logs nothing
}

// Limits of what one REGISTER may make grow. More is answered 400.
const (
	MaxContactURI = 1024 // bytes of a contact's URI
	MaxParams     = 1024 // bytes of a contact's header parameters
	MaxInstance   = 256  // bytes of +sip.instance
	MaxCallID     = 512  // bytes
	MaxPath       = 16   // values
	MaxPathBytes  = 2048 // bytes of all values
	MaxUserAgent  = 128  // bytes that are kept; the rest is cut off
)

// kindBinding holds the bindings: the owner is the AOR, an item is a binding.
var kindBinding = store.NewKind("binding", store.Soft, store.Hot)

// Registrar carries out REGISTER and answers where an address of record is
// bound. All methods may be called by many goroutines.
type Registrar struct {
	store   store.Store
	options atomic.Pointer[Options]
	flows   flowIndex
	recall  *recall // nil for a store in this process

	observeMu sync.Mutex // of writers of observers
	observers atomic.Pointer[[]func(*Change)]

	date     atomic.Pointer[dateLine]
	requests sync.Pool // *request
}

// New returns a registrar that keeps its bindings in st.
func New(st store.Store, o Options) *Registrar {
	r := &Registrar{store: st}
	if !st.Local() {
		r.recall = newRecall()
	}
	r.observers.Store(new([]func(*Change)))
	r.requests.New = func() any { return new(request) }
	r.Reload(o)
	return r
}

// Reload replaces the options, all of them. Bindings that exist stay as they are.
func (r *Registrar) Reload(o Options) {
	if o.Default <= 0 {
		o.Default = time.Hour
	}
	if o.Min <= 0 {
		o.Min = time.Minute
	}
	if o.Max <= 0 {
		o.Max = 2 * time.Hour
	}
	if o.MaxContacts <= 0 {
		o.MaxContacts = 32
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Alive == nil {
		boot := o.Boot
		o.Alive = func(f transport.Flow) bool { return f.Boot == boot }
	}
	o.Domains = slices.Clone(o.Domains)
	for i, d := range o.Domains {
		o.Domains[i] = strings.Trim(d, "[]") // an IPv6 address, as sip.URI has it
	}
	r.options.Store(&o)
}

// Extensions returns the option tags that the registrar understands in Require
// and for which the server may say Supported (RFC 3261 §10.3 item 2).
func (r *Registrar) Extensions() []string {
	all := []string{"path"}
	if r.options.Load().Outbound {
		all = append(all, "outbound")
	}
	if r.options.Load().GRUUs != nil {
		all = append(all, "gruu")
	}
	return all
}

// Observe makes f be called after each change, also those of FlowClosed, Clear
// and Sweep, but not when a binding expires. It runs in the goroutine that made
// the change, before the REGISTER is answered, and must not block. It must not
// change the Change. Changes of one address of record that happen at the same
// time may be told in another order than they were stored.
func (r *Registrar) Observe(f func(*Change)) {
	r.observeMu.Lock()
	defer r.observeMu.Unlock()
	all := append(slices.Clone(*r.observers.Load()), f)
	r.observers.Store(&all)
}

func (r *Registrar) tell(c *Change) {
	if c.IsZero() {
		return
	}
	for _, f := range *r.observers.Load() {
		f(c)
	}
}

func bindingKey(aor sip.AOR) store.Key { return store.Key{Kind: kindBinding, Owner: aor.String()} }

// Lookup returns the live bindings of an address of record, those with the
// highest q first, those with the same q in the order of their first
// registration. Nobody there is no error. An error that is store.ErrUnavailable
// may go away.
func (r *Registrar) Lookup(ctx context.Context, aor sip.AOR) ([]Binding, error) {
	return r.AppendTo(ctx, nil, aor, time.Now())
}

// AppendTo is Lookup that appends to a list. Now is the time. On an error the list is
// as it was.
func (r *Registrar) AppendTo(ctx context.Context, list []Binding, aor sip.AOR, now time.Time) ([]Binding, error) {
	set, err := r.store.Load(ctx, bindingKey(aor))
	if err != nil {
		return list, fmt.Errorf("load bindings of %s: %w", aor, err)
	}
	if len(set.Items) == 0 {
		return list, nil
	}
	o := r.options.Load()
	list = slices.Grow(list, len(set.Items))
	all := list[len(list):]
	sorted := true
	for _, item := range set.Items {
		var rec record
		if !item.Live(now) || !rec.read(o, aor, item) || !rec.alive(o) {
			continue
		}
		all = append(all, rec.binding(aor, item))
		if n := len(all); n > 1 && all[n-1].Q > all[n-2].Q {
			sorted = false
		}
	}
	if !sorted {
		slices.SortStableFunc(all, func(a, b Binding) int { return int(b.Q) - int(a.Q) })
	}
	return list[:len(list)+len(all)], nil
}

// List gives the live bindings of every address of record that has some, as
// Lookup returns them. It scans and is for operators. An error is given as the
// last pair.
func (r *Registrar) List(ctx context.Context) iter.Seq2[[]Binding, error] {
	return func(yield func([]Binding, error) bool) {
		for aor, err := range r.owners(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			all, err := r.Lookup(ctx, aor)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(all) > 0 && !yield(all, nil) {
				return
			}
		}
	}
}

func (r *Registrar) owners(ctx context.Context) iter.Seq2[sip.AOR, error] {
	return func(yield func(sip.AOR, error) bool) {
		for owner, err := range r.store.Keys(ctx, kindBinding) {
			if err != nil {
				yield(sip.AOR{}, fmt.Errorf("list bindings: %w", err))
				return
			}
			aor, err := sip.ParseAORString(owner)
			if err != nil {
				r.options.Load().Log.Warn("bindings of what is no address of record", zap.String("aor", owner), zap.Error(err))
				continue
			}
			if !yield(aor, nil) {
				return
			}
		}
	}
}

// Clear removes all bindings of an address of record, as when its account is
// disabled.
func (r *Registrar) Clear(ctx context.Context, aor sip.AOR) (Change, error) {
	return r.remove(ctx, aor, func(*record) bool { return true })
}

// Sweep removes the bindings whose connections are gone (Options.Alive). Nobody
// is sent there without it either; the server calls it at its start to be rid of
// those that an earlier process left behind.
func (r *Registrar) Sweep(ctx context.Context) error {
	for aor, err := range r.owners(ctx) {
		if err != nil {
			return err
		}
		if _, err := r.remove(ctx, aor, func(*record) bool { return false }); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the bindings that leave says yes to, and those that are dead
// anyway.
func (r *Registrar) remove(ctx context.Context, aor sip.AOR, leave func(*record) bool) (Change, error) {
	key := bindingKey(aor)
	for range applyTries {
		set, err := r.store.Load(ctx, key)
		if err != nil {
			return Change{}, fmt.Errorf("load bindings of %s: %w", aor, err)
		}
		o := r.options.Load()
		change := Change{AOR: aor}
		var steps []store.Change
		for _, item := range set.Items {
			var rec record
			if !rec.read(o, aor, item) {
				steps = append(steps, store.Delete(item.ID))
				continue
			}
			if leave(&rec) || !rec.alive(o) {
				steps = append(steps, store.Delete(item.ID))
				change.Removed = append(change.Removed, rec.binding(aor, item))
			}
		}
		if len(steps) == 0 {
			return Change{}, nil
		}
		switch _, err = r.store.Apply(ctx, key, set.Version, steps...); {
		case err == nil:
			r.tell(&change)
			return change, nil
		case !errors.Is(err, store.ErrConflict):
			return Change{}, fmt.Errorf("remove bindings of %s: %w", aor, err)
		}
	}
	return Change{}, fmt.Errorf("remove bindings of %s: %w", aor, store.ErrConflict)
}

// serves reports whether the host is one of the domains.
func (o *Options) serves(host string) bool {
	host = strings.Trim(host, "[]")
	for _, d := range o.Domains {
		if strings.EqualFold(d, host) {
			return true
		}
	}
	return false
}

// Key is where the store has the bindings.
func (r *Registrar) Key(aor sip.AOR) store.Key { return bindingKey(aor) }
