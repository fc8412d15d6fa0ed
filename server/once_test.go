package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/auth"
)

const hello = `{"to":"sip:alice@example.com","text":"hello"}`

// ask sends a message of a bot with an Idempotency-Key.
func (h *house) ask(secret, key, body string) (*http.Response, api.SentMessage, string) {
	h.t.Helper()
	res, text := h.asToken(secret, "POST", "/api/v1/messages", body, "Idempotency-Key", key)
	var sent api.SentMessage
	_ = json.Unmarshal([]byte(text), &sent) // of an error it has nothing
	return res, sent, text
}

// messages counts the messages in the record.
func (h *house) messages() (n int) {
	h.t.Helper()
	err := h.journal.Recent(time.Now().Add(-time.Hour), func(r *archive.Record) error {
		if r.Type == archive.TypeMessage {
			n++
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// TestSentOnce: however often a program asks with one key, the message is sent once and the answer is the same, after a
// restart too.
func TestSentOnce(t *testing.T) {
	t.Parallel()
	h := start(t)
	secret, _ := h.bot("robot")
	other, _ := h.bot("other")
	res, first, text := h.ask(secret, `"k-1"`, hello)
	if res.StatusCode != 202 || first.Record.IsZero() {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	same := func() {
		t.Helper()
		if res, again, text := h.ask(secret, `"k-1"`, hello); res.StatusCode != 202 || again != first {
			t.Errorf("again: %d %s, want %+v", res.StatusCode, text, first)
		}
	}
	same()
	if res, _, text := h.ask(secret, `"k-1"`, strings.Replace(hello, "hello", "good-bye", 1)); res.StatusCode != 422 {
		t.Errorf("another message with the key: %d %s", res.StatusCode, text)
	}
	if n := h.messages(); n != 1 {
		t.Errorf("%d messages are recorded, want 1", n)
	}
	if res, sent, text := h.ask(other, `"k-1"`, hello); res.StatusCode != 202 || sent.Record == first.Record {
		t.Errorf("the key of another program: %d %s", res.StatusCode, text)
	}
	for _, key := range []string{"", "two words", "ü", strings.Repeat("k", 256)} {
		if res, _, text := h.ask(secret, key, hello); res.StatusCode != 400 {
			t.Errorf("key %q: %d %s", key, res.StatusCode, text)
		}
	}
	cfg := h.cfg.Load()
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h = startWith(t, cfg, zap.NewNop())
	same()
	if n := h.messages(); n != 2 {
		t.Errorf("%d messages are recorded, want 2", n)
	}
}

// What was not recorded was not sent, so its key is free.
func TestSentOnceRefused(t *testing.T) {
	t.Parallel()
	h := start(t)
	secret, id := h.bot("robot")
	if res, _, text := h.ask(secret, "k", strings.Replace(hello, "alice@", "al ice@", 1)); res.StatusCode != 400 {
		t.Fatalf("to nobody: %d %s", res.StatusCode, text)
	}
	if res, sent, text := h.ask(secret, "k", hello); res.StatusCode != 202 || sent.Record.IsZero() {
		t.Errorf("put right: %d %s", res.StatusCode, text)
	}
	if err := h.directory.SetDisabled(t.Context(), aor(t, "robot"), true); err != nil {
		t.Fatal(err)
	}
	if res, sent, text := h.ask(secret, "k", hello); res.StatusCode != 409 || !sent.Record.IsZero() {
		t.Errorf("of an account that is disabled: %d %s", res.StatusCode, text)
	}
	if err := h.directory.SetDisabled(t.Context(), aor(t, "robot"), false); err != nil {
		t.Fatal(err)
	}
	if err := h.journal.Close(); err != nil {
		t.Fatal(err)
	}
	if res, _, text := h.ask(secret, "unrecorded", hello); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("without a journal: %d %s", res.StatusCode, text)
	}
	owner := sha256.Sum256([]byte(id + "\x00unrecorded"))
	if _, _, ok, err := newOnce(h.store).Get(t.Context(), string(owner[:]), ""); ok || err != nil {
		t.Errorf("the key of a message that was not sent is in use: %v", err)
	}
	h.closers = slices.Delete(h.closers, 2, 3) // the journal is closed already
}

// While the message is under way nobody sends it again, and a program whose connection broke gets the answer when it
// comes back.
func TestSentOnceUnderWay(t *testing.T) {
	t.Parallel()
	h := start(t)
	secret, _ := h.bot("robot")
	alice := h.client("alice", "UDP")
	alice.register("")
	ctx, hangUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+h.HTTPAddr()+"/api/v1/messages", strings.NewReader(hello))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("Idempotency-Key", "k")
	broken := make(chan struct{})
	go func() {
		defer close(broken)
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
			t.Error("an answer before alice's")
		}
	}()
	m := alice.next(10 * time.Second)
	if m == nil || !m.IsRequest() {
		t.Fatal("nothing came")
	}
	hangUp()
	<-broken
	if res, _, text := h.ask(secret, "k", hello); res.StatusCode != 409 || res.Header.Get("Retry-After") == "" {
		t.Errorf("beside it: %d %s", res.StatusCode, text)
	}
	alice.send(string(reply(m, 200)))
	eventually(t, "the answer", func() bool {
		res, sent, _ := h.ask(secret, "k", hello)
		return res.StatusCode == 200 && sent.Status == 200 && !sent.Record.IsZero()
	})
	if n := h.messages(); n != 1 {
		t.Errorf("%d messages are recorded, want 1", n)
	}
}

// After a crash the record tells whether the message was sent.
func TestSentOnceAfterCrash(t *testing.T) {
	t.Parallel()
	h := start(t)
	secret, id := h.bot("robot")
	token := auth.Token{ID: id, AOR: "sip:robot@example.com"}
	b := backend{h.Server}
	message := api.NewMessage{To: "sip:alice@example.com", Text: "hello"}
	crashed := func(key, call, node string) {
		t.Helper()
		mac := hmac.New(sha256.New, []byte(key))
		if err := json.NewEncoder(mac).Encode(message); err != nil {
			t.Fatal(err)
		}
		table, owner := newOnce(h.store), sha256.Sum256([]byte(id+"\x00"+key))
		put, err := table.Put(once{Of: mac.Sum(nil), Call: call, Node: node, Begun: time.Now().Add(-onceUnderWay)})
		if err == nil {
			_, err = table.Apply(t.Context(), string(owner[:]), 0, put)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	sent, err := b.SendMessage(t.Context(), token, netip.MustParseAddrPort("127.0.0.1:9"), message)
	shown, _ := h.recorded(sent.Record)
	if err != nil || sent.Record.IsZero() {
		t.Fatalf("%+v %v", sent, err)
	}
	crashed("after", shown.CallID, h.node)
	for range 2 {
		if res, again, text := h.ask(secret, "after", hello); res.StatusCode != 202 || again != sent {
			t.Errorf("recorded before the crash: %d %s, want %+v", res.StatusCode, text, sent)
		}
	}
	if n := h.messages(); n != 1 {
		t.Errorf("%d messages are recorded, want 1", n)
	}
	crashed("before", "never", h.node)
	if res, again, text := h.ask(secret, "before", hello); res.StatusCode != 202 || again.Record.IsZero() || again == sent {
		t.Errorf("not recorded before the crash: %d %s", res.StatusCode, text)
	}
	if n := h.messages(); n != 2 {
		t.Errorf("%d messages are recorded, want 2", n)
	}
	crashed("elsewhere", "unknown", "another")
	for range 2 {
		if res, again, text := h.ask(secret, "elsewhere", hello); res.StatusCode != 502 || again.Status != 500 || !again.Record.IsZero() {
			t.Errorf("another server was sending it: %d %s", res.StatusCode, text)
		}
	}
	if n := h.messages(); n != 2 {
		t.Errorf("%d messages are recorded, want 2", n)
	}
}
