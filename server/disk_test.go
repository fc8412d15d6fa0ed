package server

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// A slow disk is told of once, however many messages wait for it.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.WarnLevel)
	d := newDisk(zap.New(core))
	for _, took := range []time.Duration{time.Millisecond, slowDisk - 1, slowDisk, 5 * time.Second} {
		d.synced(took)
	}
	if all := logs.All(); len(all) != 1 || all[0].ContextMap()["took"] != slowDisk {
		t.Errorf("the log has %v", all)
	}
}

func TestSyncTimes(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.client("alice", "UDP")
	alice.want(202, "MESSAGE", "sip:bob@example.com", "one")
	_, body := h.get("/metrics")
	if strings.Contains(body, "rollcall_archive_sync_seconds_count 0\n") || !strings.Contains(body, `rollcall_archive_sync_seconds_bucket{le="0.01"}`) {
		t.Errorf("no sync was counted:\n%.2000s", body)
	}
}
