package server

import (
	"context"
	"fmt"
	"time"

	"rollcall/api"
	"rollcall/auth"
	"rollcall/sip"
)

// Actions of the records of aliases.
const (
	actAliasAdd    = "alias-add"
	actAliasRemove = "alias-remove"
)

// AddAlias implements api.Aliases.
func (u users) AddAlias(ctx context.Context, a api.Alias) error {
	if err := u.act(ctx, actAliasAdd, a.AOR, map[string]string{"owner": a.Owner, "purpose": a.Purpose}); err != nil {
		return err
	}
	return u.Users.AddAlias(ctx, a)
}

// RemoveAlias implements api.Aliases.
func (u users) RemoveAlias(ctx context.Context, aor string) error {
	alias, err := sip.ParseAORString(aor)
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	if _, ok := u.s.directory.Owner(alias); !ok {
		return api.NotFound(fmt.Sprintf("%s: %v", aor, auth.ErrNoAlias))
	}
	if err := u.act(ctx, actAliasRemove, aor, nil); err != nil {
		return err
	}
	return u.s.directory.RemoveAlias(ctx, alias, time.Now().Add(u.s.cfg.Load().Auth.NameQuarantine.Duration))
}
