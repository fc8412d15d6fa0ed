package embedded

import (
	"math"
	"time"

	"rollcall/store"
)

// never is the expiry, in milliseconds, of what does not expire.
const never = math.MaxInt64

// state is what is known of one owner. Its items are never changed in place, so
// a reader may keep them without a lock.
type state struct {
	version store.Version
	next    int64 // earliest expiry among items, Unix milliseconds
	items   []store.Item
}

func expiry(i *store.Item) int64 {
	if i.Expires.IsZero() {
		return never
	}
	return i.Expires.UnixMilli()
}

func nowMilli() int64 { return time.Now().UnixMilli() }

// set gives the live part of the state, without a copy if all of it is live.
func (s *state) set() store.Set {
	if s.next == never {
		return store.Set{Version: s.version, Items: s.items}
	}
	return s.at(nowMilli())
}

func (s *state) at(now int64) store.Set {
	if now < s.next {
		return store.Set{Version: s.version, Items: s.items}
	}
	live := make([]store.Item, 0, len(s.items))
	for i := range s.items {
		if now < expiry(&s.items[i]) {
			live = append(live, s.items[i])
		}
	}
	if len(live) == 0 {
		return store.Set{}
	}
	return store.Set{Version: s.version, Items: live}
}

// live reports whether the owner has any item at the given time.
func (s *state) live(now int64) bool {
	if now < s.next {
		return len(s.items) > 0
	}
	for i := range s.items {
		if now < expiry(&s.items[i]) {
			return true
		}
	}
	return false
}

// apply makes the changes on the live part of the state. It returns the state
// after them, still with the old version, and whether a change changed something
// (then the version must move) or expired items fell away (then the image must
// follow). The items of the state after lie in space if there is room.
func (s *state) apply(now int64, changes []store.Change, space []store.Item) (after state, changed, dropped bool) {
	before := s.at(now).Items
	dropped = len(before) != len(s.items)
	if len(changes) == 0 && !dropped {
		return *s, false, false
	}
	room := len(before)
	for i := range changes {
		if changes[i].Action == store.ActionPut && find(before, changes[i].Item.ID) < 0 {
			room++
		}
	}
	items := space
	if room > cap(items) {
		items = make([]store.Item, 0, room)
	}
	items = append(items, before...)
	for i := range changes {
		c := &changes[i]
		switch c.Action {
		case store.ActionClear:
			changed = changed || len(items) > 0
			items = items[:0]
			continue
		case store.ActionPut:
			item := c.Item
			if !item.Expires.IsZero() {
				item.Expires = time.UnixMilli(item.Expires.UnixMilli()).UTC()
			}
			if now < expiry(&item) {
				changed = true
				if at := find(items, item.ID); at >= 0 {
					item.ID = items[at].ID
					items[at] = item
				} else {
					item.ID = cloneString(item.ID)
					items = append(items, item)
				}
				continue
			}
		}
		if at := find(items, c.Item.ID); at >= 0 {
			changed = true
			copy(items[at:], items[at+1:])
			items[len(items)-1] = store.Item{}
			items = items[:len(items)-1]
		}
	}
	after = state{version: s.version, items: items, next: never}
	if len(items) == 0 {
		after = state{next: never}
	}
	for i := range items {
		after.next = min(after.next, expiry(&items[i]))
	}
	return after, changed, dropped
}

func find(items []store.Item, id string) int {
	for i := range items {
		if items[i].ID == id {
			return i
		}
	}
	return -1
}
