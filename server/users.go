package server

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"rollcall/api"
	"rollcall/auth"
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

// locations tells where messages go: nowhere for an account that is disabled,
// also while bindings of it are left, as when it was disabled on another node or
// while no server ran.
type locations struct {
	*registrar.Registrar
	directory *auth.Directory
	programs  *programs
}

// Lookup implements im.Locations.
func (l locations) Lookup(ctx context.Context, aor sip.AOR) ([]registrar.Binding, error) {
	person, err := l.directory.Lookup(ctx, aor)
	switch {
	case errors.Is(err, auth.ErrNoAccount) || err == nil && person.Disabled():
		return nil, nil
	case err != nil:
		return nil, err
	}
	list, err := l.Registrar.Lookup(ctx, aor)
	if more := l.programs.bindings(aor); err == nil && len(more) > 0 {
		list = slices.Concat(list, more)
	}
	return list, err
}
