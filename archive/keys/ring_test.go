package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"rollcall/archive"
)

var november = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

const alice, bob = "sip:alice@example.com", "sip:bob@example.com"

func ring(t testing.TB, dir string) *Ring {
	t.Helper()
	master, err := LoadFile(filepath.Join(dir, "master.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(filepath.Join(dir, "content"), master)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func seal(t testing.TB, r *Ring, who string, at time.Time, text string) (archive.ID, []byte) {
	t.Helper()
	id := archive.NewID(at)
	b, err := r.Seal(nil, who, at, id, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte(text)) || len(b) > len(text)+48 {
		t.Fatalf("sealed: %q", b)
	}
	return id, b
}

func opened(t testing.TB, r *Ring, id archive.ID, sealed []byte) string {
	t.Helper()
	b, err := r.Open(nil, id, sealed)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSeal: what was sealed opens, after a restart too, and nowhere else.
func TestSeal(t *testing.T) {
	dir := t.TempDir()
	r := ring(t, dir)
	a1, s1 := seal(t, r, alice, november, "one")
	a2, s2 := seal(t, r, alice, november.AddDate(0, 1, 0), "two")
	b1, s3 := seal(t, r, bob, november, "three")
	if bytes.Equal(s1[:16], s2[:16]) || bytes.Equal(s1[:16], s3[:16]) {
		t.Error("two persons, or months, with one key")
	}
	if a3, again := seal(t, r, alice, november, "one"); !bytes.Equal(again[:16], s1[:16]) || bytes.Equal(again, s1) || opened(t, r, a3, again) != "one" {
		t.Error("a second content of the month")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = ring(t, dir)
	if opened(t, r, a1, s1) != "one" || opened(t, r, a2, s2) != "two" || opened(t, r, b1, s3) != "three" {
		t.Error("not what was sealed")
	}
	if _, err := r.Open(nil, a2, s1); err == nil {
		t.Error("content of another record opens")
	}
	for i := range s1 {
		c := bytes.Clone(s1)
		c[i] ^= 1
		if _, err := r.Open(nil, a1, c); err == nil {
			t.Fatalf("opens with byte %d changed", i)
		}
	}
	other := ring(t, t.TempDir())
	if _, err := other.Open(nil, a1, s1); !errors.Is(err, archive.ErrNoKey) {
		t.Errorf("without the key: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "master.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := ring(t, dir).Open(nil, a1, s1); err == nil || !strings.Contains(err.Error(), "master key") {
		t.Errorf("with another master key: %v", err)
	}
}

// TestDestroy: what a person wrote in a month is gone, all else is there.
func TestDestroy(t *testing.T) {
	dir := t.TempDir()
	r := ring(t, dir)
	october := november.AddDate(0, -1, 0)
	a0, s0 := seal(t, r, alice, october, "october")
	a1, s1 := seal(t, r, alice, november, "november")
	b1, s2 := seal(t, r, bob, november, "bob")
	opened(t, r, a1, s1)
	file, err := os.ReadFile(filepath.Join(dir, "content", "2026-11.keys"))
	if err != nil {
		t.Fatal(err)
	}
	done, err := r.Destroy(alice, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Time{})
	if err != nil || len(done) != 1 || done[0] != "2026-11" {
		t.Fatal(done, err)
	}
	for range 2 {
		if _, err := r.Open(nil, a1, s1); !errors.Is(err, archive.ErrErased) {
			t.Errorf("destroyed key: %v", err)
		}
		if opened(t, r, a0, s0) != "october" || opened(t, r, b1, s2) != "bob" {
			t.Error("more is gone")
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r = ring(t, dir)
	}
	after, err := os.ReadFile(filepath.Join(dir, "content", "2026-11.keys"))
	if err != nil || len(after) != len(file) || bytes.Contains(after, file[slotBytes+slotHead:slotBytes+slotHead+48]) {
		t.Error("the wrapped key is still in the file", err)
	}
	// What is written later has a key of its own.
	a2, s4 := seal(t, r, alice, november, "later")
	if opened(t, r, a2, s4) != "later" {
		t.Error("content after an erasure")
	}
	if p, err := r.Periods(alice); err != nil || len(p) != 2 || p[0].Month != "2026-10" || p[1].Month != "2026-11" {
		t.Error(p, err)
	}
	if done, err := r.Destroy("sip:nobody@example.com", time.Time{}, time.Time{}); err != nil || len(done) != 0 {
		t.Error(done, err)
	}
}

// TestTorn: a slot that was half written is no key, and its place is not used again.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	r := ring(t, dir)
	a1, s1 := seal(t, r, alice, november, "kept")
	b1, s2 := seal(t, r, bob, november, "lost")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "content", "2026-11.keys"), 3*slotBytes-10); err != nil {
		t.Fatal(err)
	}
	r = ring(t, dir)
	if opened(t, r, a1, s1) != "kept" {
		t.Error("a whole slot is lost")
	}
	if _, err := r.Open(nil, b1, s2); !errors.Is(err, archive.ErrNoKey) {
		t.Errorf("torn slot: %v", err)
	}
	b2, s3 := seal(t, r, bob, november, "new")
	if opened(t, r, b2, s3) != "new" {
		t.Error("a key after a torn slot")
	}
}

// TestAccess: one server at a time, and readers beside it.
func TestAccess(t *testing.T) {
	dir := t.TempDir()
	r := ring(t, dir)
	a1, s1 := seal(t, r, alice, november, "text")
	if _, err := Open(filepath.Join(dir, "content"), r.master); err == nil {
		t.Error("a second server opens the folder")
	}
	reader := OpenForReading(filepath.Join(dir, "content"), r.master)
	defer reader.Close()
	if opened(t, reader, a1, s1) != "text" {
		t.Error("a reader beside the server")
	}
	a2, s2 := seal(t, r, bob, november, "later")
	if opened(t, reader, a2, s2) != "later" {
		t.Error("a key that came later")
	}
	if _, err := reader.Seal(nil, alice, november, a1, nil); err == nil {
		t.Error("a reader seals")
	}
	if _, err := reader.Destroy(alice, time.Time{}, time.Time{}); err == nil {
		t.Error("a reader destroys")
	}
	if err := os.Chmod(filepath.Join(dir, "master.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadFile(filepath.Join(dir, "master.key"), true); err == nil {
		t.Error("a master key that all can read")
	}
}

// TestJournal: an archive whose content is sealed shows it to who has the keys.
func TestJournal(t *testing.T) {
	dir := t.TempDir()
	r := ring(t, dir)
	j, err := archive.Open(filepath.Join(dir, "archive"), archive.Options{Node: "n1", Keys: r})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			rec := &archive.Record{Type: archive.TypeMessage, Received: time.Now(), From: alice, To: bob, Subject: "plans",
				Raw: []byte("MESSAGE sip:bob@example.com SIP/2.0\r\n\r\na secret")}
			if _, err := j.Append(context.Background(), rec); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "archive", "0000000001.rcj"))
	if err != nil || bytes.Contains(file, []byte("secret")) || bytes.Contains(file, []byte("plans")) || !bytes.Contains(file, []byte(alice)) {
		t.Fatal("content in clear, or no envelope", err)
	}
	count := func(keys archive.Opener, want archive.Content) (n int) {
		err := archive.Folder{Dir: filepath.Join(dir, "archive"), Keys: keys}.Scan(func(rec *archive.Record, _ archive.Pos) error {
			if rec.Content == want && (want != archive.Present || string(rec.Body()) == "a secret" && rec.Subject == "plans") {
				n++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(r, archive.Present); n != 50 {
		t.Errorf("%d of 50 open", n)
	}
	if n := count(nil, archive.Sealed); n != 50 {
		t.Errorf("%d of 50 sealed without keys", n)
	}
	if _, err := r.Destroy(alice, time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n := count(r, archive.Erased); n != 50 {
		t.Errorf("%d of 50 erased", n)
	}
	for _, keys := range []archive.Opener{nil, r} {
		if rep, err := (archive.Folder{Dir: filepath.Join(dir, "archive"), Keys: keys}).Verify(); err != nil || !rep.OK {
			t.Errorf("after the erasure: %+v %v", rep, err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	r := ring(b, b.TempDir())
	plain := make([]byte, 700)
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = r.Seal(dst[:0], alice, november, archive.NewID(november), plain); err != nil {
			b.Fatal(err)
		}
	}
}

// TestSigners: the file has the newest key and the one before it.
func TestSigners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "checkpoint.key")
	s, err := LoadSigners(path, "example.com/rollcall/n1")
	if err != nil {
		t.Fatal(err)
	}
	first := s.Newest()
	for i, want := range []int{1, 2, 2} {
		again, err := LoadSigners(path, "example.org/other")
		if err != nil || again.Newest() != s.Newest() || len(again.List()) != want || again.Origin() != "example.com/rollcall/n1" {
			t.Fatalf("after %d rotations: %+v, %v", i, again, err)
		}
		if err := again.Rotate(); err != nil || again.Newest() == s.Newest() {
			t.Fatal(err)
		}
		s = again
	}
	v, err := note.NewVerifier(first)
	if err != nil {
		t.Fatal(err)
	}
	if s.List()[1].KeyHash() == v.KeyHash() || s.List()[0].KeyHash() == v.KeyHash() {
		t.Error("the first key still signs")
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Error(fi.Mode(), err)
	}
	for _, bad := range []string{"", "nonsense\n", "PRIVATE+KEY+a+b\n"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadSigners(path, "example.com"); err == nil || !strings.Contains(err.Error(), "checkpoint.key") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestManyAuthors: authors who share a place in the first look keep their own keys,
// looked ahead for or not, and an erasure takes the one alone.
func TestManyAuthors(t *testing.T) {
	r := ring(t, t.TempDir())
	const authors = 2000 // some thirty share a place
	type sealed struct {
		id   archive.ID
		text []byte
	}
	name := func(i int) string { return fmt.Sprintf("sip:u%d@example.com", i) }
	var all []sealed
	for round := range 2 {
		for i := range authors {
			if round == 1 && i%16 == 0 {
				r.Near([]string{name(i), name(i + 1), "sip:nobody@example.com"}, november)
			}
			id, s := seal(t, r, name(i), november, name(i))
			all = append(all, sealed{id, s})
		}
	}
	keys := map[ID]int{}
	for n, s := range all {
		if got := opened(t, r, s.id, s.text); got != name(n%authors) {
			t.Fatalf("what %s wrote opens as %q", name(n%authors), got)
		}
		keys[ID(s.text)]++
	}
	if len(keys) != authors {
		t.Errorf("%d keys of %d authors", len(keys), authors)
	}
	if _, err := r.Destroy(name(7), time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	for n, s := range all {
		if _, err := r.Open(nil, s.id, s.text); (err != nil) != (n%authors == 7) {
			t.Errorf("after the erasure of %s, of %s: %v", name(7), name(n%authors), err)
		}
	}
	id, s := seal(t, r, name(7), november, "again")
	if ID(s) == ID(all[7].text) || opened(t, r, id, s) != "again" {
		t.Error("sealed with a destroyed key")
	}
}
