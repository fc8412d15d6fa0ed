package server

import (
	"context"
	"fmt"

	"rollcall/api"
	"rollcall/registrar"
	"rollcall/sip"
)

// users are the accounts of a running server: whoever is locked out loses the
// bindings too.
type users struct {
	api.Users
	registrar *registrar.Registrar
}

// SetDisabled implements api.Users.
func (u users) SetDisabled(ctx context.Context, aor string, disabled bool) error {
	if err := u.Users.SetDisabled(ctx, aor, disabled); err != nil || !disabled {
		return err
	}
	parsed, err := sip.ParseAORString(aor)
	if err == nil {
		_, err = u.registrar.Clear(ctx, parsed)
	}
	if err != nil {
		return fmt.Errorf("account is disabled, its bindings stay: %w", err)
	}
	return nil
}
