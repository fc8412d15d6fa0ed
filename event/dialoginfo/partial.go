package dialoginfo

import (
	"bytes"
	"slices"

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
	root := envelope(attr(b, "entity"))
	root.SetAttr("", "state", "partial")
	before := map[string]*xmltree.Element{}
	for e := range a.Children(Space, "dialog") {
		before[attr(e, "id")] = e
	}
	for e := range b.Children(Space, "dialog") {
		id := attr(e, "id")
		if was := before[id]; was == nil || !was.Equal(e) {
			root.Append(bare(e))
		}
		delete(before, id)
	}
	for e := range a.Children(Space, "dialog") {
		if before[attr(e, "id")] != nil && stateOf(e) != "terminated" {
			root.Append(ended(e))
		}
	}
	diff := numbered(root)
	return diff, len(diff.Bytes) < len(next.Bytes)
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

// numbered is the body of a document whose version is 0.
func numbered(root *xmltree.Element) event.Body {
	b := root.Document()
	const version = ` version="0"`
	return event.Body{Type: Type, Bytes: b, Version: bytes.Index(b, []byte(version)) + len(version) - 2}
}
