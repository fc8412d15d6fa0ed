package auth_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/auth"
	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/store"
	"rollcall/store/embedded"
)

func TestAccounts(t *testing.T) {
	ctx := t.Context()
	d := openDirectory(t, openStore(t))
	dave := auth.Account{AOR: aor(t, "dave@example.com"), DisplayName: "Dave Ö", Email: "dave@example.com", Unit: "ops", Groups: []string{"a", "b"}}
	if _, err := d.Get(ctx, dave.AOR); !errors.Is(err, auth.ErrNoAccount) {
		t.Errorf("Get of nobody: %v", err)
	}
	if _, err := d.Lookup(ctx, dave.AOR); !errors.Is(err, auth.ErrNoAccount) {
		t.Errorf("Lookup of nobody: %v", err)
	}
	if _, err := d.Lookup(ctx, sip.AOR{}); !errors.Is(err, auth.ErrNoAccount) {
		t.Errorf("Lookup of the zero AOR: %v", err)
	}
	if has, err := d.Has(ctx, dave.AOR); has || err != nil {
		t.Errorf("Has of nobody: %v, %v", has, err)
	}
	before := time.Now().Add(-time.Millisecond)
	if err := d.Add(ctx, dave, "secret"); err != nil {
		t.Fatal(err)
	}
	if err := d.Add(ctx, dave, "other"); !errors.Is(err, auth.ErrExists) {
		t.Errorf("second Add: %v", err)
	}
	got, err := d.Get(ctx, dave.AOR)
	if err != nil {
		t.Fatal(err)
	}
	if got.AOR != dave.AOR || got.DisplayName != dave.DisplayName || got.Email != dave.Email || got.Unit != dave.Unit ||
		!slices.Equal(got.Groups, dave.Groups) || got.Disabled || got.Created.Before(before) || got.Changed != got.Created ||
		got.Secrets != digest.NewSecrets("dave", "example.com", "secret") {
		t.Errorf("got %+v", got)
	}
	p, err := d.Lookup(ctx, dave.AOR)
	if err != nil || p.AOR() != dave.AOR || p.DisplayName() != dave.DisplayName || p.Email() != dave.Email || p.Unit() != dave.Unit || !slices.Equal(p.Groups(), dave.Groups) {
		t.Errorf("person %v, %v", p, err)
	}

	if err := d.SetPassword(ctx, dave.AOR, "changed"); err != nil {
		t.Fatal(err)
	}
	if err := d.SetDisabled(ctx, dave.AOR, true); err != nil {
		t.Fatal(err)
	}
	after, err := d.Get(ctx, dave.AOR)
	if err != nil || !after.Disabled || after.Secrets != digest.NewSecrets("dave", "example.com", "changed") || after.Created != got.Created || after.DisplayName != got.DisplayName {
		t.Errorf("changed to %+v, %v", after, err)
	}
	if err := d.Put(ctx, auth.Account{AOR: dave.AOR, Unit: "sales"}); err != nil {
		t.Fatal(err)
	}
	after, err = d.Get(ctx, dave.AOR)
	if err != nil || after.Disabled || after.Unit != "sales" || after.DisplayName != "" || after.Groups != nil || after.Secrets != digest.NewSecrets("dave", "example.com", "changed") {
		t.Errorf("put is %+v, %v", after, err)
	}
	if err := d.Delete(ctx, dave.AOR); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Delete":      d.Delete(ctx, dave.AOR),
		"SetPassword": d.SetPassword(ctx, dave.AOR, "x"),
		"SetDisabled": d.SetDisabled(ctx, dave.AOR, true),
	} {
		if !errors.Is(err, auth.ErrNoAccount) {
			t.Errorf("%s of nobody: %v", name, err)
		}
	}
	if err := d.Put(ctx, auth.Account{AOR: dave.AOR}); !errors.Is(err, auth.ErrNoPassword) {
		t.Errorf("Put without password: %v", err)
	}
}

func TestAccountsThatAreRefused(t *testing.T) {
	ctx := t.Context()
	d := openDirectory(t, openStore(t))
	eve := aor(t, "eve@example.com")
	for name, a := range map[string]auth.Account{
		"nobody":         {},
		"foreign domain": {AOR: aor(t, "eve@example.org")},
		"long name":      {AOR: eve, DisplayName: strings.Repeat("x", 257)},
		"control":        {AOR: eve, DisplayName: "a\r\nb"},
		"not UTF-8":      {AOR: eve, Unit: "\xff"},
		"empty group":    {AOR: eve, Groups: []string{""}},
		"split group":    {AOR: eve, Groups: []string{"a;b"}},
		"many groups":    {AOR: eve, Groups: slices.Repeat([]string{"g"}, 257)},
	} {
		if err := d.Add(ctx, a, "password"); err == nil {
			t.Errorf("%s: added", name)
		}
	}
	for _, password := range []string{"", "a\nb", "\xff", strings.Repeat("p", 513)} {
		err := d.Add(ctx, auth.Account{AOR: eve}, password)
		if !errors.Is(err, auth.ErrPassword) || password != "" && strings.Contains(err.Error(), password) {
			t.Errorf("password %.10q: %v", password, err)
		}
	}
	if has, err := d.Has(ctx, eve); has || err != nil {
		t.Errorf("eve is there: %v, %v", has, err)
	}
}

func TestList(t *testing.T) {
	d := openDirectory(t, openStore(t))
	for _, name := range []string{"c@example.com", "a@example.net", "b@example.com", "a@example.com"} {
		if err := d.Add(t.Context(), auth.Account{AOR: aor(t, name)}, "password"); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for a, err := range d.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a.AOR.String())
	}
	if want := []string{"sip:a@example.com", "sip:a@example.net", "sip:b@example.com", "sip:c@example.com"}; !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
}

// The stored form outlives this release: a newer one may have put fields into it
// that must not be lost by a change of this one.
func TestUnknownFieldsAreKept(t *testing.T) {
	ctx := t.Context()
	s := openStore(t)
	d := openDirectory(t, s)
	who := aor(t, "alice@example.com")
	if err := d.Add(ctx, auth.Account{AOR: who, Unit: "ops"}, "password"); err != nil {
		t.Fatal(err)
	}
	kinds := store.Kinds()
	kind := kinds[slices.IndexFunc(kinds, func(k *store.Kind) bool { return k.Name() == "account" })]
	key := store.Key{Kind: kind, Owner: who.String()}
	set, err := s.Load(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	newer := append(slices.Clone(set.Items[0].Value), 0x80, 0x01, 3, 'a', 'b', 'c', 77, 0)
	if _, err := s.Apply(ctx, key, set.Version, store.Put(store.Item{Value: newer})); err != nil {
		t.Fatal(err)
	}
	if err := d.SetPassword(ctx, who, "other"); err != nil {
		t.Fatal(err)
	}
	set, err = s.Load(ctx, key)
	if err != nil || !strings.HasSuffix(string(set.Items[0].Value), "\x80\x01\x03abc\x4d\x00") {
		t.Errorf("stored %q, %v", set.Items[0].Value, err)
	}
	if p, err := d.Lookup(ctx, who); err != nil || p.Unit() != "ops" {
		t.Errorf("unit %q, %v", p.Unit(), err)
	}

	for name, value := range map[string][]byte{"newer version": append([]byte{2}, newer[1:]...), "cut": newer[:50], "cut field": newer[:110], "empty": {}} {
		if _, err := s.Apply(ctx, key, store.Any, store.Put(store.Item{Value: value})); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Get(ctx, who); err == nil || errors.Is(err, auth.ErrNoAccount) {
			t.Errorf("%s: %v", name, err)
		}
		if p, err := d.Lookup(ctx, who); err == nil && (p.Disabled() || p.Unit() != "") {
			t.Errorf("%s: %v", name, p)
		}
	}
}

func TestRemoteDirectoryCaches(t *testing.T) {
	ctx := t.Context()
	db := openStore(t)
	s := &countingStore{Store: db}
	here, there := openDirectory(t, s), openDirectory(t, &countingStore{Store: db})
	who := aor(t, "alice@example.com")
	if err := there.Add(ctx, auth.Account{AOR: who, Unit: "1"}, "password"); err != nil {
		t.Fatal(err)
	}
	waitFor := func(unit string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			p, err := here.Lookup(ctx, who)
			if err == nil && p.Unit() == unit {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("unit %q, %v, want %q", p.Unit(), err, unit)
			}
		}
	}
	waitFor("1")
	time.Sleep(10 * time.Millisecond) // the hint of the Add has come
	waitFor("1")
	s.loads = 0
	for range 100 {
		waitFor("1")
	}
	if s.loads != 0 {
		t.Errorf("%d loads of a cached account", s.loads)
	}
	for i := range 20 { // the other process's changes come by hints
		unit := fmt.Sprint("unit ", i)
		if err := there.Put(ctx, auth.Account{AOR: who, Unit: unit}); err != nil {
			t.Fatal(err)
		}
		waitFor(unit)
	}
	for i := range 20 { // its own are there at once
		unit := fmt.Sprint("own ", i)
		if err := here.Put(ctx, auth.Account{AOR: who, Unit: unit}); err != nil {
			t.Fatal(err)
		}
		if p, err := here.Lookup(ctx, who); err != nil || p.Unit() != unit {
			t.Fatalf("unit %q, %v, want %q", p.Unit(), err, unit)
		}
	}
	if err := here.Delete(ctx, who); err != nil {
		t.Fatal(err)
	}
	if has, err := here.Has(ctx, who); has || err != nil {
		t.Errorf("deleted, and Has is %v, %v", has, err)
	}
}

func TestDirectoryOnClosedStore(t *testing.T) {
	db, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := auth.NewDirectory(&countingStore{Store: db}, domains)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lookup(context.Background(), aor(t, "alice@example.com")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Lookup: %v", err)
	}
	d.Close()
	d.Close()
}

func manyAccounts(t testing.TB, d *auth.Directory, n int) {
	t.Helper()
	var b strings.Builder
	b.WriteString("aor,password,display_name,email,unit,groups\n")
	for i := range n {
		fmt.Fprintf(&b, "sip:user%06d@example.com,secret%d,User Number %d,user%06d@example.com,unit %d,staff;floor %d\n", i, i, i, i, i%30, i%7)
	}
	if _, err := d.Import(t.Context(), strings.NewReader(b.String()), nil); err != nil {
		t.Fatal(err)
	}
}

func TestMemoryOfAnAccount(t *testing.T) {
	const n = 20_000
	d := openDirectory(t, openStore(t))
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	manyAccounts(t, d, n)
	each := (heap() - before) / n
	t.Logf("%d bytes each, the store's included", each)
	if each > 600 {
		t.Errorf("an account takes %d bytes of memory", each)
	}
	runtime.KeepAlive(d)
}

func BenchmarkLookup(b *testing.B) {
	db := openStore(b)
	for name, s := range map[string]store.Store{"local": db, "cached": &countingStore{Store: db}} {
		b.Run(name, func(b *testing.B) {
			const n = 10_000
			d := openDirectory(b, s)
			manyAccounts(b, d, n)
			aors := make([]sip.AOR, n)
			for i := range aors {
				aors[i] = aor(b, fmt.Sprintf("user%06d@example.com", i))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := d.Lookup(b.Context(), aors[i%n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	for _, algorithm := range []digest.Algorithm{digest.MD5, digest.SHA256} {
		b.Run(algorithm.String(), func(b *testing.B) {
			a := open(b, openStore(b), auth.Options{})
			c := newClient(b, a)
			c.algorithm = algorithm
			_, err := c.send()
			c.take(err)
			messages := make([]*sip.Message, 1<<10)
			fresh := func() {
				_, err := c.send()
				c.take(err)
				for i := range messages {
					messages[i] = c.message(c.credentials())
				}
			}
			b.ReportAllocs()
			ctx := context.Background()
			for i := 0; b.Loop(); i++ {
				if i%len(messages) == 0 {
					b.StopTimer()
					fresh()
					b.StartTimer()
				}
				if _, err := a.Authenticate(ctx, messages[i%len(messages)], auth.Server, office, c.now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("challenge", func(b *testing.B) {
		a := open(b, openStore(b), auth.Options{})
		c := newClient(b, a)
		m := c.message()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Authenticate(context.Background(), m, auth.Server, office, c.now); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}
