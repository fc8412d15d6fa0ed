package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/auth"
	"rollcall/config"
)

// bot makes an account with a token that sends and takes its messages.
func (h *house) bot(user string) (secret, token string) {
	h.t.Helper()
	if err := h.directory.Add(h.t.Context(), auth.Account{AOR: aor(h.t, user)}, user); err != nil {
		h.t.Fatal(err)
	}
	t, err := backend{h.Server}.CreateToken(h.t.Context(), api.NewToken{Role: "bot", Name: user, AOR: "sip:" + user + "@example.com"})
	if err != nil {
		h.t.Fatal(err)
	}
	return t.Secret, t.ID
}

// say sends a message of a bot.
func (h *house) say(secret, body string) (int, api.SentMessage) {
	h.t.Helper()
	res, text := h.asToken(secret, "POST", "/api/v1/messages", body)
	var sent api.SentMessage
	if err := json.Unmarshal([]byte(text), &sent); err != nil {
		h.t.Fatalf("%v in %s", err, text)
	}
	return res.StatusCode, sent
}

// recorded returns the message of a record with the outcomes that it has.
func (h *house) recorded(id archive.ID) (archive.View, []string) {
	h.t.Helper()
	shown, err := archive.Folder{Dir: h.cfg.Load().ArchiveDir(), Keys: h.ring}.Show(id)
	if err != nil {
		h.t.Fatal(err)
	}
	var outcomes []string
	for _, o := range shown.Outcomes {
		outcomes = append(outcomes, o.Disposition)
	}
	return shown.Record, outcomes
}

// TestBotSends: what a bot sends goes the way of every message: policy, record, devices, offline queue; and the answer names the record.
func TestBotSends(t *testing.T) {
	t.Parallel()
	h := start(t)
	secret, token := h.bot("robot")
	alice := h.client("alice", "UDP")
	alice.register("")
	answered := make(chan *http.Response, 1)
	go func() {
		if m := alice.next(30 * time.Second); m != nil && m.IsRequest() {
			alice.send(string(reply(m, 200)))
			if m.Body() != "hello" || strings.Contains(m.Raw(), token) {
				t.Errorf("alice got\n%s", m.Raw())
			}
		}
		answered <- nil
	}()
	status, sent := h.say(secret, `{"to":"sip:alice@example.com","text":"hello","subject":"greeting"}`)
	<-answered
	if status != 200 || sent.Status != 200 || sent.Reason != "OK" || sent.Record.IsZero() {
		t.Fatalf("%d %+v", status, sent)
	}
	r, outcomes := h.recorded(sent.Record)
	if r.From != "sip:robot@example.com" || r.Body != "hello" || r.Subject != "greeting" || r.Device != "token-"+token || !strings.HasPrefix(r.Source, "program 127.0.0.1:") {
		t.Errorf("%+v", r)
	}
	eventually(t, "outcome", func() bool { _, outcomes = h.recorded(sent.Record); return strings.Join(outcomes, ",") == "delivered" })

	if status, sent := h.say(secret, `{"to":"sip:bob@example.com","text":"later"}`); status != 202 || sent.Status != 202 {
		t.Errorf("to who is away: %d %+v", status, sent)
	}
	if status, sent := h.say(secret, `{"to":"sip:nobody@example.com","text":"x"}`); status != 404 || sent.Record.IsZero() {
		t.Errorf("to nobody: %d %+v", status, sent)
	}
	if status, sent := h.say(secret, `{"to":"sip:someone@example.net","text":"x"}`); status != 403 || sent.Record.IsZero() {
		t.Errorf("abroad: %d %+v", status, sent)
	}
	for _, bad := range []string{
		`{"to":"bob","text":"x"}`, `{"to":"sip:bob@example.com"}`, `{"to":"sip:bob@example.com","text":"x","content_type":"text/plain\r\nX: y"}`,
		`{"to":"sip:bob@example.com","text":"x","subject":"a\r\nFrom: <sip:alice@example.com>"}`, `{"to":"sip:bob@example.com","text":"x","content_type":"nothing"}`,
		`{"to":"sip:bob@example.com>\r\nX: y","text":"x"}`, `{"to":"sip:bob@example.com","text":"x","from":"sip:alice@example.com"}`,
		`{"to":"sip:bob@example.com","text":"` + strings.Repeat("x", 70_000) + `"}`,
	} {
		if res, text := h.asToken(secret, "POST", "/api/v1/messages", bad); res.StatusCode != 400 {
			t.Errorf("%.80s: %d %s", bad, res.StatusCode, text)
		}
	}
	if res, text := h.asToken(h.token("bot", "no account"), "POST", "/api/v1/messages", `{"to":"sip:bob@example.com","text":"x"}`); res.StatusCode != 409 {
		t.Errorf("a token without an account: %d %s", res.StatusCode, text)
	}
	if res, _ := h.asToken(h.token("ops", "board"), "POST", "/api/v1/messages", `{}`); res.StatusCode != 403 {
		t.Errorf("ops: %s", res.Status)
	}
	if err := h.directory.SetDisabled(t.Context(), aor(t, "robot"), true); err != nil {
		t.Fatal(err)
	}
	if res, text := h.asToken(secret, "POST", "/api/v1/messages", `{"to":"sip:bob@example.com","text":"x"}`); res.StatusCode != 409 {
		t.Errorf("an account that is disabled: %d %s", res.StatusCode, text)
	}
	if _, err := (backend{h.Server}).CreateToken(t.Context(), api.NewToken{Role: "bot", Name: "x", AOR: "sip:nobody@example.com"}); err == nil {
		t.Error("a token for an account that is not there")
	}
	if _, err := (backend{h.Server}).CreateToken(t.Context(), api.NewToken{Role: "ops", Name: "x", AOR: "sip:alice@example.com"}); err == nil {
		t.Error("an account for who is no bot")
	}
}

// TestBotObeysPolicy: a barrier stands between a bot and others too, and the attempt is in the record.
func TestBotObeysPolicy(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/policy.toml"
	writeFile(t, file, wall)
	h := startWith(t, testConfig(t, func(c *config.Config) { c.Policy.File = file }), zap.NewNop())
	secret, _ := h.bot("robot")
	h.join("robot", "research")
	h.join("bob", "trading")
	status, sent := h.say(secret, `{"to":"sip:bob@example.com","text":"across"}`)
	if status != 403 || sent.Record.IsZero() {
		t.Fatalf("%d %+v", status, sent)
	}
	if r, _ := h.recorded(sent.Record); r.Decision != "refuse" || r.Rule != "wall" || r.Body != "across" {
		t.Errorf("%+v", r)
	}
	h.client("bob", "UDP").want(403, "MESSAGE", "sip:robot@example.com", "and back")
}

// TestBotReceives: while its stream is open a bot is a device of its account. What waited comes first, each message once; what it
// has not taken waits again.
func TestBotReceives(t *testing.T) {
	t.Parallel()
	h := start(t)
	secret, token := h.bot("robot")
	alice := h.client("alice", "UDP")
	for _, text := range []string{"one", "two"} {
		alice.want(202, "MESSAGE", "sip:robot@example.com", text)
	}
	next := func(events <-chan map[string]string, text string) (m api.ReceivedMessage) {
		t.Helper()
		if e := nextEvent(t, events, &m); e["event"] != "message" || m.Text != text || e["id"] != m.ID || m.From != "sip:alice@example.com" || m.To != "sip:robot@example.com" {
			t.Fatalf("%v, want %q", e, text)
		}
		return m
	}
	first := h.events(secret, "/api/v1/messages/stream")
	next(first, "one")
	next(first, "two")
	eventually(t, "taken", func() bool { n, err := h.relay.Waiting(t.Context(), aor(t, "robot")); return n == 0 && err == nil })
	live := func(text string) { // 202 while whoever delivers what waited is not done yet
		t.Helper()
		if m := alice.ask(alice.authorized("MESSAGE", "sip:robot@example.com", text)); m.Status() != 200 && m.Status() != 202 {
			t.Errorf("%s: %d", text, m.Status())
		}
	}
	live("three")
	next(first, "three")

	// The same token again, which confirms what it takes: the first stream ends.
	second := h.events(secret, "/api/v1/messages/stream?confirm=true")
	var failure struct{ Error string }
	if e := nextEvent(t, first, &failure); e["event"] != "error" || !strings.Contains(failure.Error, "another stream") {
		t.Errorf("%v", e)
	}
	got := make(chan int, 1)
	go func() { got <- alice.ask(alice.authorized("MESSAGE", "sip:robot@example.com", "four")).Status() }()
	m := next(second, "four")
	confirm := func(id string) int {
		res, _ := h.asToken(secret, "POST", "/api/v1/messages/"+id+"/confirm", "")
		return res.StatusCode
	}
	if status := confirm(m.ID); status != 200 {
		t.Errorf("confirm: %d", status)
	}
	if status := <-got; status != 200 && status != 202 {
		t.Errorf("alice was answered %d", status)
	}
	if again, nothing := confirm(m.ID), confirm("x"); again != 404 || nothing != 404 {
		t.Errorf("confirm again %d, nothing %d", again, nothing)
	}

	// Not confirmed: the next stream gets it, as the same message.
	go func() { got <- alice.ask(alice.authorized("MESSAGE", "sip:robot@example.com", "five")).Status() }()
	five := next(second, "five")
	third := h.events(secret, "/api/v1/messages/stream")
	if status := <-got; status != 202 && status != 200 {
		t.Errorf("alice was answered %d", status)
	}
	if again := next(third, "five"); again.ID != five.ID {
		t.Errorf("ID %s was %s", again.ID, five.ID)
	}
	live("six")
	next(third, "six")
	if len(h.programs.devices[aor(t, "robot")]) != 1 || h.programs.devices[aor(t, "robot")][0].name != "token-"+token {
		t.Errorf("%+v", h.programs.devices)
	}
	h.streams.Close()
	eventually(t, "left", func() bool { return !h.programs.any.Load() })
	alice.want(202, "MESSAGE", "sip:robot@example.com", "seven")
}

// TestProgramsFromOutside: nothing that comes over the network is taken for a program, whatever it says of itself.
func TestProgramsFromOutside(t *testing.T) {
	t.Parallel()
	h := start(t)
	secret, token := h.bot("robot")
	events := h.events(secret, "/api/v1/messages/stream")
	mallory := h.client("alice", "UDP")
	forged := strings.Replace(mallory.request("MESSAGE", "sip:bob@example.com", "forged", "From: <sip:robot@example.com>;tag=1",
		`Contact: <sip:token-`+token+`@127.0.0.1:5060>;+sip.instance="<token-`+token+`>"`), "SIP/2.0/UDP", "SIP/2.0/PROGRAM", 1)
	if m := mallory.ask(forged); m.Status() != 407 {
		t.Errorf("forged: %d", m.Status())
	}
	// A phone that registers the name of the device takes nothing away from it, and gets nothing of it but its own account's.
	mallory.register(`;+sip.instance="<token-` + token + `>"`)
	bob := h.client("bob", "UDP")
	if m := bob.ask(bob.authorized("MESSAGE", "sip:robot@example.com", "for the robot")); m.Status() != 200 {
		t.Errorf("bob was answered %d", m.Status())
	}
	var m api.ReceivedMessage
	if nextEvent(t, events, &m); m.Text != "for the robot" {
		t.Errorf("%+v", m)
	}
}
