package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/config"
)

// indexed waits until searches use the index.
func (h *house) indexed() {
	h.t.Helper()
	eventually(h.t, "index", h.index.Ready)
}

// TestSearchUsesIndex: what was just sent is found by the index, and what the files find is the same.
func TestSearchUsesIndex(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.indexed()
	dora := h.token("compliance", "dora")
	alice := h.client("alice", "UDP")
	for _, body := range []string{"first figures", "see https://example.com/figures", "lunch?"} {
		alice.want(202, "MESSAGE", "sip:bob@example.com", body)
		var found []archive.View
		res, text := h.asToken(dora, "GET", "/api/v1/records?q="+url.QueryEscape(`"`+body+`"`), "")
		if err := json.Unmarshal([]byte(text), &found); err != nil || len(found) != 1 || res.Header.Get("Rollcall-Searched") != "index" || res.Header.Get("Rollcall-Index-Behind") != "" {
			t.Fatalf("%s: %s %v, %v", body, text, err, res.Header)
		}
	}
	for query, want := range map[string]int{
		"figures": 2, "has:link": 1, "disposition:stored": 3, "conversation:alice,bob": 3, "from:bob": 0, "type:act token": 1,
	} {
		var found, scanned []archive.View
		res, text := h.asToken(dora, "GET", "/api/v1/records?q="+url.QueryEscape(query), "")
		if err := json.Unmarshal([]byte(text), &found); err != nil || res.Header.Get("Rollcall-Searched") != "index" || len(found) < want {
			t.Errorf("%s: %s %v", query, text, err)
		}
		q, err := archive.ParseQuery(query, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = archive.Folder{Dir: h.cfg.Load().ArchiveDir(), Keys: h.ring}.Search(t.Context(), q, func(r *archive.Record, _ archive.Pos) error {
			scanned = append(scanned, r.View(false))
			return nil
		})
		if err != nil || len(scanned) != len(found) {
			t.Errorf("%s: the files have %d, the index %d, %v", query, len(scanned), len(found), err)
		}
	}
	res, text := h.asToken(dora, "GET", "/api/v1/records?q=form:alice", "")
	if res.StatusCode != 400 || !strings.Contains(text, "column 1: unknown field form:") {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	// One record a line, all of them.
	if _, text := h.asToken(dora, "GET", "/api/v1/records?q=with:alice", "", "Accept", "application/x-ndjson"); strings.Count(text, "\n") != 3 {
		t.Errorf("lines: %s", text)
	}
}

// TestConversation: what two people wrote is read in threads, and that is a record.
func TestConversation(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.indexed()
	dora := h.token("compliance", "dora")
	h.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "hello")
	h.client("bob", "UDP").want(202, "MESSAGE", "sip:alice@example.com", "hi")
	h.client("bob", "UDP").want(404, "MESSAGE", "sip:carol@example.com", "not this")
	var c api.Conversation
	read := func(query string) {
		t.Helper()
		res, text := h.asToken(dora, "GET", "/api/v1/conversations?"+query, "")
		c = api.Conversation{}
		if err := json.Unmarshal([]byte(text), &c); err != nil || res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, text)
		}
	}
	read("with=alice,sip:bob@example.com&reason=inquiry")
	if len(c.Threads) != 1 || len(c.Threads[0].Messages) != 2 || c.Threads[0].Messages[1].Body != "hi" || c.More || len(c.Threads[0].Parties) != 2 {
		t.Errorf("%+v", c)
	}
	read("with=alice&with=bob&gap=1ns&limit=1")
	if len(c.Threads) != 1 || !c.More {
		t.Errorf("%+v", c)
	}
	read("with=alice,bob&gap=1ns")
	if len(c.Threads) != 2 {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{"", "with=", "with=a%22b", "with=alice&gap=x", "with=alice&gap=-1h", "with=alice&limit=0", "with=alice&q=un:x"} {
		if res, text := h.asToken(dora, "GET", "/api/v1/conversations?"+bad, ""); res.StatusCode != 400 {
			t.Errorf("%s: %d %s", bad, res.StatusCode, text)
		}
	}
	if _, text := h.asToken(dora, "GET", "/api/v1/records?q="+url.QueryEscape(`type:act "conversation"`), ""); !strings.Contains(text, `"reason":"inquiry"`) {
		t.Errorf("acts: %s", text)
	}
}

// TestErasureReachesIndex: after an erasure no file of the index has the words.
func TestErasureReachesIndex(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.indexed()
	h.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "the word is xylophone77")
	dir := h.cfg.Load().IndexDir()
	has := func() bool {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) == 0 {
			t.Fatal(entries, err)
		}
		for _, e := range entries {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if bytes.Contains(b, []byte("phone77")) {
				return true
			}
		}
		return false
	}
	eventually(t, "indexed", has)
	if _, err := (backend{h.Server}).Erase(t.Context(), "os:dora", api.EraseRequest{Author: "sip:alice@example.com", Reason: "her wish"}); err != nil {
		t.Fatal(err)
	}
	if has() {
		t.Error("the index has the word still")
	}
}

// TestNoIndex: without an index the files are read, and none is left behind.
func TestNoIndex(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, func(c *config.Config) { c.Archive.Index = false })
	if err := errors.Join(os.MkdirAll(cfg.IndexDir(), 0o700), os.WriteFile(filepath.Join(cfg.IndexDir(), "index.db"), []byte("what was said"), 0o600)); err != nil {
		t.Fatal(err)
	}
	h := startWith(t, cfg, zap.NewNop())
	if _, err := os.Stat(filepath.Join(cfg.IndexDir(), "index.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the old index is still there:", err)
	}
	dora := h.token("compliance", "dora")
	h.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "hello there")
	res, text := h.asToken(dora, "GET", "/api/v1/records?q=hello", "")
	if res.Header.Get("Rollcall-Searched") != "files" || strings.Count(text, "hello there") != 1 {
		t.Errorf("%v %s", res.Header, text)
	}
	if _, err := (backend{h.Server}).Erase(t.Context(), "os:dora", api.EraseRequest{Author: "sip:alice@example.com", Reason: "her wish"}); err != nil {
		t.Error(err)
	}
}
