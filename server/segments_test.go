package server

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"rollcall/archive"
)

// TestSegmentsAreCompressed: what the last run finished is compressed at the
// next, and stays what it was.
func TestSegmentsAreCompressed(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	t.Run("first", func(t *testing.T) {
		h := startWith(t, cfg, zap.NewNop())
		h.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "to be kept")
	})
	h := startWith(t, cfg, zap.NewNop())
	h.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "and this") // the journal goes on
	file := filepath.Join(cfg.ArchiveDir(), "0000000001.rcz")
	eventually(t, "compressed", func() bool { _, err := os.Stat(file); return err == nil })
	var texts []string
	folder := archive.Folder{Dir: cfg.ArchiveDir(), Keys: h.ring}
	err := folder.Scan(func(r *archive.Record, _ archive.Pos) error {
		if r.Type == archive.TypeMessage {
			texts = append(texts, string(r.Body()))
		}
		return nil
	})
	if err != nil || len(texts) != 2 || texts[0] != "to be kept" || texts[1] != "and this" {
		t.Errorf("%q, %v", texts, err)
	}
	if rep, err := folder.Verify(); err != nil || !rep.OK {
		t.Errorf("%+v, %v", rep, err)
	}
}
