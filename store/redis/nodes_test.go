package redis_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/sip/siptest"
	"rollcall/store"
	"rollcall/store/redis"
	"rollcall/store/redis/redistest"
	"rollcall/store/storetest"
)

// TestTwoNodes proves that two servers on one Redis see each other's changes at
// once, and hear of them.
func TestTwoNodes(t *testing.T) {
	url, _ := redistest.Start(t)
	cluster, _ := redistest.StartCluster(t, 3)
	for name, url := range map[string]string{"alone": url, "cluster": cluster} {
		t.Run(name, func(t *testing.T) {
			a, b := open(t, url, redis.Options{}), open(t, url, redis.Options{})
			defer a.Close()
			defer b.Close()
			other := open(t, url, redis.Options{Prefix: "other"})
			defer other.Close()
			hints, err := b.Watch(ctx, alice.Kind)
			if err != nil {
				t.Fatal(err)
			}
			strange, err := other.Watch(ctx, alice.Kind)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 200 { // owners of all nodes of the cluster
				k := store.Key{Kind: alice.Kind, Owner: fmt.Sprint(n, "\x00\xff")}
				v, err := a.Apply(ctx, k, 0, binding())
				if err != nil {
					t.Fatal(err)
				}
				if got := <-hints; got != k {
					t.Fatalf("hint for %s, want %s", got, k)
				}
				if set, err := b.Load(ctx, k); err != nil || set.Version != v {
					t.Fatalf("version %d, %v; want %d", set.Version, err, v)
				}
				if _, err := b.Apply(ctx, k, 0, binding()); !errors.Is(err, store.ErrConflict) {
					t.Fatalf("apply on a stale base: %v", err)
				}
			}
			if len(strange) != 0 {
				t.Error("hints reach another installation")
			}
			if set, err := other.Load(ctx, store.Key{Kind: alice.Kind, Owner: "0\x00\xff"}); err != nil || set.Version != 0 {
				t.Errorf("state reaches another installation: %v", err)
			}
		})
	}
}

// TestClusterNodeRestarts proves that a node of a cluster that is killed takes
// only its own owners along, and that hints come again.
func TestClusterNodeRestarts(t *testing.T) {
	url, nodes := redistest.StartCluster(t, 3)
	db := open(t, url, redis.Options{Timeout: 500 * time.Millisecond})
	defer db.Close()
	hints, err := db.Watch(ctx, alice.Kind)
	if err != nil {
		t.Fatal(err)
	}
	nodes[1].Kill()
	good, bad := 0, 0
	var wg sync.WaitGroup
	var mu sync.Mutex
	for n := range 64 {
		wg.Go(func() {
			_, err := db.Apply(ctx, store.Key{Kind: alice.Kind, Owner: fmt.Sprint(n)}, store.Any, binding())
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				good++
			case errors.Is(err, store.ErrUnavailable):
				bad++
			default:
				t.Errorf("apply: %v", err)
			}
		})
	}
	wg.Wait()
	if bad == 0 {
		t.Errorf("%d changes went well and %d not, with a node gone", good, bad)
	}
	nodes[1].Restart()
	for n := range 64 {
		k := store.Key{Kind: alice.Kind, Owner: fmt.Sprint(n)}
		wait(t, "recovery of "+k.Owner, func() bool {
			for len(hints) > 0 {
				<-hints
			}
			if _, err := db.Apply(ctx, k, store.Any, binding()); err != nil {
				return false
			}
			for {
				select {
				case got := <-hints:
					if got == k {
						return true
					}
				case <-time.After(200 * time.Millisecond):
					return false
				}
			}
		})
	}
}

// TestFailover proves that the store follows the sentinels to a new master.
func TestFailover(t *testing.T) {
	url, master, replica := redistest.StartSentinel(t)
	db := open(t, url, redis.Options{Timeout: 500 * time.Millisecond})
	defer db.Close()
	hints, err := db.Watch(ctx, alice.Kind)
	if err != nil {
		t.Fatal(err)
	}
	k := store.Key{Kind: storetest.HotDurable, Owner: "alice"}
	before, err := db.Apply(ctx, k, 0, store.Put(store.Item{ID: "a", Value: []byte("1")}))
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "replication", func() bool { return replica.Do("DBSIZE") == master.Do("DBSIZE") })
	master.Kill()
	if err := db.Ping(ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("ping: %v, want unavailable", err)
	}
	wait(t, "failover", func() bool { return db.Ping(ctx) == nil })
	set, err := db.Load(ctx, k)
	if err != nil || set.Version != before {
		t.Errorf("version %d, %v; want %d", set.Version, err, before)
	}
	if v, err := db.Apply(ctx, k, before, store.Put(store.Item{ID: "b"})); err != nil || v <= before {
		t.Errorf("version %d after %d, %v", v, before, err)
	}
	wait(t, "hints from the new master", func() bool {
		if _, err := db.Apply(ctx, alice, store.Any, binding()); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-hints:
			return got == alice
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
}

func TestTLS(t *testing.T) {
	cert := siptest.NewCertificate(t, nil)
	port := freePort(t)
	redistest.Start(t, "--tls-port", port, "--tls-cert-file", cert.CertFile, "--tls-key-file", cert.KeyFile, "--tls-auth-clients", "no")
	url := "rediss://127.0.0.1:" + port
	db := open(t, url, redis.Options{TLS: &tls.Config{RootCAs: cert.Pool}})
	defer db.Close()
	if err := db.Ping(ctx); err != nil {
		t.Error(err)
	}
	stranger := open(t, url, redis.Options{})
	defer stranger.Close()
	if err := stranger.Ping(ctx); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("ping with the system's roots: %v, want an error about the certificate", err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
