package redis_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/store"
	"rollcall/store/redis"
	"rollcall/store/redis/redistest"
	"rollcall/store/storetest"
)

func open(t testing.TB, url string, o redis.Options) *redis.DB {
	t.Helper()
	db, err := redis.Open(url, o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// prefixed remembers where its keys are.
type prefixed struct {
	*redis.DB
	o redis.Options
}

var prefixes atomic.Int64

func opener(url string) func(*testing.T) store.Store {
	return func(t *testing.T) store.Store {
		o := redis.Options{Prefix: fmt.Sprint("t", prefixes.Add(1)), Timeout: 20 * time.Second} // a busy machine, and values of 16 MiB
		return prefixed{open(t, url, o), o}
	}
}

func TestStore(t *testing.T) {
	url, srv := redistest.Start(t)
	again := func(t *testing.T, s store.Store) store.Store {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return open(t, url, s.(prefixed).o)
	}
	storetest.Run(t, opener(url),
		storetest.Reopen{Name: "close", Soft: true, Do: again},
		storetest.Reopen{Name: "kill of the client", Soft: true, Do: func(t *testing.T, s store.Store) store.Store {
			t.Cleanup(func() { s.Close() })
			return open(t, url, s.(prefixed).o)
		}},
		storetest.Reopen{Name: "kill of redis", Soft: true, Do: func(t *testing.T, s store.Store) store.Store {
			srv.Kill()
			srv.Restart()
			return again(t, s)
		}})
}

func TestStoreOnCluster(t *testing.T) {
	url, _ := redistest.StartCluster(t, 3)
	storetest.Run(t, opener(url))
}
