package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"rollcall/auth"
)

// Alias is a further address of an account, as administrators see it.
type Alias struct {
	AOR     string    `json:"aor"`
	Owner   string    `json:"owner"`
	Purpose string    `json:"purpose"`
	By      string    `json:"by,omitempty"`     // who made it
	Created time.Time `json:"created,omitzero"` // when
}

// Aliases are the further addresses of accounts. AORs are given in the form "sip:sales@example.com".
type Aliases interface {
	// Aliases lists them in the order of addresses.
	Aliases(ctx context.Context) ([]Alias, error)
	// AddAlias makes one; By and Created are set. An address that an account or another alias has is ErrExists, one in
	// quarantine ErrRefused, an owner that is no account ErrNotFound.
	AddAlias(ctx context.Context, a Alias) error
	// RemoveAlias removes one, or says ErrNotFound; its name is in quarantine then. Without a running server it is ErrRefused.
	RemoveAlias(ctx context.Context, aor string) error
}

func aliasRoutes(mux *http.ServeMux, b Backend) {
	mux.HandleFunc("GET /api/v1/aliases", func(w http.ResponseWriter, r *http.Request) {
		list, err := b.Users().Aliases(r.Context())
		reply(w, list, err)
	})
	mux.HandleFunc("PUT /api/v1/aliases/{aor}", func(w http.ResponseWriter, r *http.Request) {
		var a Alias
		if !decode(w, r, &a) {
			return
		}
		if a.AOR == "" {
			a.AOR = r.PathValue("aor")
		}
		if a.AOR != r.PathValue("aor") {
			reply(w, nil, fmt.Errorf("%w: the body names another alias than the path", ErrInvalid))
			return
		}
		reply(w, struct{}{}, b.Users().AddAlias(WithActor(r.Context(), actorOf(r)), a))
	})
	mux.HandleFunc("DELETE /api/v1/aliases/{aor}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, struct{}{}, b.Users().RemoveAlias(WithActor(r.Context(), actorOf(r)), r.PathValue("aor")))
	})
}

// Aliases implements Aliases.
func (u directory) Aliases(ctx context.Context) ([]Alias, error) {
	list := []Alias{}
	all, err := u.d.Aliases(ctx)
	for _, a := range all {
		list = append(list, Alias{AOR: a.AOR.String(), Owner: a.Owner.String(), Purpose: a.Purpose, By: a.By, Created: a.Created})
	}
	return list, err
}

// AddAlias implements Aliases.
func (u directory) AddAlias(ctx context.Context, a Alias) error {
	aor, err := parseAOR(a.AOR)
	if err != nil {
		return err
	}
	owner, err := parseAOR(a.Owner)
	if err != nil {
		return err
	}
	return translate(u.d.AddAlias(ctx, auth.Alias{AOR: aor, Owner: owner, Purpose: a.Purpose, By: Actor(ctx)}))
}

// RemoveAlias implements Aliases.
func (u directory) RemoveAlias(context.Context, string) error {
	return fmt.Errorf("%w: it takes the running server, which keeps the name in quarantine", ErrRefused)
}

// Aliases implements Aliases.
func (c *Client) Aliases(ctx context.Context) (list []Alias, err error) {
	err = c.call(ctx, http.MethodGet, "/api/v1/aliases", nil, &list)
	return list, err
}

// AddAlias implements Aliases.
func (c *Client) AddAlias(ctx context.Context, a Alias) error {
	return c.call(ctx, http.MethodPut, "/api/v1/aliases/"+url.PathEscape(a.AOR), a, nil)
}

// RemoveAlias implements Aliases.
func (c *Client) RemoveAlias(ctx context.Context, aor string) error {
	return c.call(ctx, http.MethodDelete, "/api/v1/aliases/"+url.PathEscape(aor), nil, nil)
}
