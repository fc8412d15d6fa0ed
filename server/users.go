package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"rollcall/api"
	"rollcall/auth"
	"rollcall/registrar"
	"rollcall/sip"
)

// users are the accounts of a running server: what is done to them is recorded first,
// and whoever is locked out loses the bindings too.
type users struct {
	api.Users
	s *Server
}

// Actions of the records of accounts.
const (
	actUserAdd      = "user-add"
	actUserPassword = "user-password"
	actUserDisable  = "user-disable"
	actUserEnable   = "user-enable"
	actUserImport   = "user-import"
	actUserDelete   = "user-delete"
)

func (u users) act(ctx context.Context, action, object string, detail any) error {
	_, err := u.s.act(ctx, api.Actor(ctx), action, object, "", detail)
	return err
}

// Add implements api.Users.
func (u users) Add(ctx context.Context, a api.User, password string) error {
	if err := u.act(ctx, actUserAdd, a.AOR, a); err != nil {
		return err
	}
	return u.Users.Add(ctx, a, password)
}

// SetPassword implements api.Users.
func (u users) SetPassword(ctx context.Context, aor, password string) error {
	if err := u.act(ctx, actUserPassword, aor, nil); err != nil {
		return err
	}
	return u.Users.SetPassword(ctx, aor, password)
}

// Import implements api.Users. What the file changed is a second record.
func (u users) Import(ctx context.Context, csv io.Reader, progress func(int)) (api.Imported, error) {
	if err := u.act(ctx, actUserImport, "begin", nil); err != nil {
		return api.Imported{}, err
	}
	done, err := u.Users.Import(ctx, csv, progress)
	if err == nil {
		err = u.act(ctx, actUserImport, "done", done)
	}
	return done, err
}

// Delete implements api.Users. The account is locked out first, so that a fault
// on the way leaves one that can be deleted again; its name is free at the end.
func (u users) Delete(ctx context.Context, aor, reason string) error {
	s := u.s
	a, err := backend{s}.account(ctx, aor)
	if err != nil {
		return err
	}
	if _, err := s.act(ctx, api.Actor(ctx), actUserDelete, a.String(), reason, nil); err != nil {
		return err
	}
	if err := u.lock(ctx, a.String()); err != nil {
		return err
	}
	tokens, err := s.tokens.List(ctx)
	for _, t := range tokens {
		if err == nil && t.AOR == a.String() {
			err = backend{s}.RevokeToken(ctx, t.ID)
		}
	}
	if err == nil {
		err = s.documents.Forget(ctx, a)
	}
	if err == nil {
		err = s.relay.Forget(ctx, a, "Account deleted")
	}
	if err == nil {
		err = s.directory.GiveUp(ctx, a, time.Now().Add(s.cfg.Load().Auth.NameQuarantine.Duration))
	}
	if err != nil {
		return fmt.Errorf("account is disabled, and not deleted yet: %w", err)
	}
	return nil
}

// SetDisabled implements api.Users.
func (u users) SetDisabled(ctx context.Context, aor string, disabled bool) error {
	action := actUserEnable
	if disabled {
		action = actUserDisable
	}
	if err := u.act(ctx, action, aor, nil); err != nil {
		return err
	}
	if !disabled {
		return u.Users.SetDisabled(ctx, aor, false)
	}
	return u.lock(ctx, aor)
}

// lock locks an account out.
func (u users) lock(ctx context.Context, aor string) error {
	if err := u.Users.SetDisabled(ctx, aor, true); err != nil {
		return err
	}
	parsed, err := sip.ParseAORString(aor)
	if err == nil {
		_, err = u.s.registrar.Clear(ctx, parsed)
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
	return l.AppendTo(ctx, nil, aor, time.Now())
}

// AppendTo implements im.Locations.
func (l locations) AppendTo(ctx context.Context, list []registrar.Binding, aor sip.AOR, now time.Time) ([]registrar.Binding, error) {
	person, err := l.directory.Lookup(ctx, aor)
	switch {
	case errors.Is(err, auth.ErrNoAccount) || err == nil && person.Disabled():
		return list, nil
	case err != nil:
		return list, err
	}
	list, err = l.Registrar.AppendTo(ctx, list, aor, now)
	if err != nil {
		return list, err
	}
	return append(list, l.programs.bindings(aor)...), nil
}
