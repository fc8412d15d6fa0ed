package server

import (
	"errors"
	"strings"
	"testing"

	"rollcall/api"
	"rollcall/auth"
	"rollcall/config"
	"rollcall/xcap"
)

// TestDeletedName: who is deleted leaves nothing behind but the record, and nobody gets the name for a while: whoever takes it
// later, or because an administrator says so, begins anew.
func TestDeletedName(t *testing.T) {
	t.Parallel()
	h := start(t)
	root := h.token("admin", "root")
	secret, token := h.bot("robot")
	robot := aor(t, "robot")
	phone := h.client("robot", "UDP")
	phone.register("")
	if _, err := h.documents.Put(t.Context(), robot, xcap.ResourceLists, "index", []byte(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>`)); err != nil {
		t.Fatal(err)
	}
	phone.want(200, "REGISTER", "sip:example.com", "", "Contact: *", "Expires: 0")
	h.client("alice", "UDP").want(202, "MESSAGE", "sip:robot@example.com", "for the old robot")
	phone.register(`;methods="REGISTER"`) // it takes no message

	const path = "/api/v1/users/sip:robot@example.com"
	if res, text := h.asToken(h.token("ops", "board"), "DELETE", path, ""); res.StatusCode != 403 {
		t.Errorf("ops: %d %s", res.StatusCode, text)
	}
	if res, text := h.asToken(root, "DELETE", path+"?reason=replaced", ""); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	if res, _ := h.asToken(root, "DELETE", path, ""); res.StatusCode != 404 {
		t.Errorf("again: %s", res.Status)
	}
	if res, _ := h.asToken(secret, "GET", "/api/v1/presence/sip:alice@example.com", ""); res.StatusCode != 401 {
		t.Errorf("its token: %s", res.Status)
	}
	h.client("alice", "UDP").want(404, "MESSAGE", "sip:robot@example.com", "too late")
	_, acts := h.asToken(root, "GET", "/api/v1/audit", "")
	for _, act := range []string{`"action":"user-delete","object":"sip:robot@example.com","reason":"replaced"`, `"action":"token-revoke","object":"` + token + `"`} {
		if !strings.Contains(acts, act) {
			t.Errorf("no %s in %s", act, acts)
		}
	}

	const again = `{"aor":"sip:robot@example.com","password":"new"`
	if res, text := h.asToken(root, "POST", "/api/v1/users", again+`}`); res.StatusCode != 409 || !strings.Contains(text, "quarantine") || !strings.Contains(text, `"refused"`) {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	const header = "aor,password\n"
	if _, text := h.asToken(root, "POST", "/api/v1/users/import", header+"carol@example.com,x\nrobot@example.com,x\n"); !strings.Contains(text, "line 3") || !strings.Contains(text, "quarantine") {
		t.Errorf("import: %s", text)
	}
	if ok, err := h.directory.Has(t.Context(), aor(t, "carol")); ok || err != nil {
		t.Errorf("a half of the import: %v %v", ok, err)
	}
	if res, text := h.asToken(root, "POST", "/api/v1/users", again+`,"reuse_name":true}`); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	if docs, err := h.documents.List(t.Context(), robot, xcap.ResourceLists); err != nil || len(docs) != 0 {
		t.Errorf("documents of the old one: %v %v", docs, err)
	}
	if n, err := h.relay.Waiting(t.Context(), robot); n != 0 || err != nil {
		t.Errorf("%d messages of the old one wait, %v", n, err)
	}
	if list, err := h.registrar.Lookup(t.Context(), robot); len(list) != 0 || err != nil {
		t.Errorf("bindings of the old one: %v %v", list, err)
	}
	h.client("alice", "UDP").want(202, "MESSAGE", "sip:robot@example.com", "for the new robot")
}

// Without a quarantine a name is free at once, and one that has ended keeps it from nobody.
func TestNoQuarantine(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *config.Config) { c.Auth.NameQuarantine = config.Duration{} })
	ctx := api.WithActor(t.Context(), "root")
	if err := (backend{h.Server}).Users().Delete(ctx, "sip:bob@example.com", "gone"); err != nil {
		t.Fatal(err)
	}
	if err := h.directory.Add(ctx, auth.Account{AOR: aor(t, "bob")}, "new"); err != nil {
		t.Error(err)
	}
	if err := api.NewUsers(h.directory).Delete(ctx, "sip:bob@example.com", ""); !errors.Is(err, api.ErrRefused) {
		t.Errorf("without the server: %v", err)
	}
}
