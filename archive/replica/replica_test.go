package replica

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"golang.org/x/mod/sumdb/note"

	"rollcall/archive"
)

// bucket is an S3-compatible server, before which stands what it does not do itself: it
// holds uploads to a retention, and refuses while it is away.
type bucket struct {
	t    *testing.T
	next http.Handler

	mu     sync.Mutex
	away   bool
	change bool     // answers of HEAD tell of another object
	open   bool     // objects are not kept, whatever was asked for
	kms    bool     // tags are no MD5
	locked []string // objects that came with a lock
	until  map[string]string
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if r.Method == http.MethodPut && strings.Count(r.URL.Path, "/") > 1 {
		until, err := time.Parse(time.RFC3339, r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date"))
		if err != nil || r.Header.Get("X-Amz-Object-Lock-Mode") != "COMPLIANCE" || time.Until(until) < 23*time.Hour || r.Header.Get("Content-Md5") == "" {
			b.t.Errorf("an object without a lock: %v", r.Header)
		}
		b.locked = append(b.locked, r.URL.Path)
		if b.until == nil {
			b.until = map[string]string{}
		}
		b.until[r.URL.Path] = r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date")
	}
	if r.Method == http.MethodDelete {
		b.t.Errorf("%s is deleted", r.URL.Path)
	}
	rec := httptest.NewRecorder()
	b.next.ServeHTTP(rec, r)
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	if r.Method == http.MethodHead && b.change {
		w.Header().Set("ETag", `"00000000000000000000000000000000"`)
	}
	if b.kms && (r.Method == http.MethodHead || r.Method == http.MethodPut) {
		w.Header().Set("ETag", `"11111111111111111111111111111111"`)
		w.Header().Set("X-Amz-Server-Side-Encryption", "aws:kms")
	}
	w.Header().Del("X-Amz-Object-Lock-Mode") // the server gives back what it was sent
	w.Header().Del("X-Amz-Object-Lock-Retain-Until-Date")
	if until := b.until[r.URL.Path]; r.Method == http.MethodHead && until != "" && !b.open {
		w.Header().Set("X-Amz-Object-Lock-Mode", "COMPLIANCE")
		w.Header().Set("X-Amz-Object-Lock-Retain-Until-Date", until)
	}
	w.WriteHeader(rec.Code)
	_, _ = rec.Body.WriteTo(w)
}

// archiveOf is a finished archive of some compressed segments.
func archiveOf(t *testing.T, records int) (archive.Folder, []byte) {
	t.Helper()
	secret, _, err := note.GenerateKey(nil, "example.com/rollcall/n1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	folder := archive.Folder{Dir: t.TempDir()}
	j, err := archive.Open(folder.Dir, archive.Options{Node: "n1", SegmentBytes: 64 << 10, Origin: "example.com/rollcall/n1", Signers: func() []note.Signer { return []note.Signer{signer} }})
	if err != nil {
		t.Fatal(err)
	}
	for range records {
		if _, err := j.Append(t.Context(), &archive.Record{Type: archive.TypeAct, Received: time.Now(), Actor: "x", Action: "y", Raw: bytes.Repeat([]byte("z"), 2000)}); err != nil {
			t.Fatal(err)
		}
	}
	numbers, err := folder.Finished()
	if err != nil || len(numbers) < 2 {
		t.Fatal(numbers, err)
	}
	for _, n := range numbers {
		c, err := folder.Compact(n, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Install(); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return folder, j.NewestCheckpoint()
}

// TestCopy: what is sealed is copied under a lock, once, whatever fails between, and is
// what the archive has.
func TestCopy(t *testing.T) {
	folder, signed := archiveOf(t, 100)
	b := &bucket{t: t, next: gofakes3.New(s3mem.New()).Server(), away: true}
	srv := httptest.NewServer(b)
	defer srv.Close()
	state := t.TempDir()
	open := func() *Replica {
		t.Helper()
		r, err := Open(Options{URL: srv.URL + "/record/n1", Region: "us-east-1", AccessKey: "a", SecretKey: "b", Keep: 24 * time.Hour, Dir: state})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := open()
	if err := r.Copy(t.Context(), folder, signed); err == nil {
		t.Fatal("a store that is away has it")
	}
	numbers, err := folder.CompressedSegments()
	if err != nil {
		t.Fatal(err)
	}
	if s, fails := r.State(); fails != 1 || s.Err == "" || s.Waiting != len(numbers) {
		t.Errorf("state %+v, %d failures", s, fails)
	}
	b.mu.Lock()
	b.away = false
	b.mu.Unlock()
	mk, err := http.NewRequest(http.MethodPut, srv.URL+"/record", nil)
	if err != nil {
		t.Fatal(err)
	}
	if rs, err := http.DefaultClient.Do(mk); err != nil || rs.StatusCode != 200 {
		t.Fatal(rs, err)
	}
	b.mu.Lock()
	b.change = true
	b.mu.Unlock()
	if err := r.Copy(t.Context(), folder, signed); err == nil || !strings.Contains(err.Error(), "the store has") {
		t.Fatalf("what the store has is not compared: %v", err)
	}
	b.mu.Lock()
	b.change, b.open = false, true
	b.mu.Unlock()
	if err := r.Copy(t.Context(), folder, signed); err == nil || !strings.Contains(err.Error(), "object lock") {
		t.Fatalf("a store without a lock is taken: %v", err)
	}
	if s, _ := r.State(); s.Segments != 0 || s.Size != 0 {
		t.Errorf("state %+v", s)
	}
	b.mu.Lock()
	b.open, b.kms, b.locked = false, true, nil
	b.mu.Unlock()
	if err := r.Copy(t.Context(), folder, signed); err != nil {
		t.Fatal(err)
	}
	r = open()
	if err := r.Copy(t.Context(), folder, signed); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	locked := len(b.locked)
	b.mu.Unlock()
	if want := len(numbers) + 1; locked != want {
		t.Errorf("%d objects were sent, want %d", locked, want)
	}
	for _, n := range numbers {
		rs, err := http.Get(srv.URL + "/record/n1/segments/" + archive.CompressedName(n))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(rs.Body)
		_ = rs.Body.Close()
		if want, err := os.ReadFile(filepath.Join(folder.Dir, archive.CompressedName(n))); err != nil || !bytes.Equal(got, want) {
			t.Errorf("segment %d: %d bytes of %d, %v", n, len(got), len(want), err)
		}
	}
	if s, ok := Last(state); !ok || s.Segments != len(numbers) || s.Size != 100 || s.Waiting != 0 || s.Err != "" {
		t.Errorf("state %+v", s)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(folder.Dir, archive.CompressedName(numbers[0])), later, later); err != nil { // as a purge leaves it
		t.Fatal(err)
	}
	if err := r.Copy(t.Context(), folder, signed); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.locked) != locked+1 {
		t.Errorf("a segment that was written anew was sent %d times", len(b.locked)-locked)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, bad := range []string{"", "s3://bucket", "https://host", "https://host/", "https:///bucket"} {
		if _, err := Open(Options{URL: bad, Dir: t.TempDir()}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
