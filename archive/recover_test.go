package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// crash leaves dir as a process that was killed does: the lock is gone, and
// the segment keeps its free room and has no end.
func crash(t *testing.T, j *Journal) {
	t.Helper()
	j.mu.Lock()
	f := j.seg.f
	j.mu.Unlock()
	if err := j.dirf.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, j *Journal, from, n int) []*Record {
	t.Helper()
	var rs []*Record
	for i := range n {
		r := message(from + i)
		if _, err := j.Append(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(memory(t), "archive")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func verified(t *testing.T, dir string) *Report {
	t.Helper()
	rep, err := at(dir).Verify()
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// memory returns a folder for tests that make many small files.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "archive")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	fs, err := filepath.Glob(filepath.Join(dir, "*"+segmentExt))
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// places returns where each record lies.
func places(t *testing.T, dir string) []Pos {
	t.Helper()
	var ps []Pos
	if err := at(dir).Scan(func(_ *Record, p Pos) error { ps = append(ps, p); return nil }); err != nil {
		t.Fatal(err)
	}
	return ps
}

// TestTornTail cuts the file, and overwrites it with zeros, at every byte of
// the last two records: Open keeps every record before, and goes on with the
// next seq.
func TestTornTail(t *testing.T) {
	src := t.TempDir()
	j := open(t, src, Options{Node: "n1"})
	write(t, j, 0, 4)
	crash(t, j)
	ps := places(t, src)
	data, err := os.ReadFile(segments(t, src)[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(memory(t), "a")
	name := filepath.Join(dir, segmentName(1))
	last := ps[len(ps)-1]
	for _, zeros := range []bool{false, true} {
		for cut := ps[2].Offset; cut <= last.Offset+int64(last.Bytes); cut++ {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			b := bytes.Clone(data[:cut])
			if zeros {
				b = append(b, make([]byte, 5000)...)
			}
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			want := 2
			for _, p := range ps[2:] {
				if p.Offset+int64(p.Bytes) <= cut {
					want++
				}
			}
			rep := verified(t, dir)
			if !rep.OK || rep.Records != uint64(want) {
				t.Fatalf("cut at %d: verify before repair: %+v", cut, rep)
			}
			onRecord := cut == ps[2].Offset || cut == last.Offset || cut == last.Offset+int64(last.Bytes)
			if torn := rep.Torn != nil; torn == onRecord && !(zeros && !torn) {
				t.Fatalf("cut at %d (zeros %v): torn %v", cut, zeros, rep.Torn)
			}
			j, err := Open(dir, Options{Node: "n1", noSync: true, SegmentBytes: 4096})
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if rc, err := j.Append(context.Background(), message(9)); err != nil || rc.Seq() != uint64(want+1) {
				t.Fatalf("cut at %d: append: %v, seq %d, want %d", cut, err, rc.Seq(), want+1)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if rep := verified(t, dir); !rep.OK || rep.Records != uint64(want+1) || rep.Torn != nil {
				t.Fatalf("cut at %d: verify: %+v %v %v", cut, rep, rep.Err(), rep.Torn)
			}
		}
	}
}

// TestFlippedBit flips a bit in every byte of a closed archive in turn.
// Verify names the file and a place at or before the byte, within its record.
func TestFlippedBit(t *testing.T) {
	src := t.TempDir()
	j := open(t, src, Options{Node: "n1", SegmentBytes: 1900})
	for i, m := range write(t, j, 0, 4) {
		if err := j.Note(outcome(m, Disposition(1+i%7))); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	files := segments(t, src)
	if len(files) < 2 {
		t.Fatalf("%d segments", len(files))
	}
	if rep := verified(t, src); !rep.OK || rep.Records != 8 || rep.Messages != 4 {
		t.Fatalf("%+v %v", rep, rep.Err())
	}
	dir := copyDir(t, src)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Base(file))
		for i := range data {
			data[i] ^= 1 << (i % 8)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			data[i] ^= 1 << (i % 8)
			rep := verified(t, dir)
			if rep.OK || rep.Faults[0].File != filepath.Base(file) {
				t.Fatalf("%s byte %d: %+v, first %v", path, i, rep, rep.Err())
			}
			if at := rep.Faults[0].Offset; at > int64(i) || int64(i)-at > headerBlock {
				t.Fatalf("%s byte %d: named at %d: %v", path, i, at, rep.Err())
			}
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamageIsNotCut: a record that is damaged, with a later commit behind it,
// is no torn tail. Open leaves it for Verify to name and goes on behind it.
func TestDamageIsNotCut(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{Node: "n1"})
	write(t, j, 0, 5)
	crash(t, j)
	p := places(t, dir)[2]
	flip(t, filepath.Join(dir, p.File), p.Offset+40)
	before, _ := os.ReadFile(filepath.Join(dir, p.File))

	var events []Event
	j = open(t, dir, Options{Node: "n1", Log: func(e Event) { events = append(events, e) }})
	rs := write(t, j, 10, 1)
	if rs[0].Seq != 6 {
		t.Fatalf("seq %d", rs[0].Seq)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(filepath.Join(dir, p.File))
	if !bytes.Equal(before, after) {
		t.Fatal("the damaged segment was changed")
	}
	if len(events) != 1 || !strings.Contains(events[0].What, "damaged") || events[0].Offset != p.Offset {
		t.Fatalf("events %+v", events)
	}
	rep := verified(t, dir)
	if rep.OK || rep.Faults[0].Offset != p.Offset || rep.Faults[0].Seq != 3 || rep.Records != 5 {
		t.Fatalf("%+v %v", rep, rep.Err())
	}
	if _, _, err := at(dir).Find(rs[0].ID); err != nil {
		t.Fatalf("record behind the damage: %v", err)
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 4
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWrongArchives: each has a name in the report.
func TestWrongArchives(t *testing.T) {
	src := t.TempDir()
	j := open(t, src, Options{Node: "n1", SegmentBytes: 1200})
	write(t, j, 0, 5)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	k := open(t, other, Options{Node: "n1", SegmentBytes: 1200})
	write(t, k, 0, 5)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	name := segmentName
	for _, c := range []struct {
		what string
		do   func(dir string) error
		want string
	}{
		{"a segment removed", func(d string) error { return os.Remove(segmentPath(d, 2)) }, "missing"},
		{"the first segment removed", func(d string) error { return os.Remove(segmentPath(d, 1)) }, "missing"},
		{"segments exchanged", func(d string) error {
			return errors.Join(os.Rename(segmentPath(d, 2), d+"/x"), os.Rename(segmentPath(d, 3), segmentPath(d, 2)), os.Rename(d+"/x", segmentPath(d, 3)))
		}, "header says"},
		{"a segment of another archive", func(d string) error {
			b, err := os.ReadFile(segmentPath(other, 2))
			return errors.Join(err, os.WriteFile(segmentPath(d, 2), b, 0o600))
		}, "does not follow"},
		{"a segment cut", func(d string) error { return os.Truncate(segmentPath(d, 2), headerBlock+100) }, "cut"},
		{"a segment longer", func(d string) error {
			b, err := os.ReadFile(segmentPath(d, 2))
			return errors.Join(err, os.WriteFile(segmentPath(d, 2), append(b, "more"...), 0o600))
		}, "behind the end"},
		{"the last segment longer", func(d string) error {
			b, err := os.ReadFile(segmentPath(d, 5))
			return errors.Join(err, os.WriteFile(segmentPath(d, 5), append(b, "more"...), 0o600))
		}, "behind the end"},
		{"an empty segment", func(d string) error { return os.Truncate(segmentPath(d, 2), 0) }, "header cut off"},
		{"another file", func(d string) error { return os.WriteFile(d+"/notes.txt", []byte("x"), 0o600) }, "not a file"},
	} {
		dir := copyDir(t, src)
		if len(segments(t, dir)) != 5 {
			t.Fatalf("segments: %v", segments(t, dir))
		}
		if err := c.do(dir); err != nil {
			t.Fatal(err)
		}
		rep := verified(t, dir)
		if rep.OK || !strings.Contains(rep.Err().Error(), c.want) {
			t.Errorf("%s: %v, want %q (%s)", c.what, rep.Err(), c.want, name(1))
		}
	}
	if rep := verified(t, src); !rep.OK {
		t.Fatal(rep.Err())
	}
}

// TestWrongRecords: what frames and CRCs cannot tell, because it was written so.
func TestWrongRecords(t *testing.T) {
	dir := t.TempDir()
	var j *Journal
	j = open(t, dir, Options{Hook: func(op Op, _ int) error {
		if op == OpSync && j.nextSeq == 4 { // after record 3, as if the journal forgot its last time
			j.lastArchived = 0
		}
		return nil
	}})
	j.lastArchived = time.Now().Add(time.Hour).UnixMicro()
	ctx := context.Background()
	one := write(t, j, 0, 1)[0]
	lost := outcome(message(1), Stored)
	lost.Cites = NewID(time.Now())
	twice := message(2)
	twice.ID = one.ID
	for _, r := range []*Record{lost, twice, message(3)} {
		if _, err := j.Append(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	rep := verified(t, dir)
	if len(rep.Faults) != 3 {
		t.Fatalf("%v", rep.Faults)
	}
	for i, want := range []string{"record 2: cites", "record 3: ID", "record 4: archived before"} {
		if !strings.Contains(rep.Faults[i].Error(), want) {
			t.Errorf("%v, want %q", rep.Faults[i], want)
		}
	}
}

func TestTwoJournals(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Fatalf("second journal: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, Options{})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if fs := segments(t, dir); len(fs) != 0 {
		t.Fatalf("a journal without records left %v", fs)
	}
	if rep := verified(t, dir); !rep.OK || rep.Records != 0 {
		t.Fatalf("%+v", rep)
	}
}

func TestMissingFolder(t *testing.T) {
	if _, err := at(filepath.Join(t.TempDir(), "no")).Verify(); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := at(filepath.Join(t.TempDir(), "no")).Scan(nil); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// TestReaderFollows reads while a journal writes, over rotations.
func TestReaderFollows(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{Node: "n1", SegmentBytes: 2000})
	const n = 150
	failed := make(chan error, 3)
	for range 3 {
		go func() {
			r, err := at(dir).Reader()
			if err != nil {
				failed <- err
				return
			}
			defer r.Close()
			for want := uint64(1); want <= n; {
				rec, _, err := r.Next()
				if errors.Is(err, io.EOF) {
					continue
				}
				if err == nil && rec.Seq != want {
					err = errors.New("out of order")
				}
				if err != nil {
					failed <- err
					return
				}
				want++
			}
			failed <- nil
		}()
	}
	write(t, j, 0, n)
	for range 3 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if rep := verified(t, dir); !rep.OK || rep.Segments < 10 {
		t.Fatalf("%+v %v", rep, rep.Err())
	}
}
