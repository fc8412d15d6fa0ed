package reginfo

import (
	"slices"
	"time"

	"rollcall/event"
	"rollcall/xmltree"
)

var _ event.Partial = (*Package)(nil)

// Full implements event.Partial: full and partial documents have one type.
func (p *Package) Full(typ string) (string, bool) { return Type, typ == Type }

// Diff implements event.Partial: the contacts that changed (RFC 3680 §5.2). One that
// is no longer told stood as terminated in the document before; if it did not, or if
// the difference is no shorter, the whole is sent.
func (p *Package) Diff(prev, next event.Body, _ string) (event.Body, bool) {
	old, errA := parseOwn(prev.Bytes)
	root, errB := parseOwn(next.Bytes)
	if errA != nil || errB != nil {
		return event.Body{}, false
	}
	was, okA := rowsOf(old, prev.Times)
	is, okB := rowsOf(root, next.Times)
	if !okA || !okB {
		return event.Body{}, false
	}
	root.SetAttr("", "state", "partial")
	reg := root.Child(Space, "registration")
	reg.Nodes = nil
	var times event.Times
	before := map[string]row{}
	for _, r := range was {
		before[attr(r.Element, "id")] = r
	}
	for _, r := range is {
		id := attr(r.Element, "id")
		if b, ok := before[id]; !ok || !b.Equal(r.Element) || !b.expires.Equal(r.expires) || !b.since.Equal(r.since) {
			c := bare(r.Element)
			if !r.since.IsZero() {
				setTimes(c, &times, r.expires, r.since)
			}
			reg.Append(c)
		}
		delete(before, id)
	}
	for _, r := range before {
		if attr(r.Element, "state") != "terminated" {
			return event.Body{}, false
		}
	}
	diff := times.Body(Type, root.Document())
	return diff, len(diff.Bytes) < len(next.Bytes)
}

// row is a contact of a document, with its times if it is active.
type row struct {
	*xmltree.Element
	expires, since time.Time
}

// rowsOf reads the contacts of a document that this package wrote. False if the times
// are not those of the document.
func rowsOf(root *xmltree.Element, times []event.Time) (all []row, ok bool) {
	reg := root.Child(Space, "registration")
	if reg == nil {
		return nil, false
	}
	for c := range reg.Children(Space, "contact") {
		r := row{Element: c}
		if _, timed := c.Attr("", "expires"); timed {
			if len(times) < 2 {
				return nil, false
			}
			r.expires, r.since, times = times[0].At, times[1].At, times[2:]
		}
		all = append(all, r)
	}
	return all, len(times) == 0
}

// setTimes writes how long a contact will be there, and has been (RFC 3680 §5.1).
func setTimes(c *xmltree.Element, times *event.Times, expires, since time.Time) {
	c.SetAttr("", "expires", times.Left(expires))
	c.SetAttr("", "duration-registered", times.Since(since))
}

// bare is a copy of an element for a document whose root declares the namespace.
func bare(e *xmltree.Element) *xmltree.Element {
	c := e.Clone()
	c.Decls = slices.DeleteFunc(slices.Clone(c.Decls), func(d xmltree.Decl) bool { return d == xmltree.Decl{Space: Space} })
	return c
}

func attr(e *xmltree.Element, name string) string {
	v, _ := e.Attr("", name)
	return v
}

// parseOwn reads what this package wrote, of any size.
func parseOwn(b []byte) (*xmltree.Element, error) {
	return xmltree.Parse(b, xmltree.Limits{Bytes: len(b), Depth: 64, Elements: len(b), Attributes: len(b), Name: len(b)})
}
