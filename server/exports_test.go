package server

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"rollcall/archive/export"
)

// TestExportByToken: an officer has an export made, follows it, and takes it away whole; what she took proves itself, and each
// step is an act. What a stop interrupts goes on at the next start.
func TestExportByToken(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	h := startWith(t, cfg, zap.NewNop())
	dora := h.token("compliance", "dora")
	alice := h.client("alice", "UDP")
	for _, text := range []string{"one figure", "another figure"} {
		alice.want(202, "MESSAGE", "sip:bob@example.com", text)
	}
	for body, status := range map[string]int{
		`{"query":"figure","format":"eml"}`: 400, `{"query":"\"","format":"eml","reason":"x"}`: 400, `{"query":"figure","format":"doc","reason":"x"}`: 400,
	} {
		if res, text := h.asToken(dora, "POST", "/api/v1/exports", body); res.StatusCode != status {
			t.Errorf("%s: %d %s", body, res.StatusCode, text)
		}
	}
	ask := func(body string) (j export.Job) {
		t.Helper()
		res, text := h.asToken(dora, "POST", "/api/v1/exports", body)
		if err := json.Unmarshal([]byte(text), &j); err != nil || res.StatusCode != 200 || res.Header.Get("Location") != "/api/v1/exports/"+j.ID {
			t.Fatalf("%d %s %v", res.StatusCode, text, err)
		}
		return j
	}
	ended := func(id string) (j export.Job) {
		t.Helper()
		eventually(t, "export", func() bool {
			res, text := h.asToken(dora, "GET", "/api/v1/exports/"+id, "")
			if err := json.Unmarshal([]byte(text), &j); err != nil || res.StatusCode != 200 {
				t.Fatalf("%d %s %v", res.StatusCode, text, err)
			}
			return j.State == export.Done || j.State == export.Failed
		})
		return j
	}
	j := ended(ask(`{"query":"figure","format":"eml","reason":"case 7"}`).ID)
	if j.State != export.Done || j.Done != 2 || j.Manifest.Messages != 2 || j.Expires.IsZero() {
		t.Fatalf("%+v", j)
	}
	res, text := h.asToken(dora, "GET", "/api/v1/exports/"+j.ID+"/tar", "")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/x-tar" {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	dir := t.TempDir()
	untar(t, text, dir)
	if report, err := export.Verify(filepath.Join(dir, "export-"+j.ID), h.signers.Newest()); err != nil || !report.OK || !report.Sealed || !report.Signed {
		t.Errorf("%+v %v", report, err)
	}
	name := j.Manifest.Files[0].Name
	if res, text := h.asToken(dora, "GET", "/api/v1/exports/"+j.ID+"/files/"+name, ""); res.StatusCode != 200 || int64(len(text)) != j.Manifest.Files[0].Bytes ||
		!strings.HasPrefix(res.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%s: %d %v", name, res.StatusCode, res.Header)
	}
	for _, path := range []string{"/files/../job.json", "/files/..%2fjob.json", "/files/plan.json", "/files/", "/files/%2e%2e/job.json"} {
		if res, text := h.asToken(dora, "GET", "/api/v1/exports/"+j.ID+path, ""); res.StatusCode == 200 {
			t.Errorf("%s: %s", path, text)
		}
	}
	if nothing := ended(ask(`{"query":"nobody-wrote-this","format":"csv","reason":"case 7"}`).ID); nothing.State != export.Failed || !strings.Contains(nothing.Error, "no message matches") {
		t.Errorf("%+v", nothing)
	} else if res, _ := h.asToken(dora, "GET", "/api/v1/exports/"+nothing.ID+"/tar", ""); res.StatusCode != 409 {
		t.Errorf("tar of nothing: %s", res.Status)
	}
	if res, _ := h.asToken(h.token("admin", "root"), "GET", "/api/v1/exports", ""); res.StatusCode != 403 {
		t.Errorf("admin: %s", res.Status)
	}
	_, acts := h.asToken(dora, "GET", "/api/v1/audit?actor=dora", "")
	for _, act := range []string{`"export-request","object":"eml figure","reason":"case 7"`, `"export","object":"eml figure","reason":"case 7"`,
		`"export-download","object":"` + j.ID + `"`, `"export-download","object":"` + j.ID + ` ` + name + `"`} {
		if !strings.Contains(acts, act) {
			t.Errorf("no %s in %s", act, acts)
		}
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	// As after a stop while it ran.
	waiting := export.Job{ID: "interrupted", State: export.Running, Query: "figure", Format: "jsonl", Actor: "dora", Reason: "case 8", Created: j.Created}
	b, err := json.Marshal(waiting)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(cfg.DataDir, "exports", waiting.ID), 0o700),
		os.WriteFile(filepath.Join(cfg.DataDir, "exports", waiting.ID, "job.json"), b, 0o600)); err != nil {
		t.Fatal(err)
	}
	h = startWith(t, cfg, zap.NewNop())
	if again := ended(waiting.ID); again.State != export.Done {
		t.Errorf("%+v", again)
	}
	if kept := ended(j.ID); kept.State != export.Done || kept.Manifest.Messages != 2 {
		t.Errorf("%+v", kept)
	}
	if res, text := h.asToken(dora, "DELETE", "/api/v1/exports/"+j.ID, ""); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	if res, _ := h.asToken(dora, "GET", "/api/v1/exports/"+j.ID, ""); res.StatusCode != 404 {
		t.Errorf("after it was removed: %s", res.Status)
	}
}

func untar(t *testing.T, text, dir string) {
	t.Helper()
	in := tar.NewReader(strings.NewReader(text))
	for {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		path := filepath.Join(dir, head.Name)
		if err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}
