package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"rollcall/api"
	"rollcall/auth"
)

// recorded are the tokens, each made and revoked after it is recorded.
func (b backend) recorded(ctx context.Context) api.Tokens {
	return api.NewTokens(b.tokens, func(action string, t auth.Token) error {
		_, err := b.act(ctx, api.Actor(ctx), action, t.ID, strings.TrimSpace(t.Role+" "+t.Name+" "+t.AOR), nil)
		return err
	})
}

// CreateToken implements api.Tokens.
func (b backend) CreateToken(ctx context.Context, n api.NewToken) (api.CreatedToken, error) {
	if n.AOR != "" {
		if _, err := b.account(ctx, n.AOR); err != nil {
			return api.CreatedToken{}, fmt.Errorf("account of the token: %w", err)
		}
	}
	return b.recorded(ctx).CreateToken(ctx, n)
}

// Tokens implements api.Tokens.
func (b backend) Tokens(ctx context.Context) ([]auth.Token, error) { return b.tokens.List(ctx) }

// RevokeToken implements api.Tokens.
func (b backend) RevokeToken(ctx context.Context, id string) error {
	return b.recorded(ctx).RevokeToken(ctx, id)
}

// CheckToken implements api.Checker.
func (b backend) CheckToken(ctx context.Context, secret string) (auth.Token, error) {
	return b.tokens.Check(ctx, secret, time.Now())
}
