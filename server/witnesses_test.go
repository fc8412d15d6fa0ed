package server

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/archive/witness"
	"rollcall/config"
)

// TestWitness: a witness is shown the checkpoint that the server makes when it stops, and
// one that is away stops nothing.
func TestWitness(t *testing.T) {
	t.Parallel()
	seen := filepath.Join(t.TempDir(), "checkpoints")
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	cfg := testConfig(t, func(c *config.Config) {
		c.Witness = []config.Witness{{URL: "file:" + seen, Every: config.Duration{Duration: time.Hour}}, {URL: away.URL, Every: config.Duration{Duration: time.Second}}}
		c.Archive.TSAURL, c.Archive.TSAEvery = away.URL, config.Duration{Duration: time.Hour}
	})
	h := startWith(t, cfg, zap.NewNop())
	h.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "hello")
	eventually(t, "tried", func() bool { return h.witnesses.failed() > 0 && h.counters.stampFaults.n.Load() > 0 })
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	shown, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	all, torn := archive.SplitCheckpoints(shown)
	if len(torn) > 0 {
		t.Errorf("%q", torn)
	}
	cp, err := archive.ParseCheckpoint(all[len(all)-1])
	if err != nil {
		t.Fatal(err)
	}
	rep, err := archive.Folder{Dir: cfg.ArchiveDir()}.VerifyWith(archive.VerifyOptions{Checkpoint: shown})
	if err != nil || !rep.OK || uint64(cp.Size) != rep.Records {
		t.Errorf("the last checkpoint that was shown has %d records of %d: %v %v", cp.Size, rep.Records, err, rep.Err())
	}
	states := witness.States(cfg.WitnessDir())
	if len(states) != 2 || states[0].Size != cp.Size || states[1].Size != 0 || states[1].Err == "" {
		t.Errorf("states %+v", states)
	}
}

// TestWitnessConfig: what is not there, or no certificate, is told at the start.
func TestWitnessConfig(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.pem")
	if _, err := newAuthority(testConfig(t, func(c *config.Config) { c.Archive.TSAURL, c.Archive.TSACAFile = "http://x/", none })); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(none, pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: []byte{1}}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newAuthority(testConfig(t, func(c *config.Config) { c.Archive.TSAURL, c.Archive.TSACAFile = "http://x/", none })); err == nil {
		t.Error("a file without a certificate is taken")
	}
}
