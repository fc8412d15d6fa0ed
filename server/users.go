package server

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/auth"
	"rollcall/config"
	"rollcall/registrar"
	"rollcall/sip"
)

// users are the accounts as the HTTP side and the commands see them.
type users struct {
	directory *auth.Directory
	registrar *registrar.Registrar // nil without a server
}

// OpenUsers opens the accounts of a store that no server has open; close must be
// called.
func OpenUsers(ctx context.Context, cfg *config.Config) (_ api.Users, closeUsers func() error, err error) {
	st, err := openStore(cfg, zap.NewNop())
	if err != nil {
		return nil, nil, err
	}
	if err := st.Ping(ctx); err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	d, err := auth.NewDirectory(st, cfg.Domains)
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	return &users{directory: d}, func() error { d.Close(); return st.Close() }, nil
}

// fault translates the errors of the directory.
func (u *users) fault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, auth.ErrExists):
		return api.ErrExists
	case errors.Is(err, auth.ErrNoAccount):
		return api.ErrNotFound
	case errors.Is(err, auth.ErrDomain), errors.Is(err, auth.ErrPassword), errors.Is(err, auth.ErrNoPassword), errors.Is(err, sip.ErrAOR):
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	return err
}

func parseAOR(s string) (sip.AOR, error) {
	a, err := sip.ParseAORString(s)
	if err != nil {
		return a, fmt.Errorf("%w: %q is %w", api.ErrInvalid, s, sip.ErrAOR)
	}
	return a, nil
}

// Add implements api.Users.
func (u *users) Add(ctx context.Context, x api.User, password string) error {
	aor, err := parseAOR(x.AOR)
	if err != nil {
		return err
	}
	return u.fault(u.directory.Add(ctx, auth.Account{
		AOR: aor, DisplayName: x.DisplayName, Email: x.Email, Unit: x.Unit, Groups: x.Groups, Disabled: x.Disabled,
	}, password))
}

// List implements api.Users.
func (u *users) List(ctx context.Context, each func(api.User) error) error {
	for a, err := range u.directory.List(ctx) {
		if err != nil {
			return err
		}
		err := each(api.User{
			AOR: a.AOR.String(), DisplayName: a.DisplayName, Email: a.Email, Unit: a.Unit, Groups: a.Groups, Disabled: a.Disabled,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// SetPassword implements api.Users.
func (u *users) SetPassword(ctx context.Context, s, password string) error {
	aor, err := parseAOR(s)
	if err != nil {
		return err
	}
	return u.fault(u.directory.SetPassword(ctx, aor, password))
}

// SetDisabled implements api.Users.
func (u *users) SetDisabled(ctx context.Context, s string, disabled bool) error {
	aor, err := parseAOR(s)
	if err != nil {
		return err
	}
	if err := u.directory.SetDisabled(ctx, aor, disabled); err != nil {
		return u.fault(err)
	}
	if !disabled || u.registrar == nil {
		return nil
	}
	_, err = u.registrar.Clear(ctx, aor)
	return err
}

// Import implements api.Users.
func (u *users) Import(ctx context.Context, csv io.Reader, progress func(done int)) (api.Imported, error) {
	r, err := u.directory.Import(ctx, csv, progress)
	var faults *auth.Faults
	if errors.As(err, &faults) {
		err = fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	return api.Imported{Added: r.Added, Changed: r.Changed}, err
}

// Export implements api.Users.
func (u *users) Export(ctx context.Context, csv io.Writer) error { return u.directory.Export(ctx, csv) }
