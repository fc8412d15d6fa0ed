package archive_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"rollcall/archive"
	"rollcall/archive/keys"
)

// house is an archive with keys, as a server has it.
type house struct {
	testing.TB
	dir  string
	ring *keys.Ring
	j    *archive.Journal

	signers []note.Signer // none: no checkpoints
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{TB: t, dir: t.TempDir()}
	master, err := keys.LoadFile(filepath.Join(h.dir, "keys", "master.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	if h.ring, err = keys.Open(filepath.Join(h.dir, "keys", "content"), master); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.ring.Close() })
	h.open()
	return h
}

func (h *house) open() {
	h.Helper()
	o := archive.Options{Node: "n1", Keys: h.ring, SegmentBytes: 256 << 10}
	if signers := h.signers; len(signers) > 0 {
		o.Origin, o.Signers = origin, func() []note.Signer { return signers }
	}
	j, err := archive.Open(h.folder(nil).Dir, o)
	if err != nil {
		h.Fatal(err)
	}
	h.j = j
	h.Cleanup(func() { _ = j.Close() })
}

func (h *house) folder(keys archive.Opener) archive.Folder {
	return archive.Folder{Dir: filepath.Join(h.dir, "archive"), Keys: keys}
}

// say records messages between ten people, each with its outcome.
func (h *house) say(n int) {
	h.Helper()
	for i := range n {
		m := &archive.Record{Type: archive.TypeMessage, Received: time.Now(), Direction: archive.Internal, Channel: "sip-message",
			From: fmt.Sprintf("sip:user%d@example.com", i%10), To: "sip:bob@example.com", CallID: rand.Text(),
			CSeq: uint32(i), Method: "MESSAGE", Subject: "plans", ContentType: "text/plain",
			Class: []string{"", "trading"}[i%2], Decision: "allow"}
		_, _ = rand.Read(m.RequestKey[:])
		m.Raw = []byte(message(i, m.CallID))
		if err := h.j.Note(m); err != nil {
			h.Fatal(err)
		}
		out := &archive.Record{Type: archive.TypeOutcome, Cites: m.ID, From: m.From, To: m.To, Disposition: archive.Delivered, Status: 200,
			Reason: "OK", Target: "sip:bob@192.0.2.7:5060"}
		if err := h.j.Note(out); err != nil {
			h.Fatal(err)
		}
		if i%100 == 99 {
			h.act("search", "words") // durable, and so a segment ends here if it is full
		}
	}
}

// message is a request as softphones send it, with a body of 100 bytes.
func message(i int, callID string) string {
	var random [40]byte // branch, tag, and the digest of the credentials
	_, _ = rand.Read(random[:])
	return fmt.Sprintf("MESSAGE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK%x;rport\r\n"+
		"Max-Forwards: 70\r\nFrom: \"User %d\" <sip:user%d@example.com>;tag=%x\r\nTo: <sip:bob@example.com>\r\nCall-ID: %s\r\n"+
		"CSeq: %d MESSAGE\r\nProxy-Authorization: Digest username=\"user%d\", realm=\"example.com\", nonce=\"%x\", uri=\"sip:bob@example.com\", "+
		"response=\"%x\", algorithm=MD5\r\nUser-Agent: Softphone/4.2.1\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n%-100s",
		random[:8], i%10, i%10, random[8:12], callID, i, i%10, random[12:24], random[24:], fmt.Sprintf("message number %d about the quarterly figures and what they mean", i))
}

func (h *house) act(action string, detail any) {
	h.Helper()
	raw, err := json.Marshal(detail)
	if err != nil {
		h.Fatal(err)
	}
	rec := &archive.Record{Type: archive.TypeAct, Received: time.Now(), Actor: "server", Action: action, Raw: raw}
	if _, err := h.j.Append(context.Background(), rec); err != nil {
		h.Fatal(err)
	}
}

// compact compresses segments, and says so in the record.
func (h *house) compact(numbers []uint64, drop func(*archive.Record) bool) (out []archive.SegmentStatement) {
	h.Helper()
	for _, n := range numbers {
		c, err := h.folder(h.ring).Compact(n, h.ring, drop)
		if err != nil {
			h.Fatal(err)
		}
		h.act(archive.ActSegment, c.Statement)
		if err := c.Install(); err != nil {
			h.Fatal(err)
		}
		out = append(out, c.Statement)
	}
	return out
}

func (h *house) finished() []uint64 {
	h.Helper()
	n, err := h.folder(nil).Finished()
	if err != nil {
		h.Fatal(err)
	}
	return n
}

func (h *house) all(keys archive.Opener) (out []archive.Record) {
	h.Helper()
	err := h.folder(keys).Scan(func(r *archive.Record, _ archive.Pos) error { out = append(out, *r); return nil })
	if err != nil {
		h.Fatal(err)
	}
	return out
}

func (h *house) verify(keys archive.Opener) *archive.Report {
	h.Helper()
	rep, err := h.folder(keys).Verify()
	if err != nil {
		h.Fatal(err)
	}
	return rep
}

// TestCompact: a compressed archive holds the same records, with keys and without.
func TestCompact(t *testing.T) {
	h := newHouse(t)
	h.say(2000)
	open, sealed := h.all(h.ring), h.all(nil)
	numbers := h.finished()
	if len(numbers) < 5 {
		t.Fatalf("%d finished segments", len(numbers))
	}
	bytesBefore := int64(0)
	for _, n := range numbers {
		fi, err := os.Stat(filepath.Join(h.dir, "archive", fmt.Sprintf("%010d.rcj", n)))
		if err != nil {
			t.Fatal(err)
		}
		bytesBefore += fi.Size()
	}
	stated := h.compact(numbers, nil)
	size, records := int64(0), uint64(0)
	for _, st := range stated {
		size += st.Bytes
		records += st.Records
	}
	t.Logf("%d bytes a message, %d before", size*2/int64(records), bytesBefore*2/int64(records))
	if limit := int64(400); size*2/int64(records) > limit {
		t.Errorf("%d bytes for each message", size*2/int64(records))
	}
	if got := h.all(h.ring); !reflect.DeepEqual(got[:len(open)], open) {
		for i := range open {
			if !reflect.DeepEqual(got[i], open[i]) {
				t.Fatalf("record %d\ngot  %+v\nwant %+v", i+1, got[i], open[i])
			}
		}
	}
	if got := h.all(nil); !reflect.DeepEqual(got[:len(sealed)], sealed) {
		t.Error("without keys the records are others")
	}
	for _, k := range []archive.Opener{nil, h.ring} {
		if rep := h.verify(k); !rep.OK || rep.Records != uint64(len(open)+len(numbers)) {
			t.Errorf("verify: %+v", rep)
		}
	}
	for _, i := range []int{0, 1, 777, len(open) - 1} {
		rec, pos, err := h.folder(h.ring).Find(open[i].ID)
		if err != nil || !reflect.DeepEqual(*rec, open[i]) {
			t.Fatalf("record %d found: %+v, %v", i+1, rec, err)
		}
		if rec, err := h.folder(h.ring).ReadAt(pos); err != nil || !reflect.DeepEqual(*rec, open[i]) {
			t.Fatalf("record %d at %+v: %+v, %v", i+1, pos, rec, err)
		}
	}
	// The journal goes on behind them after a restart.
	if err := h.j.Close(); err != nil {
		t.Fatal(err)
	}
	h.open()
	h.say(100)
	if rep := h.verify(nil); !rep.OK {
		t.Error(rep.Err())
	}
}

// TestCompactDrops: contents that are dropped or whose key was destroyed are
// gone, and their records are there.
func TestCompactDrops(t *testing.T) {
	h := newHouse(t)
	h.say(1000)
	before := h.all(h.ring)
	if _, err := h.ring.Destroy("sip:user3@example.com", time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	numbers := h.finished()
	h.compact(numbers, nil)
	h.compact(numbers, func(r *archive.Record) bool { return r.Class == "trading" })
	last := h.all(h.ring)
	end := uint64(0) // behind the compressed records
	for i, r := range before {
		want := r.Type == archive.TypeMessage && (r.Class == "trading" || r.From == "sip:user3@example.com")
		got := last[i]
		if got.ID != r.ID || got.To != r.To || got.Seq != r.Seq {
			t.Fatalf("record %d is another", i+1)
		}
		if got.Content == archive.Present && want && end == 0 {
			end = got.Seq
		}
		if end != 0 {
			break
		}
		if !want && !reflect.DeepEqual(got, r) || want && (got.Content != archive.Erased || got.Raw != nil || got.Subject != "") {
			t.Fatalf("record %d: %+v", i+1, got)
		}
	}
	if end < 500 {
		t.Errorf("only the first %d records were looked at", end)
	}
	if rep := h.verify(nil); !rep.OK {
		t.Error(rep.Err())
	}
	for _, n := range numbers {
		b, err := os.ReadFile(filepath.Join(h.dir, "archive", fmt.Sprintf("%010d.rcz", n)))
		if err != nil || bytes.Contains(b, []byte("quarterly")) {
			t.Error(err, "content in clear")
		}
	}
}

// TestCompactInterrupted stops the server at each step.
func TestCompactInterrupted(t *testing.T) {
	for _, step := range []string{"written", "stated", "installed"} {
		t.Run(step, func(t *testing.T) {
			h := newHouse(t)
			h.say(600)
			before := h.all(h.ring)
			n := h.finished()[0]
			source := filepath.Join(h.dir, "archive", fmt.Sprintf("%010d.rcj", n))
			old, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			c, err := h.folder(h.ring).Compact(n, h.ring, nil)
			if err != nil {
				t.Fatal(err)
			}
			if step != "written" {
				h.act(archive.ActSegment, c.Statement)
			}
			if step == "installed" {
				if err := c.Install(); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(source, old, 0o600); err != nil { // not removed yet
					t.Fatal(err)
				}
			}
			if rep := h.verify(nil); !rep.OK {
				t.Errorf("before the restart: %v", rep.Err())
			}
			if err := h.folder(nil).FinishCompaction(); err != nil {
				t.Fatal(err)
			}
			if rep := h.verify(nil); !rep.OK {
				t.Errorf("after the restart: %v", rep.Err())
			}
			if got := h.all(h.ring); !reflect.DeepEqual(got[:len(before)], before) {
				t.Error("other records")
			}
			done, err := h.folder(nil).CompressedSegments()
			if err != nil || (step == "written") != (len(done) == 0) {
				t.Errorf("compressed: %v, %v", done, err)
			}
			left, err := filepath.Glob(filepath.Join(h.dir, "archive", "*.new"))
			if err != nil || len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// TestCompressedDamage changes each byte of a compressed segment in turn, or
// so many of them as there is time for: Verify names the file.
func TestCompressedDamage(t *testing.T) {
	h := newHouse(t)
	h.say(600)
	h.compact(h.finished()[:1], nil)
	path := filepath.Join(h.dir, "archive", "0000000001.rcz")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, k := range []archive.Opener{nil, h.ring} {
			rep := h.verify(k)
			if rep.OK || rep.Faults[0].File != "0000000001.rcz" {
				t.Fatalf("not found: %+v", rep.Err())
			}
			err := h.folder(k).Scan(func(*archive.Record, archive.Pos) error { return nil })
			var fault *archive.Fault
			if err != nil && !errors.As(err, &fault) {
				t.Fatal(err)
			}
		}
	}
	for at := 0; at < len(whole); at += 1 + len(whole)/60 {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		damaged(b)
	}
	for _, n := range []int{0, 100, 1024, len(whole) / 2, len(whole) - 1} {
		damaged(whole[:n])
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if rep := h.verify(nil); rep.OK {
		t.Error("a removed segment is not found")
	}
}

// FuzzCompressed: any file in the place of a compressed segment can be read
// and verified, and gives faults or records.
func FuzzCompressed(f *testing.F) {
	h := newHouse(f)
	h.say(600)
	h.compact(h.finished()[:1], nil)
	path := filepath.Join(h.dir, "archive", "0000000001.rcz")
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:2000])
	f.Add(append(bytes.Clone(whole[:1024]), whole[len(whole)-52:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "0000000001.rcz"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		a := archive.Folder{Dir: dir, Keys: h.ring}
		rep, err := a.Verify()
		if err != nil || rep.OK {
			t.Fatalf("%+v, %v: a file without a statement", rep, err)
		}
		var fault *archive.Fault
		if err := a.Scan(func(*archive.Record, archive.Pos) error { return nil }); err != nil && !errors.As(err, &fault) {
			t.Fatal(err)
		}
	})
}
