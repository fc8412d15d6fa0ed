package archive

import (
	"context"
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
}

// Usage is the use of a month, as the record has it: the sums over all are
// those of the record.
type Usage struct {
	Month string `json:"month"` // 2026-11
	Units []Use  `json:"units"`
	Users []Use  `json:"users"`
	Total Use    `json:"total"`
}

// Usage adds up the messages that were received within from and to. They are
// charged to the unit that the sender belonged to then.
func (a Folder) Usage(ctx context.Context, from, to time.Time) (*Usage, error) {
	type key struct{ unit, user string }
	users := map[key]*Use{}
	u := &Usage{Month: from.Format("2006-01"), Units: []Use{}, Users: []Use{}}
	q := Query{After: from, Before: to}
	err := Folder{Dir: a.Dir}.Search(ctx, q, func(r *Record, pos Pos) error {
		k := key{r.FromUnit, r.From}
		use := users[k]
		if use == nil {
			use = &Use{Unit: strings.Clone(k.unit), User: strings.Clone(k.user), Users: 1}
			users[key{use.Unit, use.User}] = use
		}
		use.Stored += uint64(pos.Bytes)
		if r.Decision == "refuse" {
			use.Refused++
			return nil
		}
		use.Messages++
		use.Bytes += r.Size
		return nil
	})
	if err != nil {
		return nil, err
	}
	units := map[string]*Use{}
	for _, use := range users {
		u.Users = append(u.Users, *use)
		unit := units[use.Unit]
		if unit == nil {
			unit = &Use{Unit: use.Unit}
			units[use.Unit] = unit
		}
		for _, sum := range []*Use{unit, &u.Total} {
			sum.Messages += use.Messages
			sum.Bytes += use.Bytes
			sum.Refused += use.Refused
			sum.Stored += use.Stored
			sum.Users++
		}
	}
	for _, unit := range units {
		u.Units = append(u.Units, *unit)
	}
	byName := func(a, b Use) int {
		if c := strings.Compare(a.Unit, b.Unit); c != 0 {
			return c
		}
		return strings.Compare(a.User, b.User)
	}
	slices.SortFunc(u.Units, byName)
	slices.SortFunc(u.Users, byName)
	return u, nil
}
