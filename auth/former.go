package auth

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/store"
)

// formerKind has one item, with the empty ID, for each name that was given up,
// until its quarantine ends.
var formerKind = store.NewKind("former", store.Durable, store.Hot)

// ErrQuarantine is returned for a new account under a name that another had a
// short while ago: whoever knew that one would take the new one for it.
var ErrQuarantine = errors.New("the name is in quarantine")

const formerVersion = 1

// Former is a name that was given up.
type Former struct {
	AOR         sip.AOR
	Gone, Until time.Time
}

func newFormer(s store.Store) *store.Table[Former] {
	return store.NewTable(s, formerKind,
		func(f Former) (store.Item, error) {
			b := binary.BigEndian.AppendUint64([]byte{formerVersion}, uint64(f.Gone.UnixMilli()))
			return store.Item{Value: append(b, f.AOR.String()...), Expires: f.Until}, nil
		},
		func(i store.Item) (f Former, err error) {
			if len(i.Value) < 9 || i.Value[0] != formerVersion {
				return f, errValue
			}
			f.Gone, f.Until = time.UnixMilli(int64(binary.BigEndian.Uint64(i.Value[1:]))).UTC(), i.Expires
			f.AOR, err = sip.ParseAORString(string(i.Value[9:]))
			return f, err
		})
}

// GiveUp deletes an account, or returns ErrNoAccount, with its aliases, and keeps
// the names from being given to another one until then. A time that is past keeps it from
// nobody. What else is stored under the AOR is not touched.
func (d *Directory) GiveUp(ctx context.Context, aor sip.AOR, until time.Time) error {
	if _, err := d.Get(ctx, aor); err != nil {
		return fmt.Errorf("account %s: %w", aor, err)
	}
	list, err := d.Aliases(ctx)
	if err != nil {
		return err
	}
	for _, a := range list {
		if a.Owner == aor {
			if err := d.RemoveAlias(ctx, a.AOR, until); err != nil {
				return err
			}
		}
	}
	if err := d.quarantine(ctx, aor, until); err != nil {
		return err
	}
	return d.Delete(ctx, aor) // after a fault here the account is there, and giving it up can be tried again
}

// quarantine keeps a name from new accounts and aliases until then.
func (d *Directory) quarantine(ctx context.Context, name sip.AOR, until time.Time) error {
	now := time.Now()
	if !until.After(now) {
		return nil
	}
	c, err := d.former.Put(Former{AOR: name, Gone: now, Until: until})
	if err == nil {
		_, err = d.former.Apply(ctx, name.String(), store.Any, c)
	}
	if err != nil {
		return fmt.Errorf("quarantine of %s: %w", name, err)
	}
	return nil
}

// quarantined returns ErrQuarantine while a name is kept from a new account.
func (d *Directory) quarantined(ctx context.Context, owner string) error {
	f, _, ok, err := d.former.Get(ctx, owner, "")
	if err != nil {
		return err
	}
	if !ok || !time.Now().Before(f.Until) {
		return nil
	}
	return fmt.Errorf("%w: %s was given up on %s; whoever knew it would take a new one for it until %s",
		ErrQuarantine, owner, f.Gone.Format(time.DateOnly), f.Until.UTC().Format(time.DateOnly))
}

// Reuse is Add under a name whose quarantine runs, which ends by it.
func (d *Directory) Reuse(ctx context.Context, a Account, password string) error {
	if err := d.add(ctx, a, password); err != nil {
		return err
	}
	if _, err := d.former.Apply(ctx, a.AOR.String(), store.Any, store.Delete("")); err != nil {
		return fmt.Errorf("the account is made, the quarantine of its name goes on: %w", err)
	}
	return nil
}

func (d *Directory) add(ctx context.Context, a Account, password string) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	a.Secrets = digest.NewSecrets(a.AOR.User(), a.AOR.Domain(), password)
	return d.update(ctx, a.AOR, func(old *Account) (*Account, error) {
		if old != nil {
			return nil, ErrExists
		}
		return &a, nil
	})
}

// formers lists the names that are in quarantine.
func (d *Directory) formers(ctx context.Context) (map[string]bool, error) {
	names := map[string]bool{}
	for owner, err := range d.former.Keys(ctx) {
		if err != nil {
			return nil, fmt.Errorf("list names in quarantine: %w", err)
		}
		names[owner] = true
	}
	return names, nil
}
