package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Use is what one account, or one business unit, used in a month.
type Use struct {
	Unit string `json:"unit"`
	User string `json:"user,omitempty"` // AOR of the sender; "" for a unit as a whole
	// Messages that were accepted from the sender, and the bytes of their bodies.
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	// Refused messages are not charged.
	Refused uint64 `json:"refused"`
	// Stored is what the records of the month take in the archive, in bytes before compression.
	Stored uint64 `json:"stored_bytes"`
	// Users counts the accounts of a unit that wrote.
	Users uint64 `json:"active_users"`
	// Hours of presence: each full hour counts the subscriptions that are in
	// force then, each member of a list too.
	Hours uint64 `json:"subscription_hours"`
}

// ActPresenceUse is the action of the acts that state the subscriptions in force
// at a full hour: the object is the hour (RFC 3339), the content a PresenceUse.
const ActPresenceUse = "presence-use"

// PresenceUse says how many subscriptions accounts had on one server at one time.
type PresenceUse struct {
	Watchers []WatcherUse `json:"watchers"`
}

// WatcherUse is the use of presence by one account.
type WatcherUse struct {
	User          string `json:"user"`
	Unit          string `json:"unit,omitempty"` // that it belonged to then
	Subscriptions uint64 `json:"n"`
}

func (a *Use) add(b *Use) {
	a.Messages += b.Messages
	a.Bytes += b.Bytes
	a.Refused += b.Refused
	a.Stored += b.Stored
	a.Users += b.Users
	a.Hours += b.Hours
}

// Usage is the use of a month, as the record has it: the sums over all are
// those of the record.
type Usage struct {
	Month string `json:"month"` // 2026-11
	Units []Use  `json:"units"`
	Users []Use  `json:"users"`
	Total Use    `json:"total"`
}

// Usage adds up the messages that were received within from and to, and the use
// of presence. Both are charged to the unit that the account belonged to then.
func (a Folder) Usage(ctx context.Context, from, to time.Time) (*Usage, error) {
	users := map[userOf]*Use{}
	of := func(unit, user string) *Use {
		use := users[userOf{unit, user}]
		if use == nil {
			use = &Use{Unit: strings.Clone(unit), User: strings.Clone(user)}
			users[userOf{use.Unit, use.User}] = use
		}
		return use
	}
	err := Folder{Dir: a.Dir}.Search(ctx, Query{After: from, Before: to, Type: "all"}, func(r *Record, pos Pos) error {
		switch {
		case r.Type == TypeMessage:
			use := of(r.FromUnit, r.From)
			use.Stored += uint64(pos.Bytes)
			use.Users = 1
			if r.Decision == "refuse" {
				use.Refused++
			} else {
				use.Messages++
				use.Bytes += r.Size
			}
		case r.Type == TypeAct && r.Action == ActPresenceUse:
			var p PresenceUse
			if err := json.Unmarshal(r.Raw, &p); err != nil {
				return fmt.Errorf("use of presence in record %d: %w", r.Seq, err)
			}
			for _, w := range p.Watchers {
				of(w.Unit, w.User).Hours += w.Subscriptions
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sumUse(from.Format("2006-01"), users), nil
}

// userOf is an account and the unit that it belonged to.
type userOf struct{ unit, user string }

func sumUse(month string, users map[userOf]*Use) *Usage {
	u := &Usage{Month: month, Units: []Use{}, Users: []Use{}}
	units := map[string]*Use{}
	for _, use := range users {
		u.Users = append(u.Users, *use)
		unit := units[use.Unit]
		if unit == nil {
			unit = &Use{Unit: use.Unit}
			units[use.Unit] = unit
		}
		unit.add(use)
		u.Total.add(use)
	}
	for _, unit := range units {
		u.Units = append(u.Units, *unit)
	}
	byName := func(a, b Use) int { return cmp.Or(strings.Compare(a.Unit, b.Unit), strings.Compare(a.User, b.User)) }
	slices.SortFunc(u.Units, byName)
	slices.SortFunc(u.Users, byName)
	return u
}
