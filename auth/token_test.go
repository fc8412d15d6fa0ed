package auth_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/auth"
	"rollcall/store/embedded"
)

func TestTokens(t *testing.T) {
	s, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tokens, ctx, now := auth.NewTokens(s), t.Context(), time.Now()
	secret, tok, err := tokens.Create(ctx, "ops", "dashboard", time.Hour, nil)
	if err != nil || !strings.HasPrefix(secret, "rc_"+tok.ID+"_") || len(secret) != 40 {
		t.Fatal(secret, tok, err)
	}
	if got, err := tokens.Check(ctx, secret, now); err != nil || got.Role != "ops" || got.Name != "dashboard" {
		t.Error(got, err)
	}
	for _, bad := range []string{"", "rc_", secret + "x", secret[:39], strings.ToUpper(secret), "rc_" + tok.ID + "_" + strings.Repeat("a", 26), "rc_aaaaaaaaaa_" + secret[14:]} {
		if _, err := tokens.Check(ctx, bad, now); !errors.Is(err, auth.ErrToken) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := tokens.Check(ctx, secret, now.Add(2*time.Hour)); !errors.Is(err, auth.ErrToken) {
		t.Error("an expired token is taken", err)
	}
	for _, c := range []struct {
		role, name string
		life       time.Duration
	}{{"root", "x", 0}, {"ops", "", 0}, {"ops", "a\nb", 0}, {"ops", "x", -1}} {
		if _, _, err := tokens.Create(ctx, c.role, c.name, c.life, nil); !errors.Is(err, auth.ErrBadToken) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	no := errors.New("not recorded")
	refuse := func(auth.Token) error { return no }
	if _, _, err := tokens.Create(ctx, "ops", "x", 0, refuse); !errors.Is(err, no) {
		t.Error(err)
	}
	if _, err := tokens.Revoke(ctx, tok.ID, refuse); !errors.Is(err, no) {
		t.Error(err)
	}
	if list, err := tokens.List(ctx); err != nil || len(list) != 1 || list[0].ID != tok.ID {
		t.Error(list, err)
	}
	if _, err := tokens.Revoke(ctx, "rc_"+tok.ID, nil); err != nil {
		t.Error(err)
	}
	if _, err := tokens.Check(ctx, secret, now); !errors.Is(err, auth.ErrToken) {
		t.Error("a revoked token is taken", err)
	}
	if _, err := tokens.Revoke(ctx, tok.ID, nil); !errors.Is(err, auth.ErrTokenGone) {
		t.Error(err)
	}
}
