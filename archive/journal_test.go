package archive

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func message(i int) *Record {
	body := fmt.Sprintf("hello %d", i)
	return &Record{
		Type: TypeMessage, Received: time.Now(), Direction: Internal, Channel: "sip-message",
		From: "sip:alice@example.com", To: "sip:bob@example.com", FromName: "Alice",
		CallID: fmt.Sprintf("call-%d@192.0.2.1", i), CSeq: uint32(i + 1), Branch: fmt.Sprintf("z9hG4bK%d", i),
		Method: "MESSAGE", RequestURI: "sip:bob@example.com", Source: "udp 192.0.2.1:5060",
		ContentType: "text/plain", Decision: "allow", Rule: "default",
		Raw: []byte("MESSAGE sip:bob@example.com SIP/2.0\r\nContent-Type: text/plain\r\n\r\n" + body),
	}
}

func outcome(of *Record, d Disposition) *Record {
	return &Record{
		Type: TypeOutcome, Received: of.Received, Cites: of.ID, From: of.From, To: of.To,
		Disposition: d, Status: 200, Reason: "OK", Target: "sip:bob@192.0.2.2:5060",
	}
}

func open(t testing.TB, dir string, o Options) *Journal {
	t.Helper()
	j, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func all(t testing.TB, dir string) []*Record {
	t.Helper()
	var rs []*Record
	if err := at(dir).Scan(func(r *Record, _ Pos) error { rs = append(rs, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return rs
}

func TestAppendIsReadBack(t *testing.T) {
	dir := t.TempDir()
	for run := range 3 {
		j := open(t, dir, Options{Node: "n1", SegmentBytes: 4096})
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 20 {
					r := message(g*100 + i)
					rc, err := j.Append(context.Background(), r)
					if err != nil || !rc.Valid() || rc.ID() != r.ID || rc.Seq() != r.Seq {
						t.Errorf("append: %v %+v", err, rc)
						return
					}
					if err := j.Note(outcome(r, Delivered)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		rs := all(t, dir)
		if want := (run + 1) * 8 * 20 * 2; len(rs) != want {
			t.Fatalf("run %d: %d records, want %d", run, len(rs), want)
		}
		for i, r := range rs {
			if r.Seq != uint64(i+1) {
				t.Fatalf("record %d has seq %d", i, r.Seq)
			}
		}
	}
}

// TestRecall: receipts of records that are durable, after a restart too.
func TestRecall(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	r := message(1)
	rc, err := j.Append(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, Options{})
	defer j.Close()
	if got := j.Recall(rc.ID(), rc.Seq()); got != rc {
		t.Errorf("%+v, want %+v", got, rc)
	}
	for _, bad := range []Receipt{j.Recall(rc.ID(), rc.Seq()+1), j.Recall(rc.ID(), 0), j.Recall(ID{}, 1)} {
		if bad.Valid() {
			t.Errorf("%+v is valid", bad)
		}
	}
	if last, err := j.Last(); err != nil || !last.Equal(r.Archived) {
		t.Errorf("last %v, want %v, %v", last, r.Archived, err)
	}
}

// at is the archive in dir, without keys.
func at(dir string) Folder { return Folder{Dir: dir} }

// Zeros are there before the records that go over them: most commits leave the length
// of the file as it is. A segment has no more of them than its records may take, and
// none when it is finished.
func TestRoomAhead(t *testing.T) {
	size := func(dir string) int64 {
		t.Helper()
		info, err := os.Stat(segments(t, dir)[0])
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for _, most := range []int64{64 << 10, 64 << 20} {
		dir := t.TempDir()
		j := open(t, dir, Options{SegmentBytes: most})
		write(t, j, 0, 1)
		until(t, func() error { // they are written behind the acknowledgement
			if n, want := size(dir), min(most, roomBytes); n < want || n > want+4096 {
				return fmt.Errorf("segments of %d bytes: the file has %d after one record", most, n)
			}
			return nil
		})
		before := size(dir)
		write(t, j, 1, 20)
		if now := size(dir); now != before {
			t.Errorf("segments of %d bytes: the file had %d and has %d after some records", most, before, now)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if now := size(dir); now > 32<<10 {
			t.Errorf("segments of %d bytes: the finished file has %d", most, now)
		}
		if n := len(all(t, dir)); n != 21 {
			t.Errorf("%d records are there, want 21", n)
		}
	}
}

func TestSyncTimes(t *testing.T) {
	const slow = 20 * time.Millisecond
	var told, withKeys atomic.Uint64
	j := open(t, t.TempDir(), Options{
		Keys: slowKeys(slow),
		Hook: func(op Op, _ int) error {
			if op == OpSync {
				time.Sleep(slow)
			}
			return nil
		},
		Synced: func(took time.Duration) {
			told.Add(1)
			if took >= 2*slow {
				withKeys.Add(1)
			}
			if took < slow || took > 100*slow {
				t.Errorf("a sync of %v or a little more took %v, it is said", slow, took)
			}
		},
	})
	write(t, j, 0, 3)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if n := j.Stats().Syncs; told.Load() != n || n < 3 {
		t.Errorf("%d syncs, told of %d", n, told.Load())
	}
	if n := withKeys.Load(); n < 3 {
		t.Errorf("the time of the keys is in %d syncs, want 3 at least", n)
	}
}

// slowKeys seal nothing, and take so long to be durable.
type slowKeys time.Duration

func (s slowKeys) Seal(dst []byte, _ string, _ time.Time, _ ID, plain []byte) ([]byte, error) {
	return append(append(dst, make([]byte, keyID)...), plain...), nil
}

func (s slowKeys) Open(dst []byte, _ ID, _ []byte) ([]byte, error) { return dst, ErrNoKey }

func (s slowKeys) Sync() error { time.Sleep(time.Duration(s)); return nil }
