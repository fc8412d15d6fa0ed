package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Activity is what the record says of the use of one account in a period.
type Activity struct {
	Sent, Received uint64
	// Last is when it sent or took a message, or watched somebody, the last time.
	Last time.Time
	// Source and UserAgent are those of the last message that it sent; "" without the
	// keys to them.
	Source, UserAgent string
}

func (a *Activity) at(t time.Time) {
	if t.After(a.Last) {
		a.Last = t
	}
}

// Activity says by address who used the system since then.
func (a Folder) Activity(ctx context.Context, since time.Time) (map[string]*Activity, error) {
	users := map[string]*Activity{}
	of := func(user string) *Activity {
		u := users[user]
		if u == nil {
			u = new(Activity)
			users[strings.Clone(user)] = u
		}
		return u
	}
	err := a.Search(ctx, Query{Type: "all", After: since}, func(r *Record, _ Pos) error {
		switch {
		case r.Type == TypeMessage:
			u := of(r.From)
			u.Sent++
			u.at(r.Received)
			if r.Source != "" {
				u.Source, u.UserAgent = strings.Clone(r.Source), strings.Clone(r.UserAgent)
			}
		case r.Type == TypeOutcome && r.Disposition == Delivered:
			u := of(r.To)
			u.Received++
			u.at(r.Received)
		case r.Type == TypeAct && r.Action == ActPresenceUse:
			var p PresenceUse
			if err := json.Unmarshal(r.Raw, &p); err != nil {
				return fmt.Errorf("use of presence in record %d: %w", r.Seq, err)
			}
			for _, w := range p.Watchers {
				of(w.User).at(r.Received)
			}
		}
		return nil
	})
	return users, err
}
