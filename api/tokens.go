package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"rollcall/auth"
)

// Tokens are the keys to the HTTP API, of the running server or of the store.
type Tokens interface {
	// CreateToken makes a token: ErrInvalid.
	CreateToken(ctx context.Context, t NewToken) (CreatedToken, error)
	// Tokens lists the tokens, without their secrets.
	Tokens(ctx context.Context) ([]auth.Token, error)
	// RevokeToken ends the token with this ID: ErrNotFound.
	RevokeToken(ctx context.Context, id string) error
}

// NewToken says what token is wanted.
type NewToken struct {
	Role string `json:"role"`
	Name string `json:"name"`
	// AOR is the account whose messages a bot sends and takes; "" is none.
	AOR string `json:"aor,omitempty"`
	// Seconds that it lives; 0 is for ever.
	Seconds int64 `json:"seconds,omitempty"`
}

// CreatedToken has the secret, which is shown this once.
type CreatedToken struct {
	auth.Token
	Secret string `json:"token"`
}

// NewTokens returns the tokens in a store. Before is called when one is to be made or revoked, and an error of it
// keeps that from being done; commands that find no server give nil.
func NewTokens(t *auth.Tokens, before func(action string, t auth.Token) error) Tokens {
	return tokens{t, before}
}

type tokens struct {
	t      *auth.Tokens
	before func(action string, t auth.Token) error // nil: nothing is recorded
}

// Actions of the records of tokens.
const (
	ActToken  = "token"
	ActRevoke = "token-revoke"
)

func (t tokens) hook(action string) func(auth.Token) error {
	if t.before == nil {
		return nil
	}
	return func(tok auth.Token) error { return t.before(action, tok) }
}

func (t tokens) CreateToken(ctx context.Context, n NewToken) (CreatedToken, error) {
	secret, tok, err := t.t.CreateFor(ctx, n.Role, n.Name, n.AOR, time.Duration(n.Seconds)*time.Second, t.hook(ActToken))
	if errors.Is(err, auth.ErrBadToken) {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return CreatedToken{tok, secret}, err
}

func (t tokens) Tokens(ctx context.Context) ([]auth.Token, error) { return t.t.List(ctx) }

func (t tokens) RevokeToken(ctx context.Context, id string) error {
	_, err := t.t.Revoke(ctx, id, t.hook(ActRevoke))
	if errors.Is(err, auth.ErrTokenGone) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

func tokenRoutes(mux *http.ServeMux, b Tokens) {
	mux.HandleFunc("GET /api/v1/tokens", func(w http.ResponseWriter, r *http.Request) {
		list, err := b.Tokens(r.Context())
		if list == nil {
			list = []auth.Token{}
		}
		reply(w, list, err)
	})
	mux.HandleFunc("POST /api/v1/tokens", func(w http.ResponseWriter, r *http.Request) {
		var n NewToken
		if !decode(w, r, &n) {
			return
		}
		if _, byToken := r.Context().Value(tokenKey{}).(auth.Token); byToken && (n.Role == "compliance" || n.Role == "supervisor") {
			// Else who manages accounts could make himself a reader.
			reply(w, nil, fmt.Errorf("%w: tokens that read content are made at the control socket alone, with rollcall token create", ErrRefused))
			return
		}
		t, err := b.CreateToken(WithActor(r.Context(), actorOf(r)), n)
		reply(w, t, err)
	})
	mux.HandleFunc("DELETE /api/v1/tokens/{id}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, struct{}{}, b.RevokeToken(WithActor(r.Context(), actorOf(r)), r.PathValue("id")))
	})
}

// CreateToken implements Tokens.
func (c *Client) CreateToken(ctx context.Context, n NewToken) (t CreatedToken, err error) {
	err = c.call(ctx, http.MethodPost, "/api/v1/tokens", n, &t)
	return t, err
}

// Tokens implements Tokens.
func (c *Client) Tokens(ctx context.Context) (list []auth.Token, err error) {
	err = c.call(ctx, http.MethodGet, "/api/v1/tokens", nil, &list)
	return list, err
}

// RevokeToken implements Tokens.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/api/v1/tokens/"+url.PathEscape(id), nil, nil)
}
