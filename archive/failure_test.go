package archive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// until repeats f, which asks a journal that failed, until it works again.
func until(t *testing.T, f func() error) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("does not work again: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestDiskErrors makes each operation fail in turn. No refused record is in
// the archive, every acknowledged one is, notes survive, seq has no gap.
func TestDiskErrors(t *testing.T) {
	for _, op := range []Op{OpCreate, OpWrite, OpSync} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			var broken atomic.Bool
			var tries atomic.Int32
			dir := t.TempDir()
			j := open(t, dir, Options{Node: "n1", Hook: func(o Op, _ int) error {
				if o == op && broken.Load() {
					tries.Add(1)
					return syscall.EIO
				}
				return nil
			}})
			ctx := context.Background()
			var kept []*Record
			if op != OpCreate {
				kept = write(t, j, 0, 3)
			}
			broken.Store(true)
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					if rc, err := j.Append(ctx, message(100+i)); !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.EIO) || rc.Valid() {
						t.Errorf("append on a broken disk: %v", err)
					}
				})
			}
			wg.Wait()
			if j.Err() == nil {
				t.Fatal("a journal that failed says that it works")
			}
			began, before := time.Now(), tries.Load()
			for range 200 {
				if _, err := j.Append(ctx, message(200)); !errors.Is(err, ErrUnavailable) {
					t.Fatal(err)
				}
			}
			if took := time.Since(began); took < probeEvery && tries.Load() > before+1 {
				t.Fatalf("%d tries in %v", tries.Load()-before, took)
			}
			note := message(300)
			if err := j.Note(note); err != nil {
				t.Fatal(err)
			}
			broken.Store(false)
			until(t, j.Err)
			kept = append(kept, note)
			kept = append(kept, write(t, j, 400, 3)...)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if rep := verified(t, dir); !rep.OK || rep.Records != uint64(len(kept)) {
				t.Fatalf("%+v %v", rep, rep.Err())
			}
			for i, r := range all(t, dir) {
				if r.ID != kept[i].ID || r.Seq != uint64(i+1) {
					t.Fatalf("record %d is %s, seq %d, want %s", i, r.ID, r.Seq, kept[i].ID)
				}
			}
		})
	}
}

// TestRefusedIsNotThere: what was written but not made durable, and so
// refused, is not in the archive, also when the process dies before it
// writes again.
func TestRefusedIsNotThere(t *testing.T) {
	dir := t.TempDir()
	var broken atomic.Bool
	j := open(t, dir, Options{Hook: func(o Op, _ int) error {
		if o == OpSync && broken.Load() {
			return syscall.EIO
		}
		return nil
	}})
	write(t, j, 0, 2)
	broken.Store(true)
	if _, err := j.Append(context.Background(), message(2)); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	if err := j.dirf.Close(); err != nil { // as if killed
		t.Fatal(err)
	}
	j = open(t, dir, Options{})
	if rs := write(t, j, 3, 1); rs[0].Seq != 3 {
		t.Fatalf("seq %d", rs[0].Seq)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if rep := verified(t, dir); !rep.OK || rep.Records != 3 {
		t.Fatalf("%+v %v", rep, rep.Err())
	}
}

// TestFullDisk fills a small file system. Where the test may not mount one,
// a limit of the file's size takes its place.
func TestFullDisk(t *testing.T) {
	mnt := t.TempDir()
	var full func(Op, int) error
	var used atomic.Int64
	var limit atomic.Int64
	limit.Store(400 << 10)
	free := func() { limit.Store(1 << 40) }
	if err := syscall.Mount("tmpfs", mnt, "tmpfs", 0, "size=1m"); err == nil {
		t.Cleanup(func() { _ = syscall.Unmount(mnt, syscall.MNT_DETACH) })
		ballast := filepath.Join(mnt, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 600<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		free = func() {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		}
	} else {
		full = func(op Op, n int) error {
			if op == OpWrite && used.Add(int64(n)) > limit.Load() {
				return syscall.ENOSPC
			}
			return nil
		}
	}
	dir := filepath.Join(mnt, "archive")
	j := open(t, dir, Options{Node: "n1", SegmentBytes: 100 << 10, Hook: full})
	ctx := context.Background()
	var acked []ID
	add := func(i int) error {
		m := message(i)
		if _, err := j.Append(ctx, m); err != nil {
			return err
		}
		acked = append(acked, m.ID)
		return nil
	}
	var err error
	for i := 0; err == nil && i < 10000; i++ {
		err = add(i)
	}
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("on a full disk: %v", err)
	}
	if len(acked) < 500 {
		t.Fatalf("%d records on 400 KiB", len(acked))
	}
	if rep := verified(t, dir); !rep.OK {
		t.Fatalf("while the disk is full: %v", rep.Err())
	}
	free()
	until(t, func() error { return add(20000) })
	for i := range 100 {
		if err := add(30000 + i); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	rep := verified(t, dir)
	if !rep.OK || rep.Records != uint64(len(acked)) {
		t.Fatalf("%d acknowledged, %+v %v", len(acked), rep, rep.Err())
	}
	for i, r := range all(t, dir) {
		if r.ID != acked[i] {
			t.Fatalf("record %d differs", i)
		}
	}
}

// TestOpenOnFullDisk: what a crash left is read and kept although nothing can
// be written; the journal works when there is room.
func TestOpenOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	write(t, j, 0, 3)
	crash(t, j)
	var broken atomic.Bool
	broken.Store(true)
	j = open(t, dir, Options{Hook: func(Op, int) error {
		if broken.Load() {
			return syscall.ENOSPC
		}
		return nil
	}})
	if _, err := j.Append(context.Background(), message(9)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	broken.Store(false)
	until(t, j.Err)
	if rs := write(t, j, 4, 1); rs[0].Seq != 4 {
		t.Fatal(rs[0].Seq)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if rep := verified(t, dir); !rep.OK {
		t.Fatal(rep.Err())
	}
}

// TestClockJumpsBack: archive time stands still until the clock has caught up.
func TestClockJumpsBack(t *testing.T) {
	dir := t.TempDir()
	ahead := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	j := open(t, dir, Options{})
	j.lastArchived = ahead.UnixMicro() // as if written before the clock was set back
	first := write(t, j, 0, 1)[0]
	second := write(t, j, 1, 1)[0]
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, Options{})
	third := write(t, j, 2, 1)[0]
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*Record{first, second, third} {
		if !r.Archived.Equal(ahead) {
			t.Errorf("record %d archived %v, want %v", r.Seq, r.Archived, ahead)
		}
	}
	if rep := verified(t, dir); !rep.OK {
		t.Fatal(rep.Err())
	}
}

// TestBounds: a slow disk makes the journal refuse, not grow.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	slow := make(chan struct{})
	j := open(t, dir, Options{MaxPending: 8 << 10, MaxBatchBytes: 2 << 10, Hook: func(op Op, _ int) error {
		if op == OpSync {
			<-slow
		}
		return nil
	}})
	var wg sync.WaitGroup
	var ok, busy atomic.Int32
	for i := range 100 {
		wg.Go(func() {
			_, err := j.Append(context.Background(), message(i))
			switch {
			case err == nil:
				ok.Add(1)
			case errors.Is(err, ErrBusy):
				busy.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	for busy.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if p := j.Stats().Pending; p > 8<<10 {
		t.Errorf("%d bytes wait", p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := j.Append(ctx, message(1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(slow)
	wg.Wait()
	if ok.Load() == 0 || ok.Load()+busy.Load() != 100 {
		t.Errorf("%d done, %d refused", ok.Load(), busy.Load())
	}
	for what, r := range map[string]*Record{
		"content": {Type: TypeMessage, Raw: make([]byte, MaxContent+1)},
		"field":   {Type: TypeMessage, Subject: strings.Repeat("x", MaxField+1)},
		"fields": {Type: TypeMessage, Subject: strings.Repeat("x", MaxField), From: strings.Repeat("x", MaxField), To: strings.Repeat("x", MaxField),
			Flow: strings.Repeat("x", MaxField), Rule: strings.Repeat("x", MaxField)},
	} {
		if _, err := j.Append(context.Background(), r); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, r := range map[string]*Record{"type": {}, "type 240": {Type: 240}, "cites": {Type: TypeOutcome}} {
		if err := j.Note(r); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(context.Background(), message(1)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := j.Close(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestNoteGoesOut: nobody waits for a note, and it is durable soon.
func TestNoteGoesOut(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	if err := j.Note(message(1)); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); j.Stats().Seq != 1; {
		if time.Now().After(end) {
			t.Fatal("a note was not made durable")
		}
		time.Sleep(time.Millisecond)
	}
	crash(t, j)
	if rs := all(t, dir); len(rs) != 1 {
		t.Fatalf("%d records", len(rs))
	}
}

const childEnv = "ARCHIVE_TEST_CHILD"

// TestMain runs the writer of TestKill when it is asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

func writeUntilKilled(dir string) {
	j, err := Open(dir, Options{Node: "n1", SegmentBytes: 256 << 10})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for g := range 32 {
		go func() {
			for i := 0; ; i++ {
				m := message(g<<20 + i)
				rc, err := j.Append(context.Background(), m)
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				_, _ = fmt.Fprintln(os.Stdout, rc.Seq(), rc.ID())
				if err := j.Note(outcome(m, Delivered)); err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
			}
		}()
	}
	select {}
}

// TestKill kills a process that writes, several times on one archive.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "archive")
	if err := open(t, dir, Options{Node: "n1"}).Close(); err != nil { // the first child may be killed before it has made it
		t.Fatal(err)
	}
	acked := make(map[ID]uint64)
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(50+rand.IntN(250))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		before := len(acked)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var seq uint64
			var id string
			if n, _ := fmt.Sscan(lines.Text(), &seq, &id); n != 2 || len(id) != 26 {
				if strings.HasPrefix(lines.Text(), "error") {
					t.Errorf("round %d: %s", round, lines.Text())
				}
				continue // the last line may be cut
			}
			i, err := ParseID(id)
			if err != nil {
				t.Fatal(err)
			}
			acked[i] = seq
		}
		timer.Stop()
		_ = cmd.Wait()
		if len(acked) == before && round > 0 {
			t.Logf("round %d: killed before the first record", round)
		}
		rep := verified(t, dir)
		if !rep.OK {
			t.Fatalf("round %d: %v", round, rep.Err())
		}
		found := 0
		for _, r := range all(t, dir) {
			if seq, ok := acked[r.ID]; ok {
				if seq != r.Seq {
					t.Fatalf("record %s has seq %d, was acknowledged as %d", r.ID, r.Seq, seq)
				}
				found++
			}
		}
		if found != len(acked) {
			t.Fatalf("round %d: %d of %d acknowledged records are there", round, found, len(acked))
		}
	}
	if len(acked) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	t.Logf("%d acknowledged", len(acked))
}

// TestRecent reads what a starting server needs: the tail, in order.
func TestRecent(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{SegmentBytes: 1500})
	write(t, j, 0, 10)
	time.Sleep(2 * time.Millisecond)
	since := time.Now()
	late := write(t, j, 10, 10)
	if err := j.Note(outcome(late[0], Stored)); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, Options{SegmentBytes: 1500})
	defer j.Close()
	var got []*Record
	if err := j.Recent(since, func(r *Record) error { got = append(got, r); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 11 || got[0].ID != late[0].ID || got[10].Cites != late[0].ID {
		t.Fatalf("%d records", len(got))
	}
}
