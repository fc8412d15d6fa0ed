package store_test

import (
	"strings"
	"testing"

	"rollcall/store"
)

func TestNewKind(t *testing.T) {
	k := store.NewKind("some-kind-1", store.Durable, store.Cold)
	if k.Name() != "some-kind-1" || k.Life() != store.Durable || k.Place() != store.Cold || k.String() != "some-kind-1" {
		t.Errorf("kind %v, %v, %v", k, k.Life(), k.Place())
	}
	if store.Kinds()[k.Index()] != k {
		t.Error("the index is not that in Kinds")
	}
	for name, declare := range map[string]func(){
		"twice":       func() { store.NewKind("some-kind-1", store.Soft, store.Hot) },
		"empty":       func() { store.NewKind("", store.Soft, store.Hot) },
		"capitals":    func() { store.NewKind("Bindings", store.Soft, store.Hot) },
		"with braces": func() { store.NewKind("{a}", store.Soft, store.Hot) },
		"long":        func() { store.NewKind(strings.Repeat("a", 33), store.Soft, store.Hot) },
		"no life":     func() { store.NewKind("no-life", 0, store.Hot) },
		"no place":    func() { store.NewKind("no-place", store.Soft, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it is taken")
				}
			}()
			declare()
		})
	}
	if len(store.Kinds()) != 1 {
		t.Errorf("kinds %v", store.Kinds())
	}
}
