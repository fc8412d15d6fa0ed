package embedded_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"rollcall/store"
	"rollcall/store/embedded"
	"rollcall/store/storetest"
)

func open(t testing.TB, dir string, o embedded.Options) *embedded.DB {
	t.Helper()
	db, err := embedded.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// dirStore remembers where its files are.
type dirStore struct {
	*embedded.DB
	dir string
}

func TestStore(t *testing.T) {
	o := embedded.Options{FlushInterval: 50 * time.Millisecond, SweepInterval: 20 * time.Millisecond}
	storetest.Run(t,
		func(t *testing.T) store.Store {
			dir := t.TempDir()
			return dirStore{open(t, dir, o), dir}
		},
		storetest.Reopen{Name: "close", Soft: true, Do: func(t *testing.T, s store.Store) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, s.(dirStore).dir, o)
		}},
		storetest.Reopen{Name: "kill", Do: func(t *testing.T, s store.Store) store.Store {
			defer s.Close()
			return open(t, copyDir(t, s.(dirStore).dir), o)
		}})
}

// copyDir takes what a killed process would leave behind.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(to, "durable.db")); err != nil {
		t.Fatal(err)
	}
	return to
}
