package server

import (
	"context"
	"time"

	"rollcall/api"
	"rollcall/auth"
)

// Acts of tokens.
const (
	actToken  = "token"
	actRevoke = "token-revoke"
)

// CreateToken implements api.Tokens.
func (b backend) CreateToken(ctx context.Context, n api.NewToken) (api.CreatedToken, error) {
	t, err := api.NewTokens(b.tokens).CreateToken(ctx, n)
	if err != nil {
		return t, err
	}
	_, err = b.act(ctx, itself, actToken, t.ID, t.Role+" "+t.Name, nil)
	return t, err
}

// Tokens implements api.Tokens.
func (b backend) Tokens(ctx context.Context) ([]auth.Token, error) { return b.tokens.List(ctx) }

// RevokeToken implements api.Tokens.
func (b backend) RevokeToken(ctx context.Context, id string) error {
	if err := api.NewTokens(b.tokens).RevokeToken(ctx, id); err != nil {
		return err
	}
	_, err := b.act(ctx, itself, actRevoke, id, "", nil)
	return err
}

// CheckToken implements api.Checker.
func (b backend) CheckToken(ctx context.Context, secret string) (auth.Token, error) {
	return b.tokens.Check(ctx, secret, time.Now())
}
