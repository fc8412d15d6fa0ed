package digest_test

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/sip/digest"
)

func newNonce(n *digest.Nonces, now time.Time) string { return string(n.Append(nil, now)) }

func TestNonceLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := digest.NewNonces(digest.NoncesOptions{Life: time.Minute, Capacity: 4096})
		nonce := newNonce(n, time.Now())
		if _, s := n.Check(nonce, time.Now()); s != digest.NonceFresh {
			t.Errorf("new: state %v", s)
		}
		time.Sleep(59 * time.Second)
		id, s := n.Check(nonce, time.Now())
		if s != digest.NonceFresh || n.Age(id, time.Now()) != 59*time.Second {
			t.Errorf("after 59 s: state %v, age %v", s, n.Age(id, time.Now()))
		}
		time.Sleep(time.Second)
		if _, s := n.Check(nonce, time.Now()); s != digest.NonceStale {
			t.Errorf("after 60 s: state %v", s)
		}
	})
}

func TestNoncesDiffer(t *testing.T) {
	n := digest.NewNonces(digest.NoncesOptions{Capacity: 4096})
	now, seen := time.Now(), make(map[string]bool)
	for range 10000 {
		nonce := newNonce(n, now)
		if seen[nonce] {
			t.Fatalf("%s came twice", nonce)
		}
		if strings.ContainsAny(nonce, `"\,= `) {
			t.Fatalf("%s needs escapes", nonce)
		}
		seen[nonce] = true
	}
}

func TestForeignNonces(t *testing.T) {
	n := digest.NewNonces(digest.NoncesOptions{Capacity: 4096})
	other := digest.NewNonces(digest.NoncesOptions{Capacity: 4096})
	now := time.Now()
	nonce := newNonce(n, now)
	foreign := []string{"", "x", nonce[1:], nonce + "A", newNonce(other, now), strings.Repeat("A", len(nonce)), nonce[:10] + "\n" + nonce[11:]}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=\n\x00"
	for i := range nonce {
		for j := range len(alphabet) {
			if alphabet[j] != nonce[i] {
				foreign = append(foreign, nonce[:i]+alphabet[j:j+1]+nonce[i+1:])
			}
		}
	}
	for _, f := range foreign {
		if _, s := n.Check(f, now); s != digest.NonceForeign {
			t.Errorf("%q (of %q) has state %v", f, nonce, s)
		}
	}
	if _, s := n.Check(nonce, now); s != digest.NonceFresh {
		t.Errorf("the nonce itself has state %v", s)
	}
}

func TestCountsAreTakenOnce(t *testing.T) {
	n := digest.NewNonces(digest.NoncesOptions{Capacity: 4096})
	now := time.Now()
	id, _ := n.Check(newNonce(n, now), now)
	for i, c := range []struct {
		count uint32
		want  digest.NonceState
	}{
		{1, digest.NonceFresh}, {1, digest.NonceReplayed},
		{2, digest.NonceFresh}, {5, digest.NonceFresh}, // 3 and 4 are on their way
		{4, digest.NonceFresh}, {3, digest.NonceFresh}, {4, digest.NonceReplayed}, {2, digest.NonceReplayed}, {5, digest.NonceReplayed},
		{68, digest.NonceFresh},
		{5, digest.NonceReplayed}, {6, digest.NonceFresh}, {6, digest.NonceReplayed}, // 63 behind
		{69, digest.NonceFresh}, {7, digest.NonceFresh}, {8, digest.NonceFresh}, {6, digest.NonceReplayed},
		{200, digest.NonceFresh}, {136, digest.NonceReplayed}, {137, digest.NonceFresh}, // 136 is 64 behind
		{1<<32 - 1, digest.NonceFresh}, {1<<32 - 1, digest.NonceReplayed}, {201, digest.NonceReplayed}, {1<<32 - 2, digest.NonceFresh},
	} {
		if got := n.Use(id, c.count); got != c.want {
			t.Errorf("step %d, count %d: state %v, want %v", i, c.count, got, c.want)
		}
	}
}

// A model that forgets nothing: the table may only be stricter than it.
func TestCountsAgainstModel(t *testing.T) {
	n := digest.NewNonces(digest.NoncesOptions{Capacity: 4096})
	r := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	type use struct {
		id    digest.NonceID
		count uint32
	}
	var ids []digest.NonceID
	used := make(map[use]bool)
	fresh := 0
	for i := range 200_000 {
		if i%20 == 0 { // 10000 nonces in a table of 4096: many are forgotten
			now = now.Add(time.Millisecond)
			id, s := n.Check(newNonce(n, now), now)
			if s != digest.NonceFresh {
				t.Fatal("a new nonce is not fresh")
			}
			ids = append(ids, id)
		}
		u := use{ids[len(ids)-1-r.IntN(min(len(ids), 6000))], 1 + uint32(r.IntN(40))}
		if n.Use(u.id, u.count) != digest.NonceFresh {
			continue
		}
		fresh++
		if used[u] {
			t.Fatalf("count %d of nonce %d was accepted twice", u.count, u.id)
		}
		used[u] = true
	}
	if fresh < 50_000 {
		t.Errorf("only %d of 200000 uses were accepted", fresh)
	}
}

func TestForgottenNoncesAreStale(t *testing.T) {
	n := digest.NewNonces(digest.NoncesOptions{Capacity: 2048})
	now := time.Now()
	old := make([]digest.NonceID, 100)
	for i := range old {
		old[i], _ = n.Check(newNonce(n, now), now)
		if n.Use(old[i], 7) != digest.NonceFresh {
			t.Fatal("refused")
		}
	}
	unused, _ := n.Check(newNonce(n, now), now)
	now = now.Add(time.Second)
	for range 200_000 { // enough that every bucket overflows
		id, _ := n.Check(newNonce(n, now), now)
		if s := n.Use(id, 1); s != digest.NonceFresh {
			t.Fatalf("a new nonce has state %v when the table is full", s)
		}
	}
	for _, id := range old {
		for _, count := range []uint32{1, 7, 8} {
			if s := n.Use(id, count); s != digest.NonceStale {
				t.Fatalf("count %d of a forgotten nonce has state %v, want stale", count, s)
			}
		}
	}
	if s := n.Use(unused, 1); s != digest.NonceStale {
		t.Errorf("a nonce as old as the forgotten ones has state %v, want stale", s)
	}
}

func TestOneOfManyGetsACount(t *testing.T) {
	n := digest.NewNonces(digest.NoncesOptions{Capacity: 4096})
	now := time.Now()
	id, _ := n.Check(newNonce(n, now), now)
	var fresh atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for count := range uint32(50) {
				if n.Use(id, count+1) == digest.NonceFresh {
					fresh.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := fresh.Load(); got != 50 {
		t.Errorf("%d uses of 50 counts were accepted", got)
	}
}

// The table tells older nonces from newer ones by their IDs.
func TestLaterNoncesHaveGreaterIDs(t *testing.T) {
	n := digest.NewNonces(digest.NoncesOptions{Life: time.Minute, Capacity: 4096})
	now, last := time.Now(), digest.NonceID(0)
	for range 1000 {
		id, s := n.Check(newNonce(n, now), now)
		if s != digest.NonceFresh || id <= last {
			t.Fatalf("ID %d after %d, state %v", id, last, s)
		}
		last, now = id, now.Add(time.Millisecond)
	}
}

func BenchmarkNonce(b *testing.B) {
	n := digest.NewNonces(digest.NoncesOptions{})
	now := time.Now()
	b.Run("append", func(b *testing.B) {
		var buf [32]byte
		b.ReportAllocs()
		for b.Loop() {
			n.Append(buf[:0], now)
		}
	})
	nonce := newNonce(n, now)
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n.Check(nonce, now)
		}
	})
	b.Run("use", func(b *testing.B) {
		ids := make([]digest.NonceID, 1<<17)
		for i := range ids {
			ids[i], _ = n.Check(newNonce(n, now), now)
		}
		b.ReportAllocs()
		for i := uint32(0); b.Loop(); i++ {
			n.Use(ids[i%(1<<17)], i>>17+1)
		}
	})
}
