package watcherinfo

import (
	"slices"
	"time"

	"rollcall/event"
	"rollcall/xmltree"
)

var _ event.Partial = (*Package)(nil)

// Full implements event.Partial: full and partial documents have one type.
func (p *Package) Full(typ string) (string, bool) { return Type, typ == Type }

// Diff implements event.Partial: the watchers that changed, and as terminated those
// that are no longer told (RFC 3858 §4). False too if that is no shorter than the
// whole, or if there are too many watchers for a document, where one that is no longer
// told may still be there.
func (p *Package) Diff(prev, next event.Body, _ string) (event.Body, bool) {
	old, errA := parseOwn(prev.Bytes)
	root, errB := parseOwn(next.Bytes)
	if errA != nil || errB != nil {
		return event.Body{}, false
	}
	was, okA := rowsOf(old, prev.Times)
	is, okB := rowsOf(root, next.Times)
	if !okA || !okB || len(is) == MaxWatchers {
		return event.Body{}, false
	}
	var times event.Times
	root.SetAttr("", "state", "partial")
	list := root.Child(Space, "watcher-list")
	list.Nodes = nil
	before := map[string]row{}
	for _, r := range was {
		before[r.id] = r
	}
	for _, r := range is {
		if b, ok := before[r.id]; !ok || !b.Equal(r.Element) || !b.expires.Equal(r.expires) || !b.since.Equal(r.since) {
			list.Append(r.told(&times))
		}
		delete(before, r.id)
	}
	for _, r := range was {
		if status, _ := r.Attr("", "status"); before[r.id].Element == nil || status == "terminated" {
			continue
		}
		e := r.told(&times)
		e.SetAttr("", "status", "terminated")
		e.SetAttr("", "event", "timeout")
		e.RemoveAttr("", "expiration")
		list.Append(e)
	}
	diff := times.Body(Type, root.Document())
	return diff, len(diff.Bytes) < len(next.Bytes)
}

// row is a watcher of a document.
type row struct {
	*xmltree.Element
	id             string
	expires, since time.Time // expires is zero without expiration
}

// rowsOf reads the watchers of a document that this package wrote. False if the times
// are not those of the document.
func rowsOf(root *xmltree.Element, times []event.Time) (all []row, ok bool) {
	list := root.Child(Space, "watcher-list")
	if list == nil {
		return nil, false
	}
	for e := range list.Children(Space, "watcher") {
		r := row{Element: e}
		r.id, _ = e.Attr("", "id")
		if _, left := e.Attr("", "expiration"); left {
			if len(times) == 0 {
				return nil, false
			}
			r.expires, times = times[0].At, times[1:]
		}
		if len(times) == 0 {
			return nil, false
		}
		r.since, times = times[0].At, times[1:]
		all = append(all, r)
	}
	return all, len(times) == 0
}

// told is the watcher for another document.
func (r *row) told(times *event.Times) *xmltree.Element {
	e := r.Clone()
	e.Decls = slices.DeleteFunc(slices.Clone(e.Decls), func(d xmltree.Decl) bool { return d == xmltree.Decl{Space: Space} })
	if !r.expires.IsZero() {
		e.SetAttr("", "expiration", times.Left(r.expires))
	}
	e.SetAttr("", "duration-subscribed", times.Since(r.since))
	return e
}

// parseOwn reads what this package wrote, of any size.
func parseOwn(b []byte) (*xmltree.Element, error) {
	return xmltree.Parse(b, xmltree.Limits{Bytes: len(b), Depth: 64, Elements: len(b), Attributes: len(b), Name: len(b)})
}
