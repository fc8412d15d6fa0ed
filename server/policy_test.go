package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/config"
	"rollcall/sip"
	"rollcall/xcap"
)

const wall = "[[barrier]]\nname = \"wall\"\nbetween = [\"research\", \"trading\"]\n"

// join puts an account into groups.
func (h *house) join(user string, groups ...string) {
	h.t.Helper()
	a, err := h.directory.Get(h.t.Context(), aor(h.t, user))
	if err != nil {
		h.t.Fatal(err)
	}
	a.Groups = groups
	if err := h.directory.Put(h.t.Context(), *a); err != nil {
		h.t.Fatal(err)
	}
}

// TestBarrier: a barrier stops messages and subscriptions, lists of contacts
// among them, both ways, as soon as its file is written, and the attempts are in
// the record. A file with a fault leaves it in force.
func TestBarrier(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "policy.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# nothing yet\n")
	cfg := testConfig(t, func(c *config.Config) { c.Policy.File = file })
	h := startWith(t, cfg, zap.NewNop())
	h.join("alice", "research")
	h.join("bob", "trading")
	alice, bob := h.client("alice", "UDP"), h.client("bob", "UDP")
	bob.publish(200, pidf("bob", "open", "here"))
	w := h.subscriber("alice", "UDP", "sip:bob@example.com", "presence", 200)
	w.sees("here")
	alice.want(202, "MESSAGE", "sip:bob@example.com", "before")

	write(wall)
	before := h.rules.Load().Version()
	eventually(t, "in force", func() bool { return h.rules.Load().Version() != before })
	for {
		m := w.notify()
		if state := m.Get(sip.HeaderSubscriptionState); strings.HasPrefix(state, "terminated") {
			if !strings.Contains(state, "reason=rejected") {
				t.Errorf("ended as %s", state)
			}
			break
		}
	}
	alice.want(403, "MESSAGE", "sip:bob@example.com", "across")
	bob.want(403, "MESSAGE", "sip:alice@example.com", "and back")
	h.subscriber("alice", "UDP", "sip:bob@example.com", "presence", 403)
	h.subscriber("bob", "UDP", "sip:alice@example.com", "presence", 403)
	h.subscriber("bob", "UDP", "sip:alice@example.com", "dialog", 403)
	alice.want(202, "MESSAGE", "sip:alice@example.com", "to herself")
	const list = `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="sip:carol@example.com"/>%s</list></resource-lists>`
	put := func(entry string) error {
		_, err := h.documents.Put(t.Context(), aor(t, "alice"), xcap.ResourceLists, "index", []byte(fmt.Sprintf(list, entry)))
		return err
	}
	var refusal *xcap.Conflict
	if err := put(`<entry uri="sip:bob@example.com"/>`); !errors.As(err, &refusal) {
		t.Errorf("a list with bob on it: %v", err)
	}
	if err := put(""); err != nil {
		t.Errorf("a list without him: %v", err)
	}

	faults := h.counters.policyFaults.n.Load()
	write(wall + "[[barrier]]\nname = \"wall\"\n")
	eventually(t, "found bad", func() bool { return h.counters.policyFaults.n.Load() > faults })
	alice.want(403, "MESSAGE", "sip:bob@example.com", "still across")

	refused, barred := map[string]string{}, map[string]int{}
	err := archive.Folder{Dir: cfg.ArchiveDir(), Keys: h.ring}.Scan(func(r *archive.Record, _ archive.Pos) error {
		if r.Type == archive.TypeMessage && r.Decision == "refuse" {
			refused[string(r.Body())] = r.Rule + " " + r.Policy
		}
		if r.Action == actBarred {
			barred[r.Actor+" "+r.Object+" "+r.Rule]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, attempt := range []string{"sip:alice@example.com sip:bob@example.com wall", "sip:bob@example.com sip:alice@example.com wall"} {
		if barred[attempt] != 1 {
			t.Errorf("%q is recorded %d times, want once", attempt, barred[attempt])
		}
	}
	for _, text := range []string{"across", "and back", "still across"} {
		if refused[text] != "wall "+h.rules.Load().Version() {
			t.Errorf("the record of %q says %q", text, refused[text])
		}
	}
}
