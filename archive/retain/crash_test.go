package retain

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/archive"
	"rollcall/archive/keys"
)

// purgeHere is the environment of a process of this test that purges a folder and does nothing else.
const purgeHere = "RETAIN_TEST_PURGE"

// TestPurgeProcess is that process.
func TestPurgeProcess(t *testing.T) {
	dir := os.Getenv(purgeHere)
	if dir == "" {
		return // it is the child of the next test
	}
	h := houseAt(t, dir)
	if err := h.folder.FinishCompaction(); err != nil { // as a server does when it starts
		t.Fatal(err)
	}
	h.classes = Classes{{Name: "short", Days: 1}}
	fmt.Println("ready")
	if _, err := h.Purge(t.Context(), "server", time.Now().Add(48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := h.j.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("purged")
}

// TestKillWhilePurging kills the process that purges at random moments until one of them comes to its end. The record
// verifies each time, what is over its time is gone and the rest is there, and each day's account is what it was before.
func TestKillWhilePurging(t *testing.T) {
	const segments, each = 24, 20
	dir := t.TempDir()
	h := houseAt(t, dir)
	for n := range segments {
		for i := range each {
			id := h.say(alice, bob, []string{"short", "long"}[i%2], fmt.Sprintf("text %d.%d", n, i))
			out := &archive.Record{Type: archive.TypeOutcome, Cites: id, Received: time.Now(), From: alice, To: bob, Disposition: archive.Delivered, Status: 200}
			if _, err := h.j.Append(t.Context(), out); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.j.Close(); err != nil { // ends the segment
			t.Fatal(err)
		}
		h.open()
	}
	h.compress()
	if err := errors.Join(h.j.Close(), h.ring.Close()); err != nil {
		t.Fatal(err)
	}
	h.read(dir)
	day := h.records()[0].Received.Truncate(24 * time.Hour)
	account := func() (all []archive.Reconciliation) {
		t.Helper()
		for _, day := range []time.Time{day, day.Add(24 * time.Hour)} { // midnight may be in between
			a, err := h.folder.Reconcile(t.Context(), day)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, *a)
		}
		return all
	}
	before := fmt.Sprint(account())

	kills, purged := 0, false
	for !purged {
		child := exec.Command(os.Args[0], "-test.run=^TestPurgeProcess$", "-test.v")
		child.Env = append(os.Environ(), purgeHere+"="+dir)
		pipe, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			fmt.Fprintln(&out, lines.Text())
			if kills < 8 && lines.Text() == "ready" {
				time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, func() { _ = child.Process.Kill() })
			}
		}
		err = child.Wait()
		purged = err == nil
		if !purged && child.ProcessState.ExitCode() >= 0 { // it was not the kill
			t.Fatalf("%v\n%s", err, out.String())
		}
		kills++
		h.verify()
	}
	t.Logf("%d processes, the last one came to its end", kills)
	if got := fmt.Sprint(account()); got != before {
		t.Errorf("account %s, was %s", got, before)
	}
	texts, gone := 0, 0
	for _, r := range h.records() {
		switch {
		case r.Type != archive.TypeMessage || r.Class == "forever":
		case r.Class == "long" && r.Content == archive.Present && strings.HasPrefix(string(r.Body()), "text "):
			texts++
		case r.Class == "short" && r.Content == archive.Erased:
			gone++
		default:
			t.Errorf("record %d of class %s: %v, %q", r.Seq, r.Class, r.Content, r.Body())
		}
	}
	if texts != segments*each/2 || gone != segments*each/2 {
		t.Errorf("%d are there and %d are gone", texts, gone)
	}
	stated := map[string]int{}
	for _, r := range h.records() {
		if r.Type == archive.TypeAct && r.Action == ActPurge {
			var p Purged
			if err := json.Unmarshal(r.Raw, &p); err != nil {
				t.Error(err)
			}
			stated[r.Object]++
		}
	}
	if len(stated) != segments {
		t.Errorf("purges of %d segments are in the record", len(stated))
	}
	if left, err := filepath.Glob(filepath.Join(h.folder.Dir, "*.new")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// read opens the record for reading, while a process has it.
func (h *house) read(dir string) {
	h.Helper()
	master, err := keys.LoadFile(filepath.Join(dir, "keys", "master.key"), false)
	if err != nil {
		h.Fatal(err)
	}
	ring := keys.OpenForReading(filepath.Join(dir, "keys", "content"), master)
	h.Cleanup(func() { _ = ring.Close() })
	h.folder.Keys = ring
}

func (h *house) records() (out []*archive.Record) {
	h.Helper()
	err := h.folder.Scan(func(r *archive.Record, _ archive.Pos) error {
		one := *r
		out = append(out, &one)
		return nil
	})
	if err != nil {
		h.Fatal(err)
	}
	return out
}
