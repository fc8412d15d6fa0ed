package export

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"rollcall/archive"
	"rollcall/archive/keys"
)

const alice, bob, carol = "sip:alice@example.com", "sip:bob@example.com", "sip:carol@example.net"

// house is a signed archive, and what exports of it are made with.
type house struct {
	testing.TB
	folder archive.Folder
	ring   *keys.Ring
	j      *archive.Journal
	key    string
}

func newHouse(t testing.TB) *house {
	t.Helper()
	dir := t.TempDir()
	h := &house{TB: t}
	master, err := keys.LoadFile(filepath.Join(dir, "keys", "master.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	if h.ring, err = keys.Open(filepath.Join(dir, "keys", "content"), master); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.ring.Close() })
	skey, vkey, err := note.GenerateKey(rand.Reader, "example.com/rollcall/n1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	h.key = vkey
	h.folder = archive.Folder{Dir: filepath.Join(dir, "archive"), Keys: h.ring}
	h.j, err = archive.Open(h.folder.Dir, archive.Options{Node: "n1", Keys: h.ring, Origin: "example.com/rollcall/n1",
		Signers: func() []note.Signer { return []note.Signer{signer} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.j.Close() })
	return h
}

func (h *house) say(from, to, text string) archive.ID {
	h.Helper()
	m := &archive.Record{Type: archive.TypeMessage, Received: time.Now(), From: from, To: to, ContentType: "text/plain", Subject: "plans", Direction: archive.Internal,
		Raw: []byte("MESSAGE " + to + " SIP/2.0\r\n\r\n" + text)}
	if err := h.j.Note(m); err != nil {
		h.Fatal(err)
	}
	if err := h.j.Note(&archive.Record{Type: archive.TypeOutcome, Cites: m.ID, Disposition: archive.Delivered, Status: 200}); err != nil {
		h.Fatal(err)
	}
	return m.ID
}

// signed waits until all records are under a checkpoint.
func (h *house) signed() {
	h.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if p, err := h.folder.Prover(); err == nil && p.Checkpoint.Size == int64(h.j.Stats().Seq) && h.j.Stats().Pending == 0 {
			return
		}
		if time.Now().After(end) {
			h.Fatal("no checkpoint")
		}
	}
}

func (h *house) options(format, query string) Options {
	h.Helper()
	q, err := archive.ParseQuery(query, nil)
	if err != nil {
		h.Fatal(err)
	}
	return Options{Folder: h.folder, Query: q, Text: query, Format: format, Product: "rollcall test",
		People: func(aor string) (Person, bool) {
			if aor == alice {
				return Person{Name: "Älice, A.", Email: "alice@corp.example.com", Unit: "Desk 1"}, true
			}
			return Person{}, aor == bob
		},
		Act: func(ctx context.Context, manifest string) (archive.ID, error) {
			raw, err := json.Marshal(Detail{manifest})
			if err != nil {
				return archive.ID{}, err
			}
			r := &archive.Record{Type: archive.TypeAct, Received: time.Now(), Actor: "dora", Action: ActExport, Reason: "case 42", Raw: raw}
			_, err = h.j.Append(ctx, r)
			return r.ID, err
		}}
}

func (h *house) run(format, query string) (string, *Manifest) {
	h.Helper()
	dir := filepath.Join(h.TempDir(), "out")
	m, err := Run(h.Context(), dir, h.options(format, query))
	if err != nil {
		h.Fatal(err)
	}
	rep, err := Verify(dir, h.key)
	if err != nil || !rep.OK || !rep.Sealed || !rep.Signed || rep.Records != m.Records {
		h.Fatalf("%s: %+v %v", format, rep, err)
	}
	return dir, m
}

func read(t *testing.T, parts ...string) []byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(parts...))
	if err != nil || len(names) == 0 {
		t.Fatalf("no file %v", parts)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFormats writes every format and reads it as its users do.
func TestFormats(t *testing.T) {
	h := newHouse(t)
	h.say(alice, bob, "Grüße, =1+1\r\n.\r\nFrom here")
	h.say(bob, alice, "<b>&amp; \x01")
	h.say(alice, carol, "=HYPERLINK(\"x\")")
	gone := h.say(carol, bob, "to be erased")
	if _, err := h.ring.Destroy(carol, time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	h.signed()
	for _, format := range Formats {
		t.Run(format, func(t *testing.T) {
			dir, m := h.run(format, "")
			if m.Messages != 4 || m.Unreadable != 1 || m.Records != 8 {
				t.Errorf("%+v", m)
			}
			switch format {
			case "csv":
				rows, err := csv.NewReader(bytes.NewReader(read(t, dir, "*.csv"))).ReadAll()
				if err != nil || len(rows) != 5 || len(rows[0]) != len(csvHeader) {
					t.Fatal(rows, err)
				}
				if all := fmt.Sprint(rows); !strings.Contains(all, "alice@corp.example.com") || !strings.Contains(all, "'=HYPERLINK") || !strings.Contains(all, "delivered") {
					t.Errorf("%q", all)
				}
			case "eml":
				names, err := filepath.Glob(filepath.Join(dir, "eml", "*", "*.eml"))
				if err != nil || len(names) != 4 {
					t.Fatal(names, err)
				}
				mail := parts(t, read(t, names[0]))
				if len(mail) != 2 || !strings.Contains(mail[0], "Sender: alice@corp.example.com\r\n") || !strings.Contains(mail[1], "Subject: plans") {
					t.Errorf("%q", mail)
				}
			case "actiance":
				var dump struct {
					Conversations []actianceConversation `xml:"Conversation"`
				}
				if err := xml.Unmarshal(read(t, dir, "actiance", "*.xml"), &dump); err != nil || len(dump.Conversations) != 3 {
					t.Fatal(dump, err)
				}
				for _, c := range dump.Conversations {
					if len(c.Entered) != 2 || len(c.Left) != 2 || len(c.Messages) == 0 || c.EndTimeUTC < c.StartTimeUTC {
						t.Errorf("%+v", c)
					}
				}
			case "globalrelay":
				mail := parts(t, read(t, dir, "globalrelay", "*", "*.eml"))
				if len(mail) != 2 || !strings.Contains(mail[1], "<table>") {
					t.Errorf("%q", mail)
				}
			case "rsmf":
				mail := parts(t, read(t, dir, "rsmf", "*", "*.rsmf"))
				b, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(mail[1], "\r\n", ""))
				if err != nil {
					t.Fatal(err)
				}
				z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
				if err != nil || len(z.File) != 1 || z.File[0].Name != "rsmf_manifest.json" {
					t.Fatal(err)
				}
				f, err := z.File[0].Open()
				if err != nil {
					t.Fatal(err)
				}
				var manifest rsmfManifest
				if err := json.NewDecoder(f).Decode(&manifest); err != nil || len(manifest.Participants) != 2 || len(manifest.Events) == 0 {
					t.Error(manifest, err)
				}
			case "edrm":
				var root struct {
					Documents []edrmDocument `xml:"Batch>Documents>Document"`
				}
				if err := xml.Unmarshal(read(t, dir, "edrm", "*.xml"), &root); err != nil || len(root.Documents) != 4 {
					t.Fatal(root, err)
				}
				x := root.Documents[0].File.External
				if got, err := hashFile(filepath.Join(dir, "edrm", x.Path), x.Name); err != nil || got.SHA256 != x.Hash || got.Bytes != x.Size {
					t.Error(x, err)
				}
			}
			err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				b, err := os.ReadFile(path)
				if bytes.Contains(b, []byte("to be erased")) {
					t.Errorf("%s has what was erased", path)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	_ = gone
}

// parts reads a mail and returns the bodies of its parts.
func parts(t *testing.T, b []byte) (out []string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Header.AddressList("From"); err != nil {
		t.Errorf("From: %v", err)
	}
	if _, err := m.Header.Date(); err != nil {
		t.Errorf("Date: %v", err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
}

// TestVerify changes an export in every way there is.
func TestVerify(t *testing.T) {
	h := newHouse(t)
	for i := range 20 {
		h.say(alice, bob, fmt.Sprint("message ", i))
	}
	h.signed()
	dir, _ := h.run("csv", "from:alice")
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil || len(names) != 5 {
		t.Fatal(names, err)
	}
	broken := func(what string) {
		t.Helper()
		rep, err := Verify(dir, h.key)
		if err == nil && rep.OK {
			t.Errorf("%s: not found", what)
		}
	}
	for _, name := range names {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(whole); at += 1 + len(whole)/40 {
			b := bytes.Clone(whole)
			b[at] ^= 1
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			broken(fmt.Sprintf("%s, byte %d", filepath.Base(name), at))
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) == sealFile {
			if rep, err := Verify(dir, h.key); err != nil || rep.Sealed {
				t.Errorf("without a seal: %+v %v", rep, err)
			}
		} else {
			broken(filepath.Base(name) + " removed")
		}
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	added := filepath.Join(dir, "more.csv")
	if err := os.WriteFile(added, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken("a file added")
	if err := os.Remove(added); err != nil {
		t.Fatal(err)
	}
	_, other, err := note.GenerateKey(rand.Reader, "example.com/rollcall/n1")
	if err != nil {
		t.Fatal(err)
	}
	if rep, err := Verify(dir, other); err == nil && rep.OK {
		t.Error("another key is taken")
	}
	if rep, err := Verify(dir, h.key); err != nil || !rep.OK {
		t.Error(rep, err)
	}
}

// TestResume: an export that was interrupted goes on, and ends as it would have.
func TestResume(t *testing.T) {
	h := newHouse(t)
	for i := range 50 {
		h.say(alice, bob, fmt.Sprint("message ", i))
	}
	h.signed()
	dir := filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithCancel(t.Context())
	o := h.options("eml", "message")
	o.Progress = func(int, int) { cancel() }
	if _, err := Run(ctx, dir, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "eml", "*", "*.eml"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	before, err := os.Stat(names[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(dir, h.key); err == nil {
		t.Error("an unfinished export is verified")
	}
	h.say(alice, bob, "message that came later")
	h.signed()
	if _, err := Run(t.Context(), dir, h.options("eml", "other words")); !errors.Is(err, ErrOther) {
		t.Error(err)
	}
	m, err := Run(t.Context(), dir, h.options("eml", "message"))
	if err != nil || m.Messages != 50 {
		t.Fatal(m, err)
	}
	if after, err := os.Stat(names[0]); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Error("a file was written again")
	}
	if rep, err := Verify(dir, h.key); err != nil || !rep.OK || !rep.Sealed {
		t.Error(rep, err)
	}
	if _, err := Run(t.Context(), dir, h.options("eml", "message")); !errors.Is(err, ErrOther) {
		t.Error("a finished export is written over", err)
	}
}

func TestBadExports(t *testing.T) {
	h := newHouse(t)
	h.say(alice, bob, "text")
	h.signed()
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := Run(t.Context(), dir, h.options("jsonl", "nobody said this")); !errors.Is(err, ErrEmpty) {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("an export of nothing left a folder")
	}
	if _, err := Run(t.Context(), dir, h.options("docx", "")); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), dir, h.options("jsonl", "")); !errors.Is(err, ErrOther) {
		t.Error(err)
	}
}

// BenchmarkJSONL measures an export of messages with their outcomes.
func BenchmarkJSONL(b *testing.B) {
	h := newHouse(b)
	const n = 100_000
	for i := range n {
		h.say(alice, bob, fmt.Sprintf("message %d about the quarterly figures", i))
	}
	h.signed()
	for b.Loop() {
		if _, err := Run(b.Context(), filepath.Join(b.TempDir(), "out"), h.options("jsonl", "")); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2*n*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
