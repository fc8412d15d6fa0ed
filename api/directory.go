package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"rollcall/auth"
	"rollcall/sip"
)

// NewUsers returns the accounts of a directory.
func NewUsers(d *auth.Directory) Users { return directory{d} }

// directory is Users on the accounts themselves: AORs are parsed here, and errors become those of this package.
type directory struct {
	d *auth.Directory
}

func (u directory) Add(ctx context.Context, user User, password string) error {
	aor, err := parseAOR(user.AOR)
	if err != nil {
		return err
	}
	add := u.d.Add
	if user.ReuseName {
		add = u.d.Reuse
	}
	return translate(add(ctx, auth.Account{
		AOR: aor, DisplayName: user.DisplayName, Email: user.Email, Unit: user.Unit, Groups: user.Groups, Disabled: user.Disabled,
	}, password))
}

func (u directory) List(ctx context.Context, each func(User) error) error {
	for a, err := range u.d.List(ctx) {
		if err != nil {
			return err
		}
		if err := each(User{
			AOR: a.AOR.String(), DisplayName: a.DisplayName, Email: a.Email, Unit: a.Unit, Groups: a.Groups, Disabled: a.Disabled,
		}); err != nil {
			return err
		}
	}
	return nil
}

func (u directory) SetPassword(ctx context.Context, aor, password string) error {
	parsed, err := parseAOR(aor)
	if err != nil {
		return err
	}
	return translate(u.d.SetPassword(ctx, parsed, password))
}

func (u directory) SetDisabled(ctx context.Context, aor string, disabled bool) error {
	parsed, err := parseAOR(aor)
	if err != nil {
		return err
	}
	return translate(u.d.SetDisabled(ctx, parsed, disabled))
}

func (u directory) Delete(context.Context, string, string) error {
	return fmt.Errorf("%w: it takes the running server, which has what is kept for the account", ErrRefused)
}

func (u directory) Import(ctx context.Context, csv io.Reader, progress func(done int)) (Imported, error) {
	r, err := u.d.Import(ctx, csv, progress)
	return Imported{Added: r.Added, Changed: r.Changed, Unchanged: r.Unchanged}, translate(err)
}

func (u directory) Export(ctx context.Context, csv io.Writer) error { return u.d.Export(ctx, csv) }

func parseAOR(s string) (sip.AOR, error) {
	aor, err := sip.ParseAORString(s)
	if err != nil {
		return aor, &namedError{err.Error(), ErrInvalid}
	}
	return aor, nil
}

// translate keeps the text of an error of auth and makes it one of this package.
func translate(err error) error {
	var faults *auth.Faults
	switch {
	case errors.Is(err, auth.ErrNoAccount), errors.Is(err, auth.ErrNoAlias):
		return &namedError{err.Error(), ErrNotFound}
	case errors.Is(err, auth.ErrExists):
		return &namedError{err.Error(), ErrExists}
	case errors.Is(err, auth.ErrQuarantine) && !errors.As(err, &faults):
		return &namedError{err.Error(), ErrRefused}
	case errors.Is(err, auth.ErrDomain), errors.Is(err, auth.ErrAlias), errors.Is(err, auth.ErrPassword), errors.Is(err, auth.ErrNoPassword), errors.As(err, &faults):
		return &namedError{err.Error(), ErrInvalid}
	}
	return err
}
