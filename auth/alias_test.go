package auth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/auth"
	"rollcall/store"
	"rollcall/store/redis"
	"rollcall/store/redis/redistest"
)

// TestAliases: an alias names an account, is nobody's name otherwise, and goes with the
// account, on both stores.
func TestAliases(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { testAliases(t, openStore(t)) })
	t.Run("redis", func(t *testing.T) {
		url, _ := redistest.Start(t)
		db, err := redis.Open(url, redis.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		testAliases(t, db)
	})
}

func testAliases(t *testing.T, s store.Store) {
	ctx := t.Context()
	d, other := openDirectory(t, s), openDirectory(t, s)
	for _, name := range []string{"alice@example.com", "bob@example.com"} {
		if err := d.Add(ctx, auth.Account{AOR: aor(t, name)}, "secret"); err != nil {
			t.Fatal(err)
		}
	}
	sales, alice := aor(t, "sales@example.com"), aor(t, "alice@example.com")
	if err := d.AddAlias(ctx, auth.Alias{AOR: sales, Owner: alice, Purpose: " orders ", By: "root"}); err != nil {
		t.Fatal(err)
	}
	if owner, ok := d.Owner(sales); !ok || owner != alice {
		t.Errorf("%s is of %s, %v", sales, owner, ok)
	}
	if _, ok := d.Owner(alice); ok {
		t.Error("an account is an alias")
	}
	list, err := d.Aliases(ctx)
	if err != nil || len(list) != 1 || list[0].Purpose != "orders" || list[0].By != "root" || time.Since(list[0].Created) > time.Minute {
		t.Errorf("%+v, %v", list, err)
	}
	if !s.Local() { // each process of this store is one of its own
		until(t, func() bool { owner, ok := other.Owner(sales); return ok && owner == alice })
	}
	if again := openDirectory(t, s); !known(again, "sales@example.com", t) {
		t.Error("not known after a start")
	}

	for _, c := range []struct {
		alias, owner, purpose string
		want                  error
	}{
		{"sales@example.com", "bob@example.com", "again", auth.ErrExists},
		{"bob@example.com", "alice@example.com", "an account", auth.ErrExists},
		{"loop@example.com", "sales@example.com", "an alias of an alias", auth.ErrAlias},
		{"x@example.com", "nobody@example.com", "no owner", auth.ErrNoAccount},
		{"x@example.org", "alice@example.com", "not ours", auth.ErrDomain},
		{"x@example.com", "alice@example.com", "", auth.ErrAlias},
		{"x@example.com", "alice@example.com", strings.Repeat("x", auth.MaxPurpose+1), auth.ErrAlias},
		{"x@example.com", "alice@example.com", "two\nlines", auth.ErrAlias},
		{"x@example.com", "alice@example.com", "no \xff text", auth.ErrAlias},
	} {
		if err := d.AddAlias(ctx, auth.Alias{AOR: aor(t, c.alias), Owner: aor(t, c.owner), Purpose: c.purpose}); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := d.Add(ctx, auth.Account{AOR: sales}, "secret"); !errors.Is(err, auth.ErrExists) {
		t.Errorf("an account under the name of an alias: %v", err)
	}
	if _, err := d.Import(ctx, strings.NewReader("aor,password\nsales@example.com,x\n"), nil); err == nil || !strings.Contains(err.Error(), "alias of sip:alice@example.com") {
		t.Errorf("import: %v", err)
	}
	for i := 1; i < auth.MaxAliases; i++ {
		if err := d.AddAlias(ctx, auth.Alias{AOR: aor(t, fmt.Sprintf("a%d@example.com", i)), Owner: alice, Purpose: "one of many"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.AddAlias(ctx, auth.Alias{AOR: aor(t, "more@example.com"), Owner: alice, Purpose: "too many"}); !errors.Is(err, auth.ErrAlias) {
		t.Errorf("more than there may be: %v", err)
	}

	until := time.Now().Add(time.Hour)
	if err := d.RemoveAlias(ctx, sales, until); err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveAlias(ctx, sales, until); !errors.Is(err, auth.ErrNoAlias) {
		t.Errorf("twice: %v", err)
	}
	if known(d, "sales@example.com", t) {
		t.Error("it is there")
	}
	if err := d.AddAlias(ctx, auth.Alias{AOR: sales, Owner: aor(t, "bob@example.com"), Purpose: "taken over"}); !errors.Is(err, auth.ErrQuarantine) {
		t.Errorf("a name that was given up: %v", err)
	}
	if err := d.GiveUp(ctx, alice, until); err != nil {
		t.Fatal(err)
	}
	if list, err := d.Aliases(ctx); err != nil || len(list) != 0 || known(d, "a1@example.com", t) {
		t.Errorf("aliases of an account that is gone: %d, %v", len(list), err)
	}
	if err := d.Add(ctx, auth.Account{AOR: aor(t, "a1@example.com")}, "secret"); !errors.Is(err, auth.ErrQuarantine) {
		t.Errorf("its alias as an account: %v", err)
	}
}

func known(d *auth.Directory, name string, t *testing.T) bool {
	_, ok := d.Owner(aor(t, name))
	return ok
}

func until(t *testing.T, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !f() {
		select {
		case <-ctx.Done():
			t.Fatal("not within 30 s")
		case <-time.After(5 * time.Millisecond):
		}
	}
}
