package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/store"
	"rollcall/store/redis"
	"rollcall/store/redis/redistest"
	"rollcall/store/storetest"
)

var ctx = context.Background()

var alice = store.Key{Kind: storetest.HotSoft, Owner: "sip:alice@example.com"}

func binding() store.Change {
	return store.Put(store.Item{ID: "<urn:uuid:00000000-0000-1000-8000-000A95A0E128>", Value: make([]byte, 300), Expires: time.Now().Add(time.Hour)})
}

func wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// down proves that everything fails with ErrUnavailable, soon.
func down(t *testing.T, db *redis.DB, soon time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	for name, call := range map[string]func() error{
		"load":  func() error { _, err := db.Load(ctx, alice); return err },
		"apply": func() error { _, err := db.Apply(ctx, alice, store.Any, binding()); return err },
		"ping":  func() error { return db.Ping(ctx) },
		"watch": func() error { _, err := db.Watch(ctx, alice.Kind); return err },
		"batch": func() error {
			return db.ApplyAll(ctx, []store.Op{{Key: alice, Base: store.Any, Changes: []store.Change{binding()}}})
		},
		"keys": func() error {
			for _, err := range db.Keys(ctx, alice.Kind) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		wg.Go(func() {
			start := time.Now()
			if err := call(); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %v, want unavailable", name, err)
			}
			if took := time.Since(start); took > soon {
				t.Errorf("%s fails after %v", name, took)
			}
		})
	}
	wg.Wait()
}

func TestOutage(t *testing.T) {
	url, srv := redistest.Start(t)
	db := open(t, url, redis.Options{Timeout: 500 * time.Millisecond})
	defer db.Close()
	hints, err := db.Watch(ctx, alice.Kind)
	if err != nil {
		t.Fatal(err)
	}
	v, err := db.Apply(ctx, alice, 0, binding())
	if err != nil {
		t.Fatal(err)
	}
	<-hints

	for name, outage := range map[string]struct{ begin, end func() }{
		"kill": {srv.Kill, srv.Restart},
		"stop": {srv.Stop, srv.Restart},
		"hang": {srv.Pause, srv.Resume},
	} {
		t.Run(name, func(t *testing.T) {
			outage.begin()
			down(t, db, 3*time.Second)
			down(t, db, 3*time.Second)
			outage.end()
			wait(t, "recovery", func() bool { return db.Ping(ctx) == nil })
			set, err := db.Load(ctx, alice)
			if err != nil || len(set.Items) != 1 || name != "hang" && set.Version != v {
				t.Fatalf("load: %d items, version %d, %v", len(set.Items), set.Version, err)
			}
			for len(hints) > 0 {
				<-hints
			}
			wait(t, "a hint after the outage", func() bool {
				if v, err = db.Apply(ctx, alice, store.Any, binding()); err != nil {
					t.Fatal(err)
				}
				select {
				case k, ok := <-hints:
					return ok && k == alice
				case <-time.After(50 * time.Millisecond):
					return false
				}
			})
		})
	}
}

// TestOutageUnderLoad proves that nothing piles up while Redis hangs, and that
// each change whose Apply returned well is there in the end.
func TestOutageUnderLoad(t *testing.T) {
	url, srv := redistest.Start(t)
	db := open(t, url, redis.Options{Timeout: 300 * time.Millisecond})
	defer db.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var done [8]atomic.Int64
	for i := range done {
		wg.Go(func() {
			k := store.Key{Kind: storetest.HotDurable, Owner: fmt.Sprint("owner", i)}
			for n := int64(1); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				_, err := db.Apply(ctx, k, store.Any, store.Put(store.Item{ID: "n", Value: []byte(fmt.Sprint(n))}))
				switch {
				case err == nil:
					done[i].Store(n)
				case !errors.Is(err, store.ErrUnavailable):
					t.Errorf("apply: %v", err)
					return
				}
			}
		})
	}
	for range 3 {
		time.Sleep(200 * time.Millisecond)
		srv.Kill()
		time.Sleep(100 * time.Millisecond)
		srv.Restart()
	}
	wait(t, "recovery", func() bool { return db.Ping(ctx) == nil })
	close(stop)
	wg.Wait()
	for i := range done {
		set, err := db.Load(ctx, store.Key{Kind: storetest.HotDurable, Owner: fmt.Sprint("owner", i)})
		if err != nil {
			t.Fatal(err)
		}
		item, _ := set.Get("n")
		var n int64
		if _, err := fmt.Sscan(string(item.Value), &n); err != nil || n < done[i].Load() {
			t.Errorf("owner %d has %d, %d was applied", i, n, done[i].Load())
		}
	}
}

// TestNobodyThere proves that a start without Redis waits for it, and that an
// address that swallows everything does not hold a caller.
func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	db := open(t, "redis://"+l.Addr().String(), redis.Options{Timeout: 200 * time.Millisecond})
	down(t, db, 3*time.Second)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := db.Load(short, alice); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("load: %v, want the context's error", err)
	}
	start := time.Now()
	_ = db.Close()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("close takes %v", took)
	}
}

// TestForgottenScript proves that a Redis that lost its scripts gets them again.
func TestForgottenScript(t *testing.T) {
	url, srv := redistest.Start(t)
	db := open(t, url, redis.Options{})
	defer db.Close()
	for range 3 {
		srv.Do("SCRIPT FLUSH")
		if _, err := db.Apply(ctx, alice, store.Any, binding()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExpiredHash proves that Redis itself lets soft state go, and keeps what
// does not expire.
func TestExpiredHash(t *testing.T) {
	url, srv := redistest.Start(t)
	db := open(t, url, redis.Options{Prefix: "x"})
	defer db.Close()
	if _, err := db.Apply(ctx, alice, 0, binding()); err != nil {
		t.Fatal(err)
	}
	bob := store.Key{Kind: storetest.HotSoft, Owner: "bob"}
	if _, err := db.Apply(ctx, bob, 0, binding(), store.Put(store.Item{ID: "for ever"})); err != nil {
		t.Fatal(err)
	}
	find := func(owner string) string {
		for tag := range 64 {
			key := fmt.Sprintf("{x:%02x}:k:%s:%s", tag, alice.Kind.Name(), owner)
			if answer := srv.Do("TTL " + key); answer != ":-2" {
				return answer
			}
		}
		return "no hash"
	}
	lives := func(least int) {
		t.Helper()
		var ttl int
		if _, err := fmt.Sscanf(find(alice.Owner), ":%d", &ttl); err != nil || ttl < least || ttl > least+140 {
			t.Errorf("the hash lives %v s, want %d and at most two minutes more", ttl, least)
		}
	}
	lives(3659)
	refresh := binding()
	for _, life := range []time.Duration{2 * time.Hour, time.Hour, time.Minute} {
		refresh.Item.Expires = time.Now().Add(life)
		if _, err := db.Apply(ctx, alice, store.Any, refresh); err != nil {
			t.Fatal(err)
		}
		lives(int(life.Seconds()) + 59)
	}
	if got := find(bob.Owner); got != ":-1" {
		t.Errorf("the hash of what stays lives %s", got)
	}
	if _, err := db.Apply(ctx, bob, store.Any, store.Delete("for ever")); err != nil {
		t.Fatal(err)
	}
	if got := find(bob.Owner); got == ":-1" {
		t.Error("the hash stays when what stayed is deleted")
	}
}

// TestNoHints: what nobody watches is not published, and cannot be watched.
func TestNoHints(t *testing.T) {
	url, srv := redistest.Start(t)
	db := open(t, url, redis.Options{Prefix: "x"})
	defer db.Close()
	if _, err := db.Watch(ctx, silent); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("watch: %v", err)
	}
	srv.Do("CONFIG RESETSTAT")
	for _, kind := range []*store.Kind{silent, storetest.HotSoft} {
		if _, err := db.Apply(ctx, store.Key{Kind: kind, Owner: "alice"}, 0, binding()); err != nil {
			t.Fatal(err)
		}
	}
	if got := db.Client().Info(ctx, "commandstats").Val(); !strings.Contains(got, "cmdstat_publish:calls=1,") {
		t.Errorf("two changes, of which one is published: %s", got)
	}
}

var silent = store.NewKind("test-silent", store.Soft, store.Hot)

func TestTime(t *testing.T) {
	url, _ := redistest.Start(t)
	db := open(t, url, redis.Options{})
	defer db.Close()
	got, err := db.Time(ctx)
	if err != nil || time.Since(got).Abs() > 2*time.Second {
		t.Errorf("time %v, %v", got, err)
	}
}

func TestFacts(t *testing.T) {
	url, _ := redistest.Start(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	db := open(t, url, redis.Options{})
	defer db.Close()
	got, err := db.Facts(ctx)
	want := redis.Facts{Version: got.Version, AppendOnly: true, AppendFsync: "always", Maxmemory: "104857600", MaxmemoryPolicy: "allkeys-lru"}
	if err != nil || got != want || got.Version < "7" {
		t.Errorf("facts %+v, %v; want %+v", got, err, want)
	}
}

func TestURL(t *testing.T) {
	for _, url := range []string{
		"redis://127.0.0.1", "redis://localhost:6379/3", "rediss://u:p%40ss@redis.example.com/0", "redis://[::1]:7000",
		"redis+sentinel://a,b:26380,c/main", "redis+sentinel://u:p@a/main/2", "rediss+sentinel://a/main",
		"redis+cluster://a:1,b:2", "rediss+cluster://a",
	} {
		db, err := redis.Open(url, redis.Options{Timeout: time.Millisecond})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		_ = db.Close()
	}
	for _, url := range []string{
		"", "redis", "redis:", "embedded:", "http://secret@a", "redis://", "redis://a:b", "redis://a:0", "redis://a:70000", "redis://a/x", "redis://a/-1",
		"redis://a/1/2", "redis://a,b", "redis://secret:secret@a?x=1", "redis+sentinel://a", "redis+sentinel://a,/m", "redis+sentinel://a/m/x",
		"redis+cluster://a/1", "redis+cluster://", "redis://%zz:secret@a",
	} {
		db, err := redis.Open(url, redis.Options{})
		if err == nil {
			_ = db.Close()
			t.Errorf("%q is taken", url)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
	if _, err := redis.Open("redis://a", redis.Options{Prefix: "{a}"}); err == nil {
		t.Error("a prefix with braces is taken")
	}
}

func TestPassword(t *testing.T) {
	url, _ := redistest.Start(t, "--requirepass", "se,cr@t")
	for _, c := range []struct {
		url string
		o   redis.Options
		ok  bool
	}{
		{url, redis.Options{}, false},
		{url, redis.Options{Password: "se,cr@t"}, true},
		{strings.Replace(url, "//", "//:se,cr%40t@", 1), redis.Options{}, true},
		{strings.Replace(url, "//", "//:wrong@", 1), redis.Options{}, false},
	} {
		db := open(t, c.url, c.o)
		if err := db.Ping(ctx); (err == nil) != c.ok {
			t.Errorf("ping: %v, want good %v", err, c.ok)
		}
		_ = db.Close()
	}
}
