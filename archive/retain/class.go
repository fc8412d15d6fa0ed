package retain

import (
	"slices"
	"time"

	"rollcall/archive"
)

// Class is a retention class.
type Class struct {
	// Name stands in the records; "" is the default class, of those that no other is for.
	Name string
	// Years and Days are how long content is kept. Both 0 keep it for ever.
	Years, Days int
	// Groups and Units whose members' messages, sent or received, are of the class.
	Groups, Units []string
}

// Until returns when content archived at t may go; the zero time means never.
func (c *Class) Until(t time.Time) time.Time {
	if c.Years == 0 && c.Days == 0 {
		return time.Time{}
	}
	return t.AddDate(c.Years, 0, c.Days)
}

// longer reports whether c keeps longer than d.
func (c *Class) longer(d *Class) bool {
	var now = time.Unix(0, 0)
	a, b := c.Until(now), d.Until(now)
	return !b.IsZero() && (a.IsZero() || a.After(b))
}

// Party is one side of a message as retention sees it.
type Party struct {
	Unit   string
	Groups []string
}

// Classes are the classes of a company. They are not changed once in use.
type Classes []Class

// Of returns the name of the class for a message between two parties: of all
// that are for either, the one that keeps longest, so that the stricter duty of the two holds.
func (cs Classes) Of(a, b Party) string {
	var best *Class
	for i := range cs {
		c := &cs[i]
		if c.is(a) || c.is(b) {
			if best == nil || c.longer(best) {
				best = c
			}
		}
	}
	if best == nil {
		return ""
	}
	return best.Name
}

func (c *Class) is(p Party) bool {
	return p.Unit != "" && slices.Contains(c.Units, p.Unit) || slices.ContainsFunc(p.Groups, func(g string) bool { return slices.Contains(c.Groups, g) })
}

// Until returns when the content of a record may go; the zero time means
// never. A class that is not configured any more keeps for ever: nobody said
// that its duty ended.
func (cs Classes) Until(r *archive.Record) time.Time {
	for i := range cs {
		if cs[i].Name == r.Class {
			return cs[i].Until(r.Archived)
		}
	}
	return time.Time{}
}

// Expired reports whether the time of a record's content is over.
func (cs Classes) Expired(r *archive.Record, now time.Time) bool {
	until := cs.Until(r)
	return !until.IsZero() && until.Before(now)
}

// shortest returns the class that keeps for the shortest time, nil when all keep for ever.
func (cs Classes) shortest() *Class {
	var best *Class
	for i := range cs {
		if c := &cs[i]; !c.Until(time.Unix(0, 0)).IsZero() && (best == nil || best.longer(c)) {
			best = c
		}
	}
	return best
}
