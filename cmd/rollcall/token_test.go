package main

import (
	"net/http"
	"strings"
	"testing"
)

// A token is made with and without a server, used, and revoked.
func TestTokenCommands(t *testing.T) {
	s := newShell(t)
	_, web := s.initialize()
	before := strings.TrimSpace(s.ok("token", "create", "--role", "ops", "--name", "made before the start"))
	s.serve()
	token := strings.TrimSpace(s.ok("token", "create", "--role", "ops", "--expires", "1h"))
	status := func(token string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+web+"/api/v1/registrations", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	if status(before) != 200 || status(token) != 200 || status(token+"x") != 401 {
		t.Error("tokens are not taken, or a wrong one is")
	}
	id := strings.Split(token, "_")[1]
	if out := s.ok("token", "list"); strings.Count(out, "\tops\t") != 2 || !strings.Contains(out, id) || strings.Contains(out, token) {
		t.Errorf("list printed %q", out)
	}
	s.ok("token", "revoke", id)
	if status(token) != 401 {
		t.Error("a revoked token is taken")
	}
	s.fails(1, "no such token", "token", "revoke", id)
	s.fails(1, "it is one of", "token", "create", "--role", "root")
	s.fails(2, "--role is one of", "token", "create")
	if out := s.ok("archive", "search", "type:act"); !strings.Contains(out, "token "+id) || !strings.Contains(out, "token-revoke "+id) {
		t.Errorf("the record lacks the token:\n%s", out)
	}
}
