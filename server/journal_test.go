package server

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/config"
	"rollcall/store/redis"
	"rollcall/store/redis/redistest"
)

// TestSharedRecord: two servers on one Redis have one record. What either took is in it,
// whichever seals; when that one ends the other goes on, and content opens.
func TestSharedRecord(t *testing.T) {
	t.Parallel()
	url, _ := redistest.Start(t, "--appendonly", "yes")
	common := t.TempDir()
	server := func() *house {
		cfg := testConfig(t, func(c *config.Config) {
			c.Store.URL = url
			c.Archive.Journal, c.Archive.Dir = "redis", filepath.Join(common, "archive")
			c.KeysDir = filepath.Join(common, "keys")
		})
		return startWith(t, cfg, zap.NewNop())
	}
	one := server()
	eventually(t, "sealing", one.stream.Seals)
	two := server()
	one.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "over the first")
	two.client("alice", "UDP").want(202, "MESSAGE", "sip:bob@example.com", "over the second")
	if two.stream.Seals() {
		t.Error("both seal")
	}
	if err := one.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "taken over", two.stream.Seals)
	two.client("bob", "UDP").want(202, "MESSAGE", "sip:alice@example.com", "after that")
	eventually(t, "sealed", func() bool { return two.unsealed() == 0 })
	folder := archive.Folder{Dir: filepath.Join(common, "archive"), Keys: two.ring}
	found := map[string]int{}
	err := folder.Scan(func(r *archive.Record, _ archive.Pos) error {
		if r.Type == archive.TypeMessage {
			found[string(r.Body())]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"over the first", "over the second", "after that"} {
		if found[text] != 1 {
			t.Errorf("%q stands %d times", text, found[text])
		}
	}
	if err := two.stop(); err != nil {
		t.Fatal(err)
	}
	if rep, err := folder.Verify(); err != nil || !rep.OK || rep.Signed == 0 {
		t.Errorf("%v %v, %d signed", err, rep.Err(), rep.Signed)
	}
}

// TestWeakRedis: the record is not given to a Redis that forgets, unless that is said.
func TestWeakRedis(t *testing.T) {
	cfg := testConfig(t)
	for facts, fault := range map[redis.Facts]string{
		{}: "appendonly yes", {AppendOnly: true, AppendFsync: "no"}: "appendfsync no",
		{AppendOnly: true, AppendFsync: "everysec"}: "", {AppendOnly: true, AppendFsync: "always"}: "", {AppendOnly: true}: "",
	} {
		err := fitForRecords(cfg, &facts)
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%+v: %v", facts, err)
		}
	}
	cfg.Archive.AllowWeakRedis = true
	if err := fitForRecords(cfg, &redis.Facts{}); err != nil {
		t.Error(err)
	}
}
