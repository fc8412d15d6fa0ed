package reginfo

import (
	"bytes"
	"slices"

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
	a, errA := registrationOf(prev.Bytes)
	root, errB := parseOwn(next.Bytes)
	if errA != nil || errB != nil {
		return event.Body{}, false
	}
	before := map[string]*xmltree.Element{}
	for c := range a.Children(Space, "contact") {
		before[attr(c, "id")] = c
	}
	root.SetAttr("", "state", "partial")
	b := root.Child(Space, "registration")
	contacts := b.Nodes
	b.Nodes = nil
	for _, n := range contacts {
		c, ok := n.(*xmltree.Element)
		if !ok {
			continue
		}
		id := attr(c, "id")
		if was := before[id]; was == nil || !was.Equal(c) {
			b.Append(bare(c))
		}
		delete(before, id)
	}
	for _, c := range before {
		if attr(c, "state") != "terminated" {
			return event.Body{}, false
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

func attr(e *xmltree.Element, name string) string {
	v, _ := e.Attr("", name)
	return v
}

// registrationOf is the registration of a document that this package wrote.
func registrationOf(b []byte) (*xmltree.Element, error) {
	root, err := parseOwn(b)
	if err != nil {
		return nil, err
	}
	return root.Child(Space, "registration"), nil
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
