package dialoginfo

import (
	"slices"
	"time"

	"rollcall/event"
	"rollcall/xmltree"
)

var _ event.Partial = (*Package)(nil)

// Full implements event.Partial: full and partial documents have one type.
func (p *Package) Full(typ string) (string, bool) { return Type, typ == Type }

// Diff implements event.Partial: the dialogs that changed, and as terminated those
// that are no longer told (RFC 4235 §4.3). False too if that is no shorter than the
// whole, as it is for the one call of a lamp.
func (p *Package) Diff(prev, next event.Body, _ string) (event.Body, bool) {
	a, errA := parseOwn(prev.Bytes)
	b, errB := parseOwn(next.Bytes)
	if errA != nil || errB != nil {
		return event.Body{}, false
	}
	began := map[string]time.Time{}
	if !started(a, prev.Times, began, "prev ") || !started(b, next.Times, began, "next ") {
		return event.Body{}, false
	}
	var times event.Times
	root := envelope(attr(b, "entity"))
	root.SetAttr("", "state", "partial")
	before := map[string]*xmltree.Element{}
	for e := range a.Children(Space, "dialog") {
		before[attr(e, "id")] = e
	}
	for e := range b.Children(Space, "dialog") {
		id := attr(e, "id")
		since := began["next "+id]
		if was := before[id]; was == nil || !was.Equal(e) || !since.Equal(began["prev "+id]) {
			c := bare(e)
			if !since.IsZero() {
				setDuration(c, times.Since(since))
			}
			root.Append(c)
		}
		delete(before, id)
	}
	for e := range a.Children(Space, "dialog") {
		if before[attr(e, "id")] != nil && stateOf(e) != "terminated" {
			root.Append(ended(e))
		}
	}
	diff := times.Body(Type, root.Document())
	return diff, len(diff.Bytes) < len(next.Bytes)
}

// started notes when the dialogs of a document began, by prefix and id. False if the
// times are not those of the document.
func started(root *xmltree.Element, times []event.Time, began map[string]time.Time, prefix string) bool {
	for e := range root.Children(Space, "dialog") {
		if e.Child(Space, "duration") == nil {
			continue
		}
		if len(times) == 0 {
			return false
		}
		began[prefix+attr(e, "id")], times = times[0].At, times[1:]
	}
	return len(times) == 0
}

// bare is a copy of an element for a document whose root declares the namespace.
func bare(e *xmltree.Element) *xmltree.Element {
	c := e.Clone()
	c.Decls = slices.DeleteFunc(slices.Clone(c.Decls), func(d xmltree.Decl) bool { return d == xmltree.Decl{Space: Space} })
	return c
}

// ended is a dialog that is told no more.
func ended(dialog *xmltree.Element) *xmltree.Element {
	e := xmltree.New(Space, "", "dialog")
	for _, name := range [...]string{"id", "call-id", "local-tag", "remote-tag", "direction"} {
		if v, ok := dialog.Attr("", name); ok {
			e.SetAttr("", name, v)
		}
	}
	state := xmltree.New(Space, "", "state")
	state.SetText("terminated")
	e.Append(state)
	return e
}

// parseOwn reads what this package wrote, of any size.
func parseOwn(b []byte) (*xmltree.Element, error) {
	return xmltree.Parse(b, xmltree.Limits{Bytes: len(b), Depth: 64, Elements: len(b), Attributes: len(b), Name: len(b)})
}
