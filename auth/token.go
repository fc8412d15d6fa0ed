package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rollcall/sip"
	"rollcall/store"
)

// Roles of tokens. What a role may do stands with the handlers of the HTTP API.
var Roles = []string{"ops", "compliance", "supervisor", "bot", "admin"}

// Token is a key to the HTTP API, without its secret.
type Token struct {
	ID      string    `json:"id"` // begins the token
	Role    string    `json:"role"`
	Name    string    `json:"name"`          // of the person or the program
	AOR     string    `json:"aor,omitempty"` // whose messages a bot sends and takes
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Hash    string    `json:"-"`                // SHA-256 of the token, in hex
}

// storedToken is the stored form behind its version.
type storedToken struct {
	Token
	Hash string `json:"hash"`
}

const (
	tokenPrefix  = "rc_"
	tokenVersion = 1
	tokenID      = 10 // characters of the ID
	maxTokens    = 10_000
	tokensOwner  = "tokens"
)

var tokenKind = store.NewKind("token", store.Durable, store.Hot)

// Errors of tokens.
var (
	ErrToken     = errors.New("token is not known")
	ErrBadToken  = errors.New("invalid token")
	ErrTokenGone = errors.New("no such token")
)

// Tokens keeps the tokens of the HTTP API. Only their hashes are stored: a token
// has 130 random bits, which nobody finds from a hash. The methods may be called
// from any goroutine.
type Tokens struct {
	table *store.Table[Token]
}

// NewTokens returns the tokens in a store.
func NewTokens(s store.Store) *Tokens {
	return &Tokens{store.NewTable(s, tokenKind,
		func(t Token) (store.Item, error) {
			b, err := json.Marshal(storedToken{t, t.Hash})
			return store.Item{ID: t.ID, Value: append([]byte{tokenVersion}, b...)}, err
		},
		func(i store.Item) (Token, error) {
			if len(i.Value) == 0 || i.Value[0] != tokenVersion {
				return Token{}, errors.New("token of an unknown version")
			}
			var s storedToken
			err := json.Unmarshal(i.Value[1:], &s)
			s.Token.Hash = s.Hash
			return s.Token, err
		})}
}

// Create is CreateFor of a token without an account.
func (t *Tokens) Create(ctx context.Context, role, name string, life time.Duration, before func(Token) error) (secret string, tok Token, err error) {
	return t.CreateFor(ctx, role, name, "", life, before)
}

// CreateFor makes a token and returns it with its secret, which is shown only
// now. A life of 0 is for ever. Before, if it is not nil, is called when the
// token is known and not in force yet; an error of it leaves none. AOR is the account
// whose messages a bot sends and takes, or "".
func (t *Tokens) CreateFor(ctx context.Context, role, name, aor string, life time.Duration, before func(Token) error) (secret string, tok Token, err error) {
	switch {
	case !slices.Contains(Roles, role):
		return "", tok, fmt.Errorf("%w: role %q; it is one of %s", ErrBadToken, role, strings.Join(Roles, ", "))
	case checkText("name", name, MaxName) != nil || name == "":
		return "", tok, fmt.Errorf("%w: a token needs a name of up to %d bytes, by which records name who used it", ErrBadToken, MaxName)
	case life < 0:
		return "", tok, fmt.Errorf("%w: it ends before it begins", ErrBadToken)
	case aor != "" && role != "bot":
		return "", tok, fmt.Errorf("%w: only a bot has an account", ErrBadToken)
	}
	if aor != "" {
		a, err := sip.ParseAORString(aor)
		if err != nil {
			return "", tok, fmt.Errorf("%w: the account %q: %w", ErrBadToken, aor, err)
		}
		aor = a.String()
	}
	text := strings.ToLower(rand.Text() + rand.Text())
	secret = tokenPrefix + text[:tokenID] + "_" + text[tokenID:tokenID+26]
	sum := sha256.Sum256([]byte(secret))
	now := time.Now().UTC().Truncate(time.Second)
	tok = Token{ID: text[:tokenID], Role: role, Name: name, AOR: aor, Created: now, Hash: hex.EncodeToString(sum[:])}
	if life > 0 {
		tok.Expires = now.Add(life)
	}
	if before != nil {
		if err := before(tok); err != nil {
			return "", tok, err
		}
	}
	_, err = t.table.Update(ctx, tokensOwner, func(list []Token) ([]store.Change, error) {
		if len(list) >= maxTokens {
			return nil, fmt.Errorf("%w: there are %d already; revoke some", ErrBadToken, len(list))
		}
		c, err := t.table.Put(tok)
		return []store.Change{c}, err
	})
	return secret, tok, err
}

// List returns the tokens, the oldest first.
func (t *Tokens) List(ctx context.Context) ([]Token, error) {
	list, _, err := t.table.Load(ctx, tokensOwner)
	slices.SortFunc(list, func(a, b Token) int { return a.Created.Compare(b.Created) })
	return list, err
}

// Revoke ends a token, named by its ID. It returns ErrTokenGone for another.
// Before is called as by Create.
func (t *Tokens) Revoke(ctx context.Context, id string, before func(Token) error) (Token, error) {
	id = strings.TrimPrefix(id, tokenPrefix)
	tok, _, ok, err := t.table.Get(ctx, tokensOwner, id)
	if err != nil {
		return tok, err
	}
	if !ok {
		return tok, fmt.Errorf("%w: %s", ErrTokenGone, id)
	}
	if before != nil {
		if err := before(tok); err != nil {
			return tok, err
		}
	}
	_, err = t.table.Apply(ctx, tokensOwner, store.Any, store.Delete(id))
	return tok, err
}

// Check returns the token of a secret, or ErrToken.
func (t *Tokens) Check(ctx context.Context, secret string, now time.Time) (Token, error) {
	rest, ok := strings.CutPrefix(secret, tokenPrefix)
	id, _, two := strings.Cut(rest, "_")
	if !ok || !two || len(id) != tokenID || len(secret) > 64 {
		return Token{}, ErrToken
	}
	tok, _, ok, err := t.table.Get(ctx, tokensOwner, id)
	if err != nil {
		return Token{}, err
	}
	sum := sha256.Sum256([]byte(secret))
	if !ok || subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(tok.Hash)) != 1 || !tok.Expires.IsZero() && !now.Before(tok.Expires) {
		return Token{}, ErrToken
	}
	return tok, nil
}

// Vouch returns the identity of an account for which the holder of a token
// acts: the token was checked, and its role allows it.
func (d *Directory) Vouch(ctx context.Context, _ Token, aor sip.AOR) (Identity, error) {
	p, err := d.Lookup(ctx, aor)
	if err != nil {
		return Identity{}, err
	}
	if p.Disabled() {
		return Identity{}, ErrNoAccount
	}
	return Identity{aor: aor, person: p}, nil
}
