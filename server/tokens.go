package server

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
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

// actLogin is the action of the record of a token that is used, once a day.
const actLogin = "login"

// logins remembers on which day each token was recorded last. There are no more than
// tokens.
type logins struct {
	mu  sync.Mutex
	day map[string]string
}

// UseToken implements api.Checker: the first use of a token on a day is a record.
func (b backend) UseToken(ctx context.Context, t auth.Token) error {
	day := time.Now().UTC().Format(time.DateOnly)
	l := &b.logins
	l.mu.Lock()
	known := l.day[t.ID] == day
	l.mu.Unlock()
	if known {
		return nil
	}
	if _, err := b.act(ctx, "token:"+t.ID+" "+t.Name, actLogin, t.ID, t.Role, nil); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.day == nil {
		l.day = map[string]string{}
	}
	l.day[t.ID] = day
	return nil
}

// WrongToken implements api.Checker.
func (b backend) WrongToken(source netip.Addr) time.Duration {
	return b.authn.WrongToken(source, time.Now())
}

// CountRequest implements api.Checker.
func (b backend) CountRequest(pattern string, status int) {
	if pattern == "" {
		pattern = "other"
	}
	b.counters.http.WithLabelValues(pattern, strconv.Itoa(status/100)+"xx").Inc()
}

// CheckToken implements api.Checker.
func (b backend) CheckToken(ctx context.Context, secret string) (auth.Token, error) {
	return b.tokens.Check(ctx, secret, time.Now())
}
