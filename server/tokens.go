package server

import (
	"context"
	"time"

	"rollcall/api"
	"rollcall/auth"
)

// recorded are the tokens, each made and revoked after it is recorded.
func (b backend) recorded(ctx context.Context) api.Tokens {
	return api.NewTokens(b.tokens, func(action string, t auth.Token) error {
		_, err := b.act(ctx, api.Actor(ctx), action, t.ID, t.Role+" "+t.Name, nil)
		return err
	})
}

// CreateToken implements api.Tokens.
func (b backend) CreateToken(ctx context.Context, n api.NewToken) (api.CreatedToken, error) {
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
