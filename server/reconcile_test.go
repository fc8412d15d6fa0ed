package server

import (
	"testing"
	"time"

	"rollcall/archive"
)

// TestReconcile: each day is accounted for once, and a message without an
// outcome is a gap.
func TestReconcile(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.client("alice", "UDP")
	alice.want(202, "MESSAGE", "sip:bob@example.com", "kept")
	alice.want(404, "MESSAGE", "sip:nobody@example.com", "to nobody")
	h.client("bob", "UDP").register("")
	tomorrow := time.Now().AddDate(0, 0, 1).Add(settle)
	account := func() (list []archive.Reconciliation) {
		t.Helper()
		s, err := archive.Folder{Dir: h.cfg.Load().ArchiveDir()}.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return s.Reconciled
	}
	day := time.Now().UTC().Truncate(24 * time.Hour)
	eventually(t, "delivered", func() bool {
		r, err := archive.Folder{Dir: h.cfg.Load().ArchiveDir()}.Reconcile(t.Context(), day)
		return err == nil && r.Delivered+r.Stored == 1 && r.Balanced()
	})
	for range 2 { // the second time there is nothing to do
		if err := h.reconcile(t.Context(), tomorrow); err != nil {
			t.Fatal(err)
		}
	}
	list := account()
	if len(list) != 1 || list[0].Received != list[0].Delivered+list[0].Stored+list[0].Refused || list[0].Open != 0 || list[0].Day != day.Format(time.DateOnly) {
		t.Errorf("%+v", list)
	}
	if n := h.counters.unreconciled.n.Load(); n != 0 {
		t.Errorf("%d messages not accounted for", n)
	}
	// One that the record says nothing more about.
	yesterday := time.Now().AddDate(0, 0, -1)
	_, err := h.journal.Append(t.Context(), &archive.Record{Type: archive.TypeMessage, Received: yesterday, From: "sip:alice@example.com", To: "sip:bob@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.reconcile(t.Context(), tomorrow); err != nil {
		t.Fatal(err)
	}
	// The server does the same by itself when it starts, which may be now only.
	if list := account(); len(list) < 2 || list[1].Open != 1 || list[1].Balanced() || h.counters.unreconciled.n.Load() == 0 {
		t.Errorf("%+v", list)
	}
}
