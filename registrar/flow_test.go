package registrar_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/transport"
	"rollcall/store"
	"rollcall/store/embedded"
	"rollcall/store/storetest"
)

func TestFlowClosed(t *testing.T) {
	r := registrar.New(open(t, t.TempDir()), options())
	p := newPhone(t, r)
	p.ok("Contact: <sip:u@192.0.2.1>")
	p.flow = tcp(1)
	p.ok("Contact: <sip:a@192.0.2.1;transport=tcp>")
	p.ok("Contact: <sip:e@192.0.2.1>", "Path: <sip:edge.example.net;lr>") // reached by its Path
	p.ok("Contact: <sip:h@192.0.2.1>", "Via: SIP/2.0/TCP 192.0.2.30;branch=z9hG4bKx, SIP/2.0/TCP 192.0.2.10;branch=z9hG4bKy")
	p.flow = tcp(2)
	p.ok("Contact: <sip:b@192.0.2.2;transport=tcp>")
	p.flow = tcp(65) // the same shard as 1
	p.ok("Contact: <sip:c@192.0.2.3;transport=tcp>")
	var removed []string
	r.Observe(func(c *registrar.Change) {
		for _, b := range c.Removed {
			removed = append(removed, b.Contact)
		}
	})
	if err := r.FlowClosed(t.Context(), udp); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := r.FlowClosed(t.Context(), tcp(1)); err != nil {
			t.Error(err)
		}
	}
	equal(t, "removed", removed, []string{"sip:a@192.0.2.1;transport=tcp"})
	equal(t, "left", contacts(t, r), []string{"sip:u@192.0.2.1", "sip:e@192.0.2.1", "sip:h@192.0.2.1", "sip:b@192.0.2.2;transport=tcp", "sip:c@192.0.2.3;transport=tcp"})
}

// TestMovedToAnotherConnection: the end of the old connection does not take a
// binding that has moved to a new one.
func TestMovedToAnotherConnection(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	p.flow = tcp(1)
	p.ok("Contact: <sip:a@192.0.2.1;transport=tcp>")
	p.flow = tcp(2)
	p.ok("Contact: <sip:a@192.0.2.1;transport=tcp>")
	if err := p.r.FlowClosed(t.Context(), tcp(1)); err != nil {
		t.Error(err)
	}
	equal(t, "left", contacts(t, p.r), []string{"sip:a@192.0.2.1;transport=tcp"})
	if err := p.r.FlowClosed(t.Context(), tcp(2)); err != nil {
		t.Error(err)
	}
	equal(t, "left", contacts(t, p.r), []string{})
}

// TestManyOfOneConnection: a gateway registers many over one connection, and the
// store fails while it goes.
func TestManyOfOneConnection(t *testing.T) {
	st := storetest.Faulty(open(t, t.TempDir()), storetest.Faults{Seed: 1, Conflict: 0.3})
	r := registrar.New(st, options())
	for i := range 50 {
		user := fmt.Sprintf("sip:u%d@example.com", i)
		m, _ := message(t, user, 1, "To: <"+user+">", "Contact: <"+fmt.Sprintf("sip:u%d@192.0.2.9", i)+">")
		if _, _, err := r.Register(t.Context(), m, aor(t, user), tcp(3), time.Now(), nil); err != nil {
			t.Fatal(err)
		}
	}
	st.Set(storetest.Faults{Unavailable: 0.2, LostAnswer: 0.2, Conflict: 0.3})
	for try := 0; ; try++ {
		err := r.FlowClosed(t.Context(), tcp(3))
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrUnavailable) || try == 200 {
			t.Fatal(err)
		}
	}
	st.Set(storetest.Faults{})
	for all, err := range r.List(t.Context()) {
		t.Errorf("left: %v %v", all, err)
	}
}

// TestRestart: bindings over connections end with the process, others stay.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	run := func(boot uint32, f func(p *phone)) {
		db, err := embedded.Open(dir, embedded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		o := options()
		o.Boot = boot
		f(newPhone(t, registrar.New(db, o)))
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	first := tcp(1)
	run(boot, func(p *phone) {
		p.ok("Contact: <sip:u@192.0.2.1>;q=0.5", "Path: <sip:edge.example.net;lr>")
		p.flow = first
		p.ok("Contact: <sip:a@192.0.2.1;transport=tcp>" + one)
		p.ok("Contact: <sip:b@192.0.2.1;transport=tcp>" + two)
	})
	run(boot+1, func(p *phone) {
		b := lookup(t, p.r)
		if len(b) != 1 || b[0].Contact != "sip:u@192.0.2.1" || b[0].Q != 500 || b[0].Flow != udp || !slices.Equal(b[0].Path, []string{"<sip:edge.example.net;lr>"}) {
			t.Errorf("after the restart: %+v", b)
		}
		p.cseq = 2000
		if got := p.ok(); len(got) != 1 {
			t.Errorf("query: %q", got)
		}
		// The device that comes back is newly there, and the dead ones go.
		p.flow = first
		p.flow.Boot++
		p.ok("Contact: <sip:a@192.0.2.1;transport=tcp>" + one)
		if c := p.change; len(c.Added) != 1 || len(c.Removed) != 2 || !slices.Equal(c.NewDevices, []string{"urn:uuid:11111111-0000-1000-8000-AABBCCDDEEFF"}) {
			t.Errorf("change %+v", c)
		}
	})
	run(boot+2, func(p *phone) {
		gone := 0
		p.r.Observe(func(c *registrar.Change) { gone += len(c.Removed) })
		if err := p.r.Sweep(t.Context()); err != nil || gone != 1 {
			t.Errorf("sweep: %v, %d gone", err, gone)
		}
		equal(t, "left", contacts(t, p.r), []string{"sip:u@192.0.2.1"})
	})
}

// TestOtherProcesses: in a cluster the caller knows which processes live.
func TestOtherProcesses(t *testing.T) {
	db := open(t, t.TempDir())
	var lives atomic.Bool
	o := options()
	a := newPhone(t, registrar.New(db, o))
	a.flow = tcp(1)
	a.ok("Contact: <sip:a@192.0.2.1;transport=tcp>")
	o.Boot++
	o.Alive = func(f transport.Flow) bool { return f.Boot == o.Boot || f.Boot == boot && lives.Load() }
	b := registrar.New(db, o)
	equal(t, "dead", contacts(t, b), []string{})
	lives.Store(true)
	equal(t, "alive", contacts(t, b), []string{"sip:a@192.0.2.1;transport=tcp"})
	if err := b.FlowClosed(t.Context(), tcp(1)); err != nil {
		t.Error(err)
	}
	equal(t, "not ours to close", contacts(t, b), []string{"sip:a@192.0.2.1;transport=tcp"})
}

// TestClosedMeanwhile: a connection that goes while its REGISTER is at work
// leaves nothing behind.
func TestClosedMeanwhile(t *testing.T) {
	db := open(t, t.TempDir())
	var closed atomic.Bool
	o := options()
	o.Alive = func(transport.Flow) bool { return !closed.Load() }
	st := &hooked{Store: db}
	r := registrar.New(st, o)
	for name, when := range map[string]string{"before the store": "before", "after the store": "after", "without FlowClosed": "silent"} {
		t.Run(name, func(t *testing.T) {
			closed.Store(false)
			p := newPhone(t, r)
			p.flow = tcp(9)
			shut := func() {
				st.before, st.after = nil, nil
				if when == "silent" {
					closed.Store(true) // it was reported before the REGISTER was read
					return
				}
				closed.Store(when == "after")
				if err := r.FlowClosed(context.Background(), p.flow); err != nil {
					t.Error(err)
				}
			}
			if when == "after" {
				st.after = shut
			} else {
				st.before = shut
			}
			p.callID = name
			if _, err := p.try("Contact: <sip:a@192.0.2.1;transport=tcp>"); err == nil {
				t.Error("registered over a connection that is gone")
			}
			closed.Store(false)
			equal(t, "left", contacts(t, r), []string{})
		})
	}
}

// hooked calls a func around the next Apply.
type hooked struct {
	store.Store
	before, after func()
}

func (h *hooked) Apply(ctx context.Context, k store.Key, base store.Version, changes ...store.Change) (store.Version, error) {
	if h.before != nil {
		h.before()
	}
	v, err := h.Store.Apply(ctx, k, base, changes...)
	if h.after != nil {
		h.after()
	}
	return v, err
}

func TestBindingsExpire(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := embedded.Open(dir, embedded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		p := newPhone(t, registrar.New(db, options()))
		p.ok("Contact: <sip:a@192.0.2.1>;expires=60, <sip:b@192.0.2.2>;expires=100")
		time.Sleep(59500 * time.Millisecond)
		equal(t, "rounded up", p.ok(), []string{"Contact: <sip:a@192.0.2.1>;expires=1", "Contact: <sip:b@192.0.2.2>;expires=41"})
		time.Sleep(500 * time.Millisecond)
		equal(t, "after 60 s", contacts(t, p.r), []string{"sip:b@192.0.2.2"})
		equal(t, "query", p.ok(), []string{"Contact: <sip:b@192.0.2.2>;expires=40"})
		p.ok("Contact: <sip:a@192.0.2.1>")
		if !slices.Equal(p.change.NewDevices, []string{"sip:a@192.0.2.1"}) {
			t.Errorf("new devices %q", p.change.NewDevices)
		}
		time.Sleep(40 * time.Second)
		equal(t, "after 100 s", contacts(t, p.r), []string{"sip:a@192.0.2.1"})
	})
}

// TestManyAtOnce: devices of one account register at the same time, on a store
// that also makes conflicts up. Each gets its answer, none is lost.
func TestManyAtOnce(t *testing.T) {
	st := storetest.Faulty(open(t, t.TempDir()), storetest.Faults{Seed: 2, Conflict: 0.3})
	o := options()
	o.MaxContacts = 32
	r := registrar.New(st, o)
	alice := aor(t, "sip:alice@example.com")
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for seq := 1; seq <= 20; seq++ {
				m, wipe := message(t, fmt.Sprint("phone", i), seq, fmt.Sprintf("Contact: <sip:p%d@192.0.2.1>;expires=%d", i, 60+seq))
				lines, _, err := r.Register(t.Context(), m, alice, udp, time.Now(), nil)
				wipe()
				if err != nil {
					t.Errorf("phone %d: %v %s", i, err, lines)
				}
			}
		})
	}
	wg.Wait()
	all := lookup(t, r)
	for _, b := range all {
		if b.CSeq != 20 {
			t.Errorf("%s has CSeq %d", b.Contact, b.CSeq)
		}
	}
	if len(all) != 32 {
		t.Errorf("%d bindings", len(all))
	}
}

func TestStoreAway(t *testing.T) {
	st := storetest.Faulty(open(t, t.TempDir()), storetest.Faults{})
	r := registrar.New(st, options())
	p := newPhone(t, r)
	p.ok("Contact: <sip:a@192.0.2.1>")
	fails := func(want error) {
		t.Helper()
		_, err := p.try("Contact: <sip:a@192.0.2.1>;expires=0, <sip:b@192.0.2.2>")
		var fault *sip.Error
		if !errors.Is(err, want) || errors.As(err, &fault) || !p.change.IsZero() {
			t.Errorf("%v, want %v; %+v", err, want, p.change)
		}
	}
	st.Down(true)
	fails(store.ErrUnavailable)
	if _, err := r.Lookup(t.Context(), aor(t, "sip:alice@example.com")); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	st.Down(false)
	st.Set(storetest.Faults{Conflict: 1})
	fails(store.ErrConflict)
	st.Set(storetest.Faults{})
	equal(t, "unchanged", contacts(t, r), []string{"sip:a@192.0.2.1"})
	st.Set(storetest.Faults{LostAnswer: 1})
	fails(store.ErrUnavailable)
	st.Set(storetest.Faults{})
	p.ok("Contact: <sip:b@192.0.2.2>") // the next one of the device finds it done
	equal(t, "done", contacts(t, r), []string{"sip:b@192.0.2.2"})
}

// TestUnreadable: what another release wrote is no reason to turn a device away.
func TestUnreadable(t *testing.T) {
	db := open(t, t.TempDir())
	p := newPhone(t, registrar.New(db, options()))
	p.ok("Contact: <sip:a@192.0.2.1>, <sip:b@192.0.2.2>")
	var kind *store.Kind
	for _, k := range store.Kinds() {
		if k.Name() == "binding" {
			kind = k
		}
	}
	key := store.Key{Kind: kind, Owner: "sip:alice@example.com"}
	set, err := db.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	good := set.Items[0]
	for n := range len(good.Value) { // cut off anywhere, and of another version
		item := good
		item.Value = good.Value[:n:n]
		if n == 0 {
			item.Value = append([]byte{99}, good.Value[1:]...)
		}
		if _, err := db.Apply(t.Context(), key, store.Any, store.Put(item)); err != nil {
			t.Fatal(err)
		}
		for _, b := range lookup(t, p.r) {
			if b.Contact != "sip:b@192.0.2.2" && n < len(good.Value)-1 {
				t.Errorf("cut at %d: %+v", n, b)
			}
		}
	}
	p.ok("Contact: <sip:a@192.0.2.1>")
	equal(t, "contacts", contacts(t, p.r), []string{"sip:b@192.0.2.2", "sip:a@192.0.2.1"})
}
