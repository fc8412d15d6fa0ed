package auth_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"rollcall/auth"
	"rollcall/store/embedded"
)

// TestGroups: who is in a group follows the accounts: those that join, leave, are
// disabled, change their name or go.
func TestGroups(t *testing.T) {
	db, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d, err := auth.NewDirectory(db, []string{"example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	changed := make(chan struct{}, 100)
	g, err := auth.NewGroups(d, func() { changed <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	put := func(user, name string, groups ...string) {
		t.Helper()
		if err := d.Put(t.Context(), auth.Account{AOR: aor(t, user+"@example.com"), DisplayName: name, Groups: groups}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(address string, members ...string) {
		t.Helper()
		var got []string
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			list, err := g.Members(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			got = nil
			for _, m := range list {
				got = append(got, fmt.Sprintf("%s %s", m.AOR.User(), m.Name))
			}
			if slices.Equal(got, members) {
				return
			}
		}
		t.Fatalf("%s has %q, want %q", address, got, members)
	}
	for _, user := range []string{"alice", "bob", "carol"} {
		if err := d.Add(t.Context(), auth.Account{AOR: aor(t, user+"@example.com")}, user); err != nil {
			t.Fatal(err)
		}
	}
	want("sales-team")
	put("alice", "Zoe", "Sales Team")
	put("bob", "bob", "sales team", "Lunch")
	put("carol", "Carol", "Sales Team", "sales team")
	want("sales-team", "bob bob", "carol Carol", "alice Zoe")
	want("lunch", "bob bob")
	<-changed
	put("alice", "Alice", "Sales Team")
	want("sales-team", "alice Alice", "bob bob", "carol Carol")
	if err := d.SetDisabled(t.Context(), aor(t, "bob"+"@example.com"), true); err != nil {
		t.Fatal(err)
	}
	put("carol", "Carol")
	want("sales-team", "alice Alice")
	if err := d.Delete(t.Context(), aor(t, "alice"+"@example.com")); err != nil {
		t.Fatal(err)
	}
	want("sales-team")
	if names, err := g.Names(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("groups without members: %q, %v", names, err)
	}
}
