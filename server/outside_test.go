package server

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/archive/replica"
	"rollcall/archive/timestamp/timestamptest"
	"rollcall/config"
)

// TestOutsideAtTheEnd: when the server stops, the checkpoint over all of its records is stamped by the authority, and the second
// copy has it with every segment that is sealed. Places that are away keep nobody waiting for long.
func TestOutsideAtTheEnd(t *testing.T) {
	t.Parallel()
	tsa, ca := timestamptest.Start(t)
	store := s3mem.New()
	if err := store.CreateBucket("record"); err != nil {
		t.Fatal(err)
	}
	s3 := httptest.NewServer(gofakes3.New(store).Server())
	t.Cleanup(s3.Close)
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, "secret\n")
	cfg := testConfig(t, func(c *config.Config) {
		c.Archive.TSAURL, c.Archive.TSACAFile, c.Archive.TSAEvery = tsa, ca, config.Duration{Duration: time.Hour}
		c.Replica = config.Replica{URL: s3.URL + "/record/n1", Region: "us-east-1", AccessKeyFile: secret, SecretKeyFile: secret}
	})
	folder := archive.Folder{Dir: cfg.ArchiveDir()}
	for round := range 2 {
		h := startWith(t, cfg, zap.NewNop())
		h.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "hello")
		if round == 1 { // what the first round finished
			eventually(t, "compressed", func() bool { n, err := folder.CompressedSegments(); return err == nil && len(n) > 0 })
		}
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		signed, err := folder.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		cp, err := archive.ParseCheckpoint(signed)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := folder.Verify()
		if err != nil || !rep.OK || rep.Records != uint64(cp.Size) {
			t.Fatalf("%d records under the last checkpoint, %+v %v", cp.Size, rep, err)
		}
		if size, _, err := folder.LastStamp(); err != nil || size != cp.Size || len(rep.Stamps) == 0 || rep.Stamps[len(rep.Stamps)-1].Size != cp.Size {
			t.Errorf("the last stamp is over %d records of %d, %+v, %v", size, cp.Size, rep.Stamps, err)
		}
		if state, ok := replica.Last(cfg.ReplicaDir()); !ok || state.Size != cp.Size || state.Segments != round || state.Err != "" {
			t.Errorf("second copy: %+v", state)
		}
	}
	list, err := store.ListBucket("record", &gofakes3.Prefix{}, gofakes3.ListBucketPage{})
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, o := range list.Contents {
		names += o.Key + "\n"
	}
	if strings.Count(names, "n1/checkpoints/") < 2 || !strings.Contains(names, "n1/segments/"+archive.CompressedName(1)) {
		t.Errorf("the store has\n%s", names)
	}

	ended := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	}))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(ended) })
	cfg.Archive.TSAURL, cfg.Replica.URL = silent.URL, silent.URL+"/record/n1"
	if err := os.RemoveAll(cfg.ReplicaDir()); err != nil {
		t.Fatal(err)
	}
	h := startWith(t, cfg, zap.NewNop())
	h.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "hello")
	began := time.Now()
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 4*outsideWithin {
		t.Errorf("the stop took %s", took)
	}
}
