package embedded_test

import (
	"fmt"
	"testing"

	"rollcall/store"
	"rollcall/store/embedded"
	"rollcall/store/storetest"
)

// TestNear: it takes any keys, known or not, and changes nothing.
func TestNear(t *testing.T) {
	db, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var keys []store.Key
	for i := range 200 {
		k := store.Key{Kind: storetest.HotSoft, Owner: fmt.Sprintf("owner %d", i)}
		if i%2 == 0 {
			if _, err := db.Apply(t.Context(), k, 0, store.Put(store.Item{ID: "a", Value: make([]byte, i)})); err != nil {
				t.Fatal(err)
			}
		}
		keys = append(keys, k)
	}
	keys = append(keys[:40:40], store.Key{}, store.Key{Kind: storetest.HotSoft})
	db.Near(keys)
	db.Near(nil)
	for i := range 200 {
		set, err := db.Load(t.Context(), store.Key{Kind: storetest.HotSoft, Owner: fmt.Sprintf("owner %d", i)})
		if err != nil || len(set.Items) != (i+1)%2 {
			t.Fatalf("owner %d has %d items, %v", i, len(set.Items), err)
		}
	}
}
