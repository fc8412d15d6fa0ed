package retain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/archive"
	"rollcall/archive/keys"
)

const alice, bob, carol = "sip:alice@example.com", "sip:bob@example.com", "sip:carol@example.com"

// memory keeps holds in memory.
type memory struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (m *memory) List(context.Context) (out []*Hold, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.m {
		h, err := DecodeHold(b)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}

func (m *memory) Put(_ context.Context, h *Hold) error {
	b, err := h.Encode()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.m[h.Name] = b
	return nil
}

func (m *memory) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.m, name)
	return nil
}

// house is an archive with a keeper.
type house struct {
	*testing.T
	*Keeper
	folder  archive.Folder
	ring    *keys.Ring
	j       *archive.Journal
	classes Classes
	erased  []string
}

func newHouse(t *testing.T) *house { return houseAt(t, t.TempDir()) }

func houseAt(t *testing.T, dir string) *house {
	t.Helper()
	h := &house{T: t}
	master, err := keys.LoadFile(filepath.Join(dir, "keys", "master.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	if h.ring, err = keys.Open(filepath.Join(dir, "keys", "content"), master); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.ring.Close() })
	h.folder = archive.Folder{Dir: filepath.Join(dir, "archive"), Keys: h.ring}
	h.open()
	t.Cleanup(func() { _ = h.j.Close() })
	h.Keeper = New(Options{Folder: h.folder, Ring: h.ring, Holds: &memory{m: map[string][]byte{}}, Classes: func() Classes { return h.classes },
		Act: func(ctx context.Context, actor, action, object, reason string, detail any) error {
			raw, err := json.Marshal(detail)
			if err != nil {
				return err
			}
			_, err = h.j.Append(ctx, &archive.Record{Type: archive.TypeAct, Received: time.Now(), Actor: actor, Action: action, Object: object, Reason: reason, Raw: raw})
			return err
		},
		Erased: func(_ context.Context, author string) error {
			h.erased = append(h.erased, author)
			return nil
		},
	})
	return h
}

func (h *house) open() {
	h.Helper()
	var err error
	if h.j, err = archive.Open(h.folder.Dir, archive.Options{Node: "n1", Keys: h.ring}); err != nil {
		h.Fatal(err)
	}
}

func (h *house) say(from, to, class, text string) archive.ID {
	h.Helper()
	r := &archive.Record{Type: archive.TypeMessage, Received: time.Now(), From: from, To: to, Class: class,
		Raw: []byte("MESSAGE " + to + " SIP/2.0\r\n\r\n" + text)}
	if _, err := h.j.Append(h.Context(), r); err != nil {
		h.Fatal(err)
	}
	return r.ID
}

// compress restarts the journal and compresses what it finished.
func (h *house) compress() {
	h.Helper()
	if err := h.j.Close(); err != nil {
		h.Fatal(err)
	}
	h.open()
	h.say(bob, carol, "forever", "the next segment")
	numbers, err := h.folder.Finished()
	if err != nil {
		h.Fatal(err)
	}
	for _, n := range numbers {
		c, err := h.folder.Compact(n, h.ring, nil)
		if err != nil {
			h.Fatal(err)
		}
		if err := h.o.Act(h.Context(), "server", archive.ActSegment, c.Statement.File, "", c.Statement); err != nil {
			h.Fatal(err)
		}
		if err := c.Install(); err != nil {
			h.Fatal(err)
		}
	}
}

func (h *house) text(id archive.ID) string {
	h.Helper()
	r, _, err := h.folder.Find(id)
	if err != nil {
		h.Fatal(err)
	}
	if r.Content != archive.Present {
		return r.Content.String()
	}
	return string(r.Body())
}

func (h *house) acts() (out []string) {
	h.Helper()
	err := h.folder.Scan(func(r *archive.Record, _ archive.Pos) error {
		if r.Type == archive.TypeAct && r.Action != archive.ActSegment {
			out = append(out, r.Actor+" "+r.Action+" "+r.Object)
		}
		return nil
	})
	if err != nil {
		h.Fatal(err)
	}
	return out
}

func (h *house) verify() {
	h.Helper()
	if rep, err := h.folder.Verify(); err != nil || !rep.OK {
		h.Errorf("verify: %v %v", rep.Err(), err)
	}
}

func TestClasses(t *testing.T) {
	cs := Classes{
		{Name: "", Years: 3}, {Name: "short", Days: 30, Groups: []string{"interns"}},
		{Name: "trading", Years: 7, Groups: []string{"traders"}}, {Name: "legal", Units: []string{"Legal"}},
	}
	intern, trader, lawyer := Party{Groups: []string{"interns"}}, Party{Groups: []string{"x", "traders"}}, Party{Unit: "Legal"}
	for _, c := range []struct {
		a, b Party
		want string
	}{{Party{}, Party{}, ""}, {intern, Party{}, "short"}, {intern, trader, "trading"}, {trader, lawyer, "legal"}, {lawyer, intern, "legal"}} {
		if got := cs.Of(c.a, c.b); got != c.want {
			t.Errorf("%v %v: %q, want %q", c.a, c.b, got, c.want)
		}
	}
	now := time.Now()
	for _, c := range []struct {
		class string
		age   time.Duration
		want  bool
	}{{"", 4 * 366 * 24 * time.Hour, true}, {"", time.Hour, false}, {"legal", 1e6 * time.Hour, false}, {"gone", 1e6 * time.Hour, false}} {
		if got := cs.Expired(&archive.Record{Class: c.class, Archived: now.Add(-c.age)}, now); got != c.want {
			t.Errorf("%q after %v: %v", c.class, c.age, got)
		}
	}
}

// TestPurge: contents go when their time is over, but for those under a hold.
func TestPurge(t *testing.T) {
	h := newHouse(t)
	h.classes = Classes{{Name: "short", Days: 1}, {Name: "long", Years: 7}}
	short, long, kept := h.say(alice, bob, "short", "of a day"), h.say(alice, bob, "long", "of years"), h.say(bob, carol, "short", "about the merger")
	none := h.say(alice, bob, "", "of no class")
	h.compress()
	later := time.Now().Add(48 * time.Hour)
	if _, err := h.Place(t.Context(), "dora", Hold{Name: "case-1", Query: "merger", Reason: "litigation"}); err != nil {
		t.Fatal(err)
	}
	for _, now := range []time.Time{time.Now(), later, later} {
		done, err := h.Purge(t.Context(), "server", now)
		if err != nil {
			t.Fatal(err)
		}
		if now.Equal(later) && len(done) > 0 && (done[0].Contents != 1 || done[0].Held != 1 || done[0].Classes["short"] != 1) {
			t.Errorf("%+v", done)
		}
	}
	if h.text(short) != "erased" || h.text(long) != "of years" || h.text(kept) != "about the merger" || h.text(none) != "of no class" {
		t.Error(h.text(short), h.text(long), h.text(kept), h.text(none))
	}
	h.verify()
	if got := h.acts(); !slices.Equal(got, []string{"dora hold case-1", "server purge 0000000001.rcz"}) {
		t.Errorf("%q", got)
	}
	// Two people release it, and then it goes.
	if _, released, err := h.Release(t.Context(), "dora", "case-1", "settled"); err != nil || released {
		t.Fatal(released, err)
	}
	if _, _, err := h.Release(t.Context(), "dora", "case-1", "settled"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "somebody else") {
		t.Error(err)
	}
	if _, err := h.Purge(t.Context(), "server", later); err != nil || h.text(kept) != "about the merger" {
		t.Error("purged while the release was asked for", err)
	}
	if _, released, err := h.Release(t.Context(), "emil", "case-1", "confirmed"); err != nil || !released {
		t.Fatal(released, err)
	}
	if _, err := h.Purge(t.Context(), "server", later); err != nil || h.text(kept) != "erased" {
		t.Error("kept after the release", err)
	}
	h.verify()
}

// TestErase: content goes with its keys, and not while something stands against it.
func TestErase(t *testing.T) {
	h := newHouse(t)
	h.classes = Classes{{Name: "trading", Years: 7}, {Name: "", Days: 0}}
	mine, theirs := h.say(carol, bob, "gone", "mine"), h.say(alice, carol, "trading", "theirs")
	for _, c := range []struct {
		author, why string
	}{{alice, "retention of 1 messages runs until"}, {carol, "kept for ever"}} {
		e, err := h.Erase(t.Context(), "dora", c.author, time.Time{}, time.Time{}, "her wish")
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.why) || e.Messages != 1 {
			t.Errorf("%s: %+v %v", c.author, e, err)
		}
	}
	h.classes = nil // no duty to keep anything
	if _, err := h.Place(t.Context(), "dora", Hold{Name: "case-1", Custodians: []string{bob}, Reason: "litigation"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Erase(t.Context(), "dora", carol, time.Time{}, time.Time{}, "her wish"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "case-1") {
		t.Errorf("under a hold of the recipient: %v", err)
	}
	if h.text(mine) != "mine" || len(h.erased) != 0 {
		t.Error("erased in spite of the refusal")
	}
	for _, who := range []string{"dora", "emil"} {
		if _, _, err := h.Release(t.Context(), who, "case-1", "settled"); err != nil {
			t.Fatal(err)
		}
	}
	e, err := h.Erase(t.Context(), "dora", carol, time.Time{}, time.Time{}, "her wish")
	if err != nil || e.Messages != 1 || len(e.Months) != 1 {
		t.Fatal(e, err)
	}
	if h.text(mine) != "erased" || h.text(theirs) != "theirs" || !slices.Equal(h.erased, []string{carol}) {
		t.Error(h.text(mine), h.text(theirs), h.erased)
	}
	h.verify()
	h.compress()
	if h.text(mine) != "erased" || h.text(theirs) != "theirs" {
		t.Error("after compressing:", h.text(mine), h.text(theirs))
	}
	h.verify()
	want := []string{"dora erase-refused " + alice, "dora erase-refused " + carol, "dora hold case-1", "dora erase-refused " + carol,
		"dora release-request case-1", "emil release case-1", "dora erase " + carol}
	if got := h.acts(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestBadHolds(t *testing.T) {
	h := newHouse(t)
	for what, hold := range map[string]Hold{
		"on nobody and nothing": {Name: "a", Reason: "r"},
		"needs a reason":        {Name: "a", Query: "words"},
		"letters, digits":       {Name: "../a", Query: "words", Reason: "r"},
		"column":                {Name: "a", Query: `"open`, Reason: "r"},
		"ends before":           {Name: "a", After: time.Now(), Before: time.Now().Add(-time.Hour), Reason: "r"},
	} {
		if _, err := h.Place(t.Context(), "dora", hold); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	good := Hold{Name: "a", Query: "words", Reason: "r", By: "somebody else", ReleaseBy: "x"}
	if placed, err := h.Place(t.Context(), "dora", good); err != nil || placed.By != "dora" || placed.ReleaseBy != "" {
		t.Error(placed, err)
	}
	if _, err := h.Place(t.Context(), "dora", good); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	if _, _, err := h.Release(t.Context(), "dora", "b", "r"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if list, err := h.List(t.Context()); err != nil || len(list) != 1 {
		t.Error(list, err)
	}
	for _, c := range []struct {
		author, reason string
		from           time.Time
	}{{"alice", "r", time.Time{}}, {alice, "", time.Time{}}, {alice, "r", time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)}} {
		if _, err := h.Erase(t.Context(), "dora", c.author, c.from, time.Time{}, c.reason); !errors.Is(err, ErrInvalid) {
			t.Error(c, err)
		}
	}
	if got := fmt.Sprint(h.acts()); got != "[dora hold a]" {
		t.Error(got)
	}
}
