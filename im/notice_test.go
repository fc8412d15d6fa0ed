package im_test

import (
	"strings"
	"testing"
	"time"

	"rollcall/archive"
	"rollcall/policy"
)

// noticeRules have a disclaimer for whom messages of the example are for, and a
// lexicon that tells carol.
const noticeRules = `
[[disclaimer]]
name = "recorded"
text = "This conversation is recorded."
per  = "10m"

[[lexicon]]
name    = "insider"
action  = "notify"
notify  = ["sip:carol@example.com"]
phrases = ["before the announcement"]

[[lexicon]]
name    = "codeword"
action  = "block"
notify  = ["sip:carol@example.com"]
phrases = ["swordfish"]
`

func withNotices(t *testing.T, test func(t *testing.T, h *house)) {
	t.Helper()
	inHouse(t, func(t *testing.T, h *house) {
		rules, err := policy.Parse("policy.toml", []byte(noticeRules), []string{"example.com"}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.settings.Rules = rules
		h.relay.Reload(h.settings)
		test(t, h)
	})
}

// TestDisclaimer: the one a message is for sees it before the first message of a
// conversation, once in its period, a restart included; its delivery is in the record.
func TestDisclaimer(t *testing.T) {
	withNotices(t, func(t *testing.T, h *house) {
		p := h.online("bob", "198.51.100.7:5060")
		h.send("bob", "hello").want(202) // behind the disclaimer in the queue
		time.Sleep(time.Second)
		h.send("bob", "again").want(200)
		time.Sleep(time.Second)
		h.restart()
		h.refresh("bob", p)
		h.send("bob", "and again").want(200)
		p.want("This conversation is recorded.", "hello", "again", "and again")

		time.Sleep(11 * time.Minute)
		h.refresh("bob", p)
		h.send("bob", "later")
		time.Sleep(time.Second)
		p.want("This conversation is recorded.", "hello", "again", "and again", "This conversation is recorded.", "later")

		given := 0
		for _, r := range h.records() {
			if r.Channel != "notice" || r.Type != archive.TypeMessage {
				continue
			}
			given++
			if r.From != "sip:notices@example.com" || r.To != "sip:bob@example.com" || r.Rule != "recorded" || r.Policy != h.settings.Rules.Version() {
				t.Errorf("record of the disclaimer: from %s to %s, rule %s %s", r.From, r.To, r.Rule, r.Policy)
			}
			h.wantOutcomes(r.CallID, "stored 202", "delivered 200")
		}
		if given != 2 {
			t.Errorf("%d disclaimers in the record, want 2", given)
		}
	})
}

// TestDisclaimerWaits: who is away finds it before what was written.
func TestDisclaimerWaits(t *testing.T) {
	withNotices(t, func(t *testing.T, h *house) {
		h.send("bob", "hello").want(202)
		time.Sleep(time.Second)
		p := h.online("bob", "198.51.100.7:5060")
		h.refresh("bob", p)
		time.Sleep(time.Second)
		p.want("This conversation is recorded.", "hello")
	})
}

// TestDisclaimerNotRecorded: a message does not go on without it.
func TestDisclaimerNotRecorded(t *testing.T) {
	withNotices(t, func(t *testing.T, h *house) {
		p := h.online("bob", "198.51.100.7:5060")
		h.journal.set(time.Second, false, false)
		r := h.send("bob", "hello")
		h.journal.set(0, true, false) // from the next record on
		r.want(503)
		p.want()
		h.journal.set(0, false, false)
		h.send("bob", "hello again")
		time.Sleep(time.Second)
		p.want("This conversation is recorded.", "hello again")
	})
}

// TestLexiconTells: whom a lexicon names is told of a hit and of a message that was
// blocked for one, by the record's ID, without a word of it; the sender learns nothing.
func TestLexiconTells(t *testing.T) {
	withNotices(t, func(t *testing.T, h *house) {
		carol := h.online("carol", "198.51.100.8:5060")
		bob := h.online("bob", "198.51.100.7:5060")
		flagged := h.send("bob", "Buy before the announcement!")
		time.Sleep(time.Second)
		bob.want("This conversation is recorded.", "Buy before the announcement!")
		blocked := h.send("bob", "swordfish")
		blocked.want(403)
		time.Sleep(time.Second)
		got := carol.got()
		if len(got) != 2 {
			t.Fatalf("carol got %q", got)
		}
		for i, r := range []*request{flagged, blocked} {
			rec := h.recordOf(r.callID)
			if want := "message of sip:alice@example.com to sip:bob@example.com, record " + rec.ID.String(); !strings.HasSuffix(got[i], want) {
				t.Errorf("carol was told %q, want …%q", got[i], want)
			}
		}
		if rec := h.recordOf(flagged.callID); rec.Flags != "insider" || rec.Decision != "allow" {
			t.Errorf("flags %q, %s", rec.Flags, rec.Decision)
		}
	})
}
