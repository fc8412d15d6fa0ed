package conferenceinfo

import (
	"slices"

	"rollcall/event"
	"rollcall/xmltree"
)

var _ event.Partial = (*Package)(nil)

// Full implements event.Partial: full and partial documents have one type.
func (p *Package) Full(typ string) (string, bool) { return Type, typ == Type }

// Diff implements event.Partial (RFC 4575 §4.4, which every subscriber understands).
// False if what changed can't be told so, or is no shorter than the whole.
func (p *Package) Diff(prev, next event.Body, _ string) (event.Body, bool) {
	a, errA := parseOwn(prev.Bytes)
	b, errB := parseOwn(next.Bytes)
	if errA != nil || errB != nil || state(a) == deleted || state(b) == deleted {
		return event.Body{}, false
	}
	root, ok := difference(a, b)
	if !ok {
		return event.Body{}, false
	}
	// What a subscriber makes of it (§4.6) decides whether it is right.
	made := a.Clone()
	merge(made, root)
	settle(made)
	if !made.EqualIgnoringSpace(b) {
		return event.Body{}, false
	}
	diff := new(event.Times).Body(Type, root.Document())
	return diff, len(diff.Bytes) < len(next.Bytes)
}

// divisible are the elements of which a part can be told (RFC 4575 §4.4). The entries
// of sidebars-by-ref have no key that this package compares by.
var divisible = map[string]bool{"conference-info": true, "users": true, "user": true, "endpoint": true, "sidebars-by-val": true}

// difference is an element with state partial that makes next of prev, which have one
// key. False: there is none.
func difference(prev, next *xmltree.Element) (*xmltree.Element, bool) {
	out := xmltree.New(Space, "", next.Name.Local)
	out.Attrs = append(out.Attrs, next.Attrs...)
	if !sameAttrs(prev, next) {
		return nil, false
	}
	for e := range next.Elements() {
		was := find(prev, e)
		switch {
		case was == nil:
			out.Append(bare(e))
		case was.EqualIgnoringSpace(e):
		default:
			if e.Name.Space == Space && divisible[e.Name.Local] {
				if part, ok := difference(was, e); ok {
					out.Append(part)
					continue
				}
			}
			out.Append(bare(e))
		}
	}
	for e := range prev.Elements() {
		if find(next, e) != nil {
			continue
		}
		if e.Name.Space != Space || !divisible[e.Name.Local] { // such an element can't be deleted alone
			return nil, false
		}
		gone := xmltree.New(Space, "", e.Name.Local)
		if k := key(e); k != "" {
			gone.SetAttr("", "entity", k)
		}
		gone.SetAttr("", "state", deleted)
		out.Append(gone)
	}
	out.SetAttr("", "state", partial)
	return out, true
}

// bare is a copy of an element for a document whose root declares the namespace.
func bare(e *xmltree.Element) *xmltree.Element {
	c := e.Clone()
	c.Decls = slices.DeleteFunc(slices.Clone(c.Decls), func(d xmltree.Decl) bool { return d == xmltree.Decl{Space: Space} })
	return c
}

// sameAttrs reports whether two elements have the same attributes: those of an element
// that is told in part are not taken over.
func sameAttrs(a, b *xmltree.Element) bool {
	empty := func(e *xmltree.Element) *xmltree.Element {
		out := xmltree.New(e.Name.Space, "", e.Name.Local)
		out.Attrs = append(out.Attrs, e.Attrs...)
		return out
	}
	return empty(a).Equal(empty(b))
}

// parseOwn reads what this package wrote, of any size.
func parseOwn(b []byte) (*xmltree.Element, error) {
	return xmltree.Parse(b, xmltree.Limits{Bytes: len(b), Depth: 64, Elements: len(b), Attributes: len(b), Name: len(b)})
}
