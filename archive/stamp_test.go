package archive_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/archive"
)

// TestStamps: a time stamp stands for its checkpoint; one byte of it changed, one of
// another archive, and what is no stamp, are named.
func TestStamps(t *testing.T) {
	h, v := signedHouse(t)
	h.say(100)
	h.restart()
	folder := h.folder(nil)
	signed, err := folder.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	token := []byte("the token of an authority")
	if err := folder.WriteStamp(signed, token); err != nil {
		t.Fatal(err)
	}
	h.say(50)
	h.restart()
	at := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	o := archive.VerifyOptions{Keys: []string{v}, Stamp: func(text, given []byte) (time.Time, error) {
		if !bytes.Equal(text, signed) || !bytes.Equal(given, token) {
			return time.Time{}, errors.New("of another text")
		}
		return at, nil
	}}
	cp, err := archive.ParseCheckpoint(signed)
	if err != nil {
		t.Fatal(err)
	}
	if rep := h.check(o); !rep.OK || len(rep.Stamps) != 1 || rep.Stamps[0] != (archive.Stamp{Size: cp.Size, Time: at}) {
		t.Fatalf("%v, stamps %v", rep.Err(), rep.Stamps)
	}
	if size, _, err := folder.LastStamp(); err != nil || size != cp.Size {
		t.Errorf("last stamp %d, %v", size, err)
	}
	files, err := filepath.Glob(filepath.Join(folder.Dir, "stamp", "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	name := "stamp/" + filepath.Base(files[0])
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if rep := h.check(o); rep.OK || rep.Faults[0].File != name {
			t.Fatalf("byte %d: %v", i, rep.Err())
		}
	}
	if err := os.WriteFile(files[0], whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for other, fault := range map[string]string{"stamp/99999": "of another checkpoint", "stamp/x": "not a time stamp", "stamp/007": "not a time stamp"} {
		path := filepath.Join(folder.Dir, other)
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if rep := h.check(o); rep.OK || rep.Faults[0].File != other || !strings.Contains(rep.Faults[0].Reason, fault) {
			t.Errorf("%s: %v", other, rep.Err())
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzSplitCheckpoints(f *testing.F) {
	sig := "— k " + strings.Repeat("A", 92)
	f.Add([]byte("o\n1\nr\n\n" + sig + "\n\no\n2\nr\n\n" + sig + "\n"))
	f.Add([]byte("o\n1\nr\n\n" + sig[:40] + "\n\no\n2\nr\n\n" + sig + "\n\no\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, torn := archive.SplitCheckpoints(b)
		n := len(torn)
		for _, one := range list {
			n += len(one)
			_, _ = archive.ParseCheckpoint(one)
		}
		if n > len(b) {
			t.Errorf("%d bytes of %d", n, len(b))
		}
	})
}
