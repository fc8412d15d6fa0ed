package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/archive"
	"rollcall/archive/index"
	"rollcall/archive/keys"
)

// record is an archive that is written and indexed.
type record struct {
	t       testing.TB
	folder  archive.Folder
	journal *archive.Journal
	ring    *keys.Ring
	dir     string // of the index
	index   *index.Index
	stop    func()
	r       *rand.Rand
	ids     []archive.ID
	load    func() index.Load
}

func newRecord(t testing.TB, segment int64) *record {
	t.Helper()
	dir := t.TempDir()
	master, err := keys.LoadFile(filepath.Join(dir, "master.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(filepath.Join(dir, "content"), master)
	if err != nil {
		t.Fatal(err)
	}
	v := &record{t: t, folder: archive.Folder{Dir: filepath.Join(dir, "archive"), Keys: ring}, ring: ring, dir: filepath.Join(dir, "index"), r: rand.New(rand.NewPCG(1, 2))}
	if v.journal, err = archive.Open(v.folder.Dir, archive.Options{Node: "n", Keys: ring, SegmentBytes: segment}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		v.stop()
		if err := errors.Join(v.journal.Close(), ring.Close()); err != nil {
			t.Error(err)
		}
	})
	v.start()
	return v
}

func (v *record) start() {
	v.index = index.New(index.Options{Dir: v.dir, Folder: v.folder, Durable: func() uint64 { return v.journal.Stats().Seq }, Load: v.load})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); v.index.Run(ctx) }()
	v.stop = func() { cancel(); <-done }
}

// append writes a record and returns it.
func (v *record) append(r *archive.Record) *archive.Record {
	v.t.Helper()
	if r.Received.IsZero() {
		r.Received = time.Now()
	}
	if _, err := v.journal.Append(context.Background(), r); err != nil {
		v.t.Fatal(err)
	}
	return r
}

func message(from, to, body string) *archive.Record {
	raw := "MESSAGE sip:x SIP/2.0\r\n\r\n" + body
	return &archive.Record{Type: archive.TypeMessage, From: "sip:" + from, To: "sip:" + to, Method: "MESSAGE", ContentType: "text/plain", Raw: []byte(raw), Size: uint64(len(body))}
}

var (
	people = []string{"alice@example.com", "bob@example.com", "carol@example.com", "Dave@Example.net", "bob@example.net", "50%_off+x@example.org"}
	words  = []string{"report", "Résumé", "resume\u0301", "GRÜẞE", "quarterly", "figures", "会议", "see https://example.com/x", "www.example.com", "lunch?", "a-b", "ΣΊΣΥΦΟΣ", "ready", "100%"}
)

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// random writes n records of all kinds.
func (v *record) random(n int) {
	r := v.r
	day := time.Now().AddDate(0, 0, -1)
	for i := range n {
		at := day.Add(time.Duration(i) * time.Second)
		if i%40 == 39 { // a commit, and perhaps the next segment
			v.append(&archive.Record{Type: archive.TypeAct, Actor: "server", Action: "purge"})
		}
		switch k := r.IntN(10); {
		case k < 5 || len(v.ids) == 0:
			var body []string
			for range r.IntN(6) {
				body = append(body, pick(r, words))
			}
			m := message(pick(r, people), pick(r, people), strings.Join(body, " "))
			m.Received = at
			m.ContentType = pick(r, []string{"text/plain", "text/html; charset=utf-8", "image/png", "", "message/cpim"})
			if m.ContentType == "message/cpim" {
				m.Raw = append(m.Raw, "\r\nFrom: <im:a@b>\r\n\r\nContent-Type: "+pick(r, []string{"text/plain", "image/gif"})+"\r\n\r\nx"...)
			}
			m.FromName, m.Subject = pick(r, []string{"", "Alice Resume"}), pick(r, []string{"", "Figures ready"})
			m.FromUnit, m.ToUnit = pick(r, []string{"", "Sales", "trading desk"}), pick(r, []string{"", "sales"})
			m.FromGroups, m.ToGroups = pick(r, []string{"", "staff;Berlin", "a b"}), pick(r, []string{"", "staff"})
			m.Flags = pick(r, []string{"", "", "", "lexicon-1", "lexicon-1 Other"})
			if err := v.journal.Note(m); err != nil {
				v.t.Fatal(err)
			}
			v.ids = append(v.ids, m.ID)
		case k < 8:
			o := &archive.Record{Type: archive.TypeOutcome, Cites: pick(r, v.ids), Received: at, From: "sip:" + pick(r, people), To: "sip:" + pick(r, people),
				Disposition: archive.Disposition(1 + r.IntN(7)), Reason: "OK"}
			if err := v.journal.Note(o); err != nil {
				v.t.Fatal(err)
			}
		case k < 9:
			if err := v.journal.Note(&archive.Record{Type: archive.TypeAct, Received: at, Cites: pick(r, v.ids), Actor: "os:dora", Action: archive.ActReview,
				Object: archive.StepComment, Reason: pick(r, []string{"", "a joke, no report"})}); err != nil {
				v.t.Fatal(err)
			}
		default:
			if err := v.journal.Note(&archive.Record{Type: archive.TypeAct, Received: at, Actor: "server", Action: "search", Object: "quarterly figures"}); err != nil {
				v.t.Fatal(err)
			}
		}
	}
	v.append(&archive.Record{Type: archive.TypeAct, Actor: "server", Action: "end"})
}

// wait waits until the index has everything.
func (v *record) wait() {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for !v.index.Ready() {
		if ctx.Err() != nil {
			v.t.Fatal("the index is not ready")
		}
		time.Sleep(time.Millisecond)
	}
	if lag := v.index.Wait(ctx); lag.Records > 0 {
		v.t.Fatalf("the index is %d records behind", lag.Records)
	}
}

// same compares what index and files find, and returns how many that are.
func (v *record) same(query string) int {
	v.t.Helper()
	q, err := archive.ParseQuery(query, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	var scanned, found []uint64
	if err := v.folder.Search(context.Background(), q, func(r *archive.Record, _ archive.Pos) error {
		scanned = append(scanned, r.Seq)
		return nil
	}); err != nil {
		v.t.Fatal(err)
	}
	slices.Sort(scanned)
	if err := v.index.Search(context.Background(), q, func(r *archive.Record) error {
		found = append(found, r.Seq)
		return nil
	}); err != nil {
		v.t.Fatalf("%s: %v", query, err)
	}
	if !slices.Equal(scanned, found) {
		v.t.Errorf("%s: the files have %v, the index %v", query, scanned, found)
	}
	return len(found)
}

var queries = []string{
	"", "report", "RESUME", "résumé", `"resume report"`, "grüsse", `"会"`, "会议", "a-b", `"a b"`, "σισυφοσ", `"ready alice"`, "ready figures quarterly", "100%", "nothing",
	"from:alice", "from:sip:alice@example.com", "to:BOB", "with:bob@example.net", "with:example.net", "with:50%_off+x", "from:dave report",
	"conversation:alice,bob", "conversation:alice,bob,carol report", `conversation:"sip:alice@example.com sip:carol@example.com"`, "conversation:carol", "with:alice with:bob",
	"unit:sales", `unit:"Trading Desk"`, "unit:sales unit:\"trading desk\"", "group:BERLIN", `group:"a b"`, "flagged:lexicon-1", "flagged:other flagged:lexicon-1",
	"has:attachment", "has:link", "has:flag", "has:comment", "has:link has:flag report", "has:comment disposition:stored", "has:comment from:alice",
	"disposition:delivered", "disposition:stored disposition:failed", "disposition:refused with:alice report",
	"type:outcome", "type:outcome disposition:failed", "type:outcome from:alice", "type:act", "type:act review", "type:act figures", "type:act joke", "type:all", "type:all with:alice", "type:all report", "type:all figures",
	"type:all has:flag", "type:act has:comment", "type:all disposition:stored", "type:message report",
}

func TestIndexFindsWhatTheFilesHave(t *testing.T) {
	v := newRecord(t, 40_000)
	v.random(1500)
	v.wait()
	day := time.Now().AddDate(0, 0, -1)
	all := append(slices.Clip(queries),
		"after:"+day.Add(400*time.Second).Format(time.RFC3339Nano), "before:"+day.Add(100*time.Second).Format(time.RFC3339), "before:1990-01-01", "after:2200-01-01",
		fmt.Sprintf("after:%s before:%s report", day.Add(100*time.Second).UTC().Format(time.RFC3339), day.Add(700*time.Second).UTC().Format(time.RFC3339)))
	found := 0
	for _, q := range all {
		if v.same(q) > 0 {
			found++
		}
	}
	if found < len(all)-8 {
		t.Errorf("%d of %d queries found something", found, len(all))
	}
	// Random ones, of up to three parts.
	parts := slices.DeleteFunc(slices.Clone(all), func(s string) bool {
		return strings.HasPrefix(s, "type:") || strings.Contains(s, "after:") || strings.Contains(s, "before:")
	})
	for range 150 {
		q := pick(v.r, parts) + " " + pick(v.r, parts) + pick(v.r, []string{"", " type:all", " type:outcome"})
		v.same(q)
	}
	// Segments are compressed, and the index was there before.
	numbers, err := v.folder.Finished()
	if err != nil || len(numbers) < 3 {
		t.Fatal(len(numbers), err)
	}
	for _, n := range numbers {
		c, err := v.folder.Compact(n, v.ring, nil)
		if err != nil {
			t.Fatal(err)
		}
		v.append(&archive.Record{Type: archive.TypeAct, Actor: "server", Action: archive.ActSegment, Object: c.Statement.File})
		if err := c.Install(); err != nil {
			t.Fatal(err)
		}
	}
	v.wait()
	for _, q := range queries {
		v.same(q)
	}
	// The index is made of compressed segments.
	v.stop()
	if err := index.Remove(v.dir); err != nil {
		t.Fatal(err)
	}
	v.start()
	v.wait()
	for _, q := range queries {
		v.same(q)
	}
}

func TestIndexGoesOn(t *testing.T) {
	v := newRecord(t, 20_000)
	v.random(300)
	v.wait()
	if v.index.Made() != 1 {
		t.Errorf("made %d times", v.index.Made())
	}
	v.stop()
	v.random(300) // while nobody indexes
	if err := v.index.Search(context.Background(), archive.Query{}, func(*archive.Record) error { return nil }); !errors.Is(err, index.ErrNotReady) {
		t.Error(err)
	}
	v.start()
	v.wait()
	if v.index.Made() != 0 {
		t.Error("made again")
	}
	for _, q := range queries {
		v.same(q)
	}
	if lag := v.index.Lag(); lag.Records != 0 || lag.Age != 0 {
		t.Errorf("%+v", lag)
	}
}

func TestIndexIsMadeAgain(t *testing.T) {
	path := func(v *record) string { return filepath.Join(v.dir, "index.db") }
	for name, harm := range map[string]func(v *record) error{
		"no database": func(v *record) error { return os.WriteFile(path(v), []byte(strings.Repeat("x", 5000)), 0o600) },
		"cut":         func(v *record) error { return os.Truncate(path(v), 20_000) },
		"damaged": func(v *record) error {
			b, err := os.ReadFile(path(v))
			for i := 4096; i < len(b); i += 4096 {
				copy(b[i:], bytes.Repeat([]byte{0xA5}, 200))
			}
			return errors.Join(err, os.WriteFile(path(v), b, 0o600))
		},
		"of another archive": func(v *record) error {
			other := newRecord(v.t, 0)
			other.random(50)
			other.wait()
			other.stop()
			b, err := os.ReadFile(path(other))
			return errors.Join(err, os.WriteFile(path(v), b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newRecord(t, 0)
			v.random(200)
			v.wait()
			v.stop()
			if err := harm(v); err != nil {
				t.Fatal(err)
			}
			v.start()
			v.wait()
			if v.index.Made() != 1 {
				t.Errorf("made %d times", v.index.Made())
			}
			for _, q := range queries[:20] {
				v.same(q)
			}
		})
	}
}

// bytesOf returns all that is in the files of the index.
func bytesOf(t *testing.T, dir string) []byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	var all []byte
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// secret is a word that nothing else has.
func secret(i int) string { return fmt.Sprintf("xq%05dzw", i*7919) }

func TestErasedIsGoneFromTheFilesOfTheIndex(t *testing.T) {
	v := newRecord(t, 30_000)
	for i := range 400 {
		m := message("carol@example.com", "bob@example.com", "the word is "+secret(i)+" https://example.com")
		m.Subject = secret(1000 + i)
		v.append(m)
		if i%7 == 0 {
			v.append(message("alice@example.com", "carol@example.com", "kept "+secret(2000+i)))
		}
		if i%100 == 50 {
			v.wait() // more than one transaction
		}
	}
	v.wait()
	if !bytes.Contains(bytesOf(t, v.dir), []byte(secret(3))) {
		t.Fatal("the index has no words in clear: this test shows nothing")
	}
	if n := v.same("from:carol has:link"); n != 400 {
		t.Fatal(n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	v.append(&archive.Record{Type: archive.TypeAct, Actor: "os:dora", Action: "erase", Object: "sip:carol@example.com"})
	if _, err := v.ring.Destroy("sip:carol@example.com", time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := v.index.Forget(ctx, "sip:carol@example.com"); err != nil {
		t.Fatal(err)
	}
	v.nothingOf(t, 0, 1400)
	if n := v.same("from:carol"); n != 400 {
		t.Errorf("%d messages of carol", n)
	}
	v.same("from:carol has:link")
	v.same(secret(3))
	if n := v.same(secret(2007)); n != 1 {
		t.Error("what alice wrote is gone too")
	}
	v.append(message("carol@example.com", "bob@example.com", "new words"))
	v.wait()
	if n := v.same("from:carol words"); n != 1 {
		t.Error("what carol wrote since is not found")
	}
}

// nothingOf checks that no file of the index has the secrets from first to last.
func (v *record) nothingOf(t *testing.T, first, last int) {
	t.Helper()
	b := bytesOf(t, v.dir)
	for i := first; i < last; i++ {
		if s := secret(i); bytes.Contains(b, []byte(s[2:])) { // FTS5 leaves out what a word has in common with the one before
			t.Fatalf("%s is still in the files of the index", s)
		}
	}
}

// TestErasureWhileNobodyWasTold is the process that ended between the erasure and the index.
func TestErasureWhileNobodyWasTold(t *testing.T) {
	v := newRecord(t, 0)
	for i := range 100 {
		v.append(message("carol@example.com", "bob@example.com", secret(i)))
	}
	v.append(&archive.Record{Type: archive.TypeAct, Actor: "os:dora", Action: "erase", Object: "sip:carol@example.com"})
	v.wait()
	if _, err := v.ring.Destroy("sip:carol@example.com", time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	v.stop()
	v.start()
	v.wait()
	v.nothingOf(t, 0, 100)
	if n := v.same("from:carol"); n != 100 {
		t.Error(n)
	}
}

func TestPurgedIsGoneFromTheFilesOfTheIndex(t *testing.T) {
	v := newRecord(t, 10_000)
	for i := range 200 {
		v.append(message("carol@example.com", "bob@example.com", secret(i)))
	}
	v.wait()
	numbers, err := v.folder.Finished()
	if err != nil || len(numbers) == 0 {
		t.Fatal(numbers, err)
	}
	c, err := v.folder.Compact(numbers[0], v.ring, func(r *archive.Record) bool { return r.Seq <= 5 })
	if err != nil {
		t.Fatal(err)
	}
	v.append(&archive.Record{Type: archive.TypeAct, Actor: "server", Action: archive.ActSegment, Object: c.Statement.File, Reason: "purge"})
	if err := c.Install(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := v.index.ForgetSegment(ctx, c.Statement.File); err != nil {
		t.Fatal(err)
	}
	v.nothingOf(t, 0, 5)
	if n := v.same(secret(5)); n != 1 {
		t.Error("more than was purged is gone")
	}
	v.same("")
}

// TestDamageWhileItIsSearched: the index is made again, and the search says that it must be done otherwise.
func TestDamageWhileItIsSearched(t *testing.T) {
	v := newRecord(t, 0)
	v.random(300)
	v.wait()
	f, err := os.OpenFile(filepath.Join(v.dir, "index.db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Truncate(filepath.Join(v.dir, "index.db-wal"), 0), f.Truncate(8192), f.Close()); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for v.index.Made() < 2 {
		for _, q := range []string{"report", "with:alice", "type:act", ""} {
			query, err := archive.ParseQuery(q, nil)
			if err != nil {
				t.Fatal(err)
			}
			// An error or a whole answer; which one depends on what is in memory still.
			_ = v.index.Search(context.Background(), query, func(*archive.Record) error { return nil })
		}
		v.append(message("alice@example.com", "bob@example.com", "more"))
		if time.Now().After(deadline) {
			t.Fatal("the index was not made again")
		}
		time.Sleep(time.Millisecond)
	}
	v.wait()
	for _, q := range queries[:20] {
		v.same(q)
	}
}
