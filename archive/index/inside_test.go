package index

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/archive"
)

// TestVoidRecordsAreTakenBack: records that were read and then written again, as after a write that the disk refused.
func TestVoidRecordsAreTakenBack(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	db, seq, err := openDatabase(ctx, filepath.Join(dir, "index"), archive.Folder{Dir: dir})
	if err != nil || seq != 0 {
		t.Fatal(seq, err)
	}
	defer db.close()
	f := &follower{x: New(Options{}), db: db, b: newBatch(), entered: true}
	now := time.Now()
	message := func(seq uint64, word string) *archive.Record {
		return &archive.Record{Type: archive.TypeMessage, Seq: seq, ID: archive.NewID(now), Received: now, From: "sip:alice@example.com", Raw: []byte("\r\n\r\n" + word)}
	}
	var sixth *archive.Record
	for seq := uint64(1); seq <= 10; seq++ {
		m := message(seq, "before")
		if seq == 6 {
			sixth = m
		}
		f.b.add(m, archive.Pos{File: "0000000001.rcj"})
		f.b.add(&archive.Record{Type: archive.TypeOutcome, Seq: seq + 100, ID: archive.NewID(now), Received: now, Cites: m.ID, Disposition: archive.Failed}, archive.Pos{File: "0000000001.rcj"})
	}
	if void, err := f.void(ctx, sixth); void || err != nil {
		t.Fatal("the same record is void:", err)
	}
	again := message(6, "after")
	if void, err := f.void(ctx, again); !void || err != nil {
		t.Fatal("another record is not void:", err)
	}
	f.b.add(again, archive.Pos{File: "0000000002.rcj"})
	if err := f.commit(ctx); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{"before": 5, "after": 1, "": 6, "disposition:failed": 5} {
		q, err := archive.ParseQuery(query, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := db.plan(ctx, &q)
		if err != nil {
			t.Fatal(err)
		}
		if hits, err := db.page(ctx, p, 0, 100); err != nil || len(hits) != want {
			t.Errorf("%q: %d, want %d, %v", query, len(hits), want, err)
		}
	}
}

// FuzzPlan checks that whatever the language takes can be asked of the database.
func FuzzPlan(f *testing.F) {
	dir := f.TempDir()
	db, _, err := openDatabase(context.Background(), dir, archive.Folder{Dir: dir})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = db.close() })
	f.Add(`from:"a \" b" OR AND NEAR(x) conversation:a*,b^ -has:link * "a + b" type:all after:2026-01-01`)
	f.Add("unit:\x01 group:\xe4\xbc\x9a disposition:failed has:comment flagged:" + strings.Repeat("x", 300))
	f.Fuzz(func(t *testing.T, query string) {
		q, err := archive.ParseQuery(query, nil)
		if err != nil {
			return
		}
		p, err := db.plan(t.Context(), &q)
		if err != nil {
			t.Fatalf("%q: %v", query, err)
		}
		if _, err := db.page(t.Context(), p, 0, 10); err != nil {
			t.Fatalf("%q: %v", query, err)
		}
	})
}

// TestLongQuery: a query as long as one may be, of words and of fields.
func TestLongQuery(t *testing.T) {
	dir := t.TempDir()
	db, _, err := openDatabase(t.Context(), dir, archive.Folder{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	for _, query := range []string{
		strings.Repeat("a ", 2048), "type:all " + strings.Repeat("to:a ", 800), `conversation:"` + strings.Repeat("a,", 50) + `"`, "type:all " + strings.Repeat("with:a ", 500),
	} {
		q, err := archive.ParseQuery(query, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := db.plan(t.Context(), &q)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.page(t.Context(), p, 0, 10); err != nil {
			t.Errorf("%.20s: %v", query, err)
		}
	}
}

// TestLoadedAndBehind: an index that is more than a batch behind takes no rest beside a moderate load, and takes it
// beside a heavy one.
func TestLoadedAndBehind(t *testing.T) {
	for _, test := range []struct {
		told   Load
		behind uint64
		want   Load
	}{
		{Quiet, batchRecords + 1, Quiet}, {Loaded, batchRecords, Loaded}, {Loaded, batchRecords + 1, Quiet}, {Busy, batchRecords + 1, Busy},
	} {
		x := New(Options{Load: func() Load { return test.told }, Durable: func() uint64 { return 10 + test.behind }})
		x.moveTo(10, time.Now())
		p := pacer{x: x}
		p.begin()
		if p.end(); p.load != test.want {
			t.Errorf("load %d and %d records behind: works as at load %d, want %d", test.told, test.behind, p.load, test.want)
		}
	}
}
