package archive_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rollcall/archive"
)

const origin = "example.com/rollcall/n1"

// newKey makes a key for checkpoints.
func newKey(t testing.TB) (note.Signer, string) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return s, vkey
}

// signedHouse is a house whose journal makes checkpoints.
func signedHouse(t testing.TB) (*house, string) {
	t.Helper()
	h := newHouse(t)
	if err := h.j.Close(); err != nil {
		t.Fatal(err)
	}
	s, v := newKey(t)
	h.signers = []note.Signer{s}
	h.open()
	h.key(v)
	return h, v
}

// key names a verifier key in the record.
func (h *house) key(v string) {
	h.Helper()
	rec := &archive.Record{Type: archive.TypeAct, Received: time.Now(), Actor: "server", Action: archive.ActKey, Object: v}
	if _, err := h.j.Append(context.Background(), rec); err != nil {
		h.Fatal(err)
	}
}

// restart stops the journal as a server does, and begins the next segment.
func (h *house) restart() {
	h.Helper()
	if err := h.j.Close(); err != nil {
		h.Fatal(err)
	}
	h.open()
}

func (h *house) newest() *archive.Checkpoint {
	h.Helper()
	signed, err := h.folder(nil).Checkpoint()
	if err != nil {
		h.Fatal(err)
	}
	cp, err := archive.ParseCheckpoint(signed)
	if err != nil {
		h.Fatal(err)
	}
	return cp
}

func (h *house) check(o archive.VerifyOptions) *archive.Report {
	h.Helper()
	rep, err := h.folder(nil).VerifyWith(o)
	if err != nil {
		h.Fatal(err)
	}
	return rep
}

// TestCheckpoints: a second after a record there is a checkpoint over it, and
// one over all when the journal is closed.
func TestCheckpoints(t *testing.T) {
	h, v := signedHouse(t)
	h.say(700)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if signed, err := h.folder(nil).Checkpoint(); err == nil {
			if cp, err := archive.ParseCheckpoint(signed); err == nil && cp.Size == int64(h.j.Stats().Seq) && cp.Origin == origin {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatal("no checkpoint over all records")
		}
	}
	h.say(300)
	h.restart()
	h.compact(h.finished(), nil)
	h.restart()
	records := int64(h.j.Stats().Seq)
	for _, keys := range [][]string{nil, {v}} {
		rep := h.check(archive.VerifyOptions{Keys: keys})
		if !rep.OK || rep.Signed != records || rep.Checkpoints < 3 || rep.Origin != origin || len(rep.Keys) != 1 || rep.Keys[0] != v {
			t.Errorf("%+v: %v", rep, rep.Err())
		}
		if cp := h.newest(); cp.Root != rep.Root || cp.Size != records {
			t.Errorf("newest checkpoint %+v, tree %s", cp, rep.Root)
		}
	}
	_, other := newKey(t)
	if rep := h.check(archive.VerifyOptions{Keys: []string{other}}); rep.OK {
		t.Error("checkpoints of another key are taken")
	}
}

// TestKeyRotation: a new key counts once the record names it under the old one.
func TestKeyRotation(t *testing.T) {
	h, old := signedHouse(t)
	h.say(100)
	s, v := newKey(t)
	h.key(v)
	h.signers = []note.Signer{s, h.signers[0]}
	h.restart()
	h.say(100)
	h.signers = h.signers[:1]
	h.restart()
	h.say(100)
	h.restart()
	for _, keys := range [][]string{nil, {old}, {old, v}} {
		if rep := h.check(archive.VerifyOptions{Keys: keys}); !rep.OK {
			t.Errorf("%d keys given: %v", len(keys), rep.Err())
		}
	}
	// A key that no signed record names does not count.
	s, _ = newKey(t)
	h.signers = []note.Signer{s}
	h.restart()
	h.say(100)
	h.restart()
	if rep := h.check(archive.VerifyOptions{}); rep.OK {
		t.Error("a key out of nowhere is taken")
	}
}

// TestProofs: each record can be proved, compressed, erased or not, and no other leaf.
func TestProofs(t *testing.T) {
	h, v := signedHouse(t)
	h.say(500)
	h.restart()
	h.compact(h.finished(), func(r *archive.Record) bool { return r.Class == "trading" })
	h.restart()
	key, err := note.NewVerifier(v)
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.folder(nil).Prover()
	if err != nil {
		t.Fatal(err)
	}
	proved := 0
	for _, rec := range h.all(h.ring) {
		leaf, content, err := rec.Commitments()
		if err != nil || rec.Content == archive.Erased && content != nil {
			t.Fatal(err)
		}
		if again, err := archive.FromCommitments(leaf, content); err != nil || !reflect.DeepEqual(*again, rec) {
			t.Fatalf("record %d from its leaf: %+v, %v", rec.Seq, again, err)
		}
		proof, err := p.Proof(rec.Seq)
		if int64(rec.Seq) > p.Checkpoint.Size {
			if !errors.Is(err, archive.ErrUnsigned) {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		seq, cp, err := archive.VerifyProof(leaf, proof, key)
		if err != nil || seq != rec.Seq || cp.Size != p.Checkpoint.Size {
			t.Fatalf("record %d: %v", rec.Seq, err)
		}
		proved++
		leaf[len(leaf)-1] ^= 1
		if _, _, err := archive.VerifyProof(leaf, proof, key); err == nil {
			t.Fatalf("record %d: another leaf is proved", rec.Seq)
		}
	}
	if proved < 700 {
		t.Errorf("%d records proved", proved)
	}
	for _, older := range []int64{1, 255, 256, 257, 700, p.Checkpoint.Size} {
		proof, err := p.Consistency(older)
		if err != nil {
			t.Fatal(err)
		}
		root, err := tlog.TreeHash(older, tilesOf(h))
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckTree(proof, p.Checkpoint.Size, p.Checkpoint.Root, older, root); err != nil {
			t.Errorf("tree of %d: %v", older, err)
		}
	}
}

// tilesOf computes the tree in memory, from the leaves alone.
func tilesOf(h *house) tlog.HashReader {
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	p, err := h.folder(nil).Prover()
	if err != nil {
		h.Fatal(err)
	}
	for n := range p.Checkpoint.Size {
		leaf, err := p.LeafHash(uint64(n) + 1)
		if err != nil {
			h.Fatal(err)
		}
		more, err := tlog.StoredHashesForRecordHash(n, leaf, read)
		if err != nil {
			h.Fatal(err)
		}
		stored = append(stored, more...)
	}
	root, err := tlog.TreeHash(p.Checkpoint.Size, read)
	if err != nil || root != p.Checkpoint.Root {
		h.Fatalf("tree of %d: %s, the checkpoint has %s (%v)", p.Checkpoint.Size, root, p.Checkpoint.Root, err)
	}
	return read
}

// TestLostTiles: tiles are made again at the next start, from whatever they were.
func TestLostTiles(t *testing.T) {
	h, v := signedHouse(t)
	h.say(700)
	h.restart()
	tiles := filepath.Join(h.dir, "archive", "tile", "0", "000")
	good, err := os.ReadFile(tiles)
	if err != nil {
		t.Fatal(err)
	}
	for what, lose := range map[string]func() error{
		"removed": func() error { return os.RemoveAll(filepath.Join(h.dir, "archive", "tile")) },
		"cut":     func() error { return os.Truncate(tiles, 8192+100) },
		"zeros":   func() error { return os.WriteFile(tiles, make([]byte, len(good)), 0o600) },
	} {
		if err := h.j.Close(); err != nil {
			t.Fatal(err)
		}
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		h.open()
		h.say(100)
		h.restart()
		if rep := h.check(archive.VerifyOptions{Keys: []string{v}}); !rep.OK {
			t.Errorf("%s: %v", what, rep.Err())
		}
		if b, err := os.ReadFile(tiles); err != nil || !bytes.HasPrefix(b, good) {
			t.Errorf("%s: the tiles are not as they were (%v)", what, err)
		}
	}
}

// TestEachFile changes one byte in each kind of file, in many places: Verify
// names the file.
func TestEachFile(t *testing.T) {
	h, v := signedHouse(t)
	h.say(700)
	h.restart()
	h.compact(h.finished()[:1], nil)
	if err := h.j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"0000000001.rcz", "0000000002.rcj", "tile/0/000", "checkpoint"} {
		path := filepath.Join(h.dir, "archive", name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		step := 1 + len(whole)/50
		for at := 0; at < len(whole); at += step {
			b := bytes.Clone(whole)
			b[at] ^= 1
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			rep := h.check(archive.VerifyOptions{Keys: []string{v}})
			if rep.OK || rep.Faults[0].File != name {
				t.Fatalf("%s, byte %d: %v", name, at, rep.Err())
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if rep := h.check(archive.VerifyOptions{Keys: []string{v}}); !rep.OK {
		t.Fatal(rep.Err())
	}
	for _, name := range []string{"tile/0/001", "tile/0/x001/001", "tile/9/000", "tile/0/0"} {
		path := filepath.Join(h.dir, "archive", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if rep := h.check(archive.VerifyOptions{Keys: []string{v}}); rep.OK || rep.Faults[0].File != name {
			t.Errorf("%s is not of the archive: %v", name, rep.Err())
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRewritten: an archive that was written anew with other records, by one
// who has every key, is whole in itself and fails against yesterday's checkpoint.
func TestRewritten(t *testing.T) {
	h, v := signedHouse(t)
	h.say(300)
	h.restart()
	yesterday, err := h.folder(nil).Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	h.say(100)
	h.restart()
	records := h.all(h.ring)
	o := archive.VerifyOptions{Keys: []string{v}, Checkpoint: yesterday}
	if rep := h.check(o); !rep.OK {
		t.Fatal(rep.Err())
	}
	for what, rewrite := range map[string]func([]archive.Record) []archive.Record{
		"changed":   func(r []archive.Record) []archive.Record { r[10].To = "sip:carol@example.com"; return r },
		"removed":   func(r []archive.Record) []archive.Record { return append(r[:10:10], r[12:]...) },
		"inserted":  func(r []archive.Record) []archive.Record { return append(append(r[:12:12], r[11]), r[12:]...) },
		"reordered": func(r []archive.Record) []archive.Record { r[1], r[3] = r[3], r[1]; return r },
		"truncated": func(r []archive.Record) []archive.Record { return r[:100] },
	} {
		forged := &house{TB: t, dir: t.TempDir(), ring: h.ring, signers: h.signers}
		forged.open()
		for _, r := range rewrite(append([]archive.Record(nil), records...)) {
			if what == "inserted" {
				r.ID, r.Cites = archive.ID{}, archive.ID{} // or else the same ID stands twice
				if r.Type == archive.TypeOutcome {
					continue
				}
			}
			if err := forged.j.Note(&r); err != nil {
				t.Fatal(err)
			}
		}
		forged.restart()
		rep := forged.check(archive.VerifyOptions{Keys: []string{v}})
		if what != "removed" && what != "reordered" && !rep.OK { // outcomes cite what is not before them
			t.Fatalf("%s: the forgery is not whole: %v", what, rep.Err())
		}
		rep = forged.check(o)
		found := false
		for _, f := range rep.Faults {
			found = found || strings.Contains(f.Reason, "older checkpoint") || strings.Contains(f.Reason, "a checkpoint states")
		}
		if !found {
			t.Errorf("%s: not found against the older checkpoint: %v", what, rep.Err())
		}
	}
}

// TestCut: an archive that lost its end fails against its own newest checkpoint.
func TestCut(t *testing.T) {
	h, v := signedHouse(t)
	h.say(400)
	if err := h.j.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(h.dir, "archive", "*.rcj"))
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	if err := os.Remove(names[len(names)-1]); err != nil {
		t.Fatal(err)
	}
	rep := h.check(archive.VerifyOptions{Keys: []string{v}})
	if rep.OK || !strings.Contains(fmt.Sprint(rep.Faults), "a checkpoint states") {
		t.Errorf("%v", rep.Err())
	}
}
