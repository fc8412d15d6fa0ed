package xcapdiff

import (
	"context"

	"rollcall/sip"
	"rollcall/xcap"
	"rollcall/xmltree"
)

// Snapshot is what a request gives to a reader at a time. It is never changed.
type Snapshot struct {
	documents  []*xcap.Document
	components []component
}

// component is an element or attribute that a request names.
type component struct {
	uri       string
	attribute bool
	element   *xmltree.Element // nil if it is not there
	value     string           // of an attribute
}

// Documents gives the request's documents; Select is asked for each selection.
type Documents interface {
	Select(ctx context.Context, reader sip.AOR, s xcap.Selection) (xcap.Selected, error)
}

// Take makes a snapshot. A document that is named twice stands in it once.
func Take(ctx context.Context, docs Documents, reader sip.AOR, r Request) (*Snapshot, error) {
	s := &Snapshot{}
	seen := map[string]bool{}
	for _, selection := range r.selections {
		got, err := docs.Select(ctx, reader, selection)
		if err != nil {
			return nil, err
		}
		if got.Component && !seen[selection.URI] {
			seen[selection.URI] = true
			s.components = append(s.components, component{selection.URI, got.Attribute, got.Element, got.Value})
		}
		for _, d := range got.Documents {
			if uri := d.RelativeURI(); !seen[uri] {
				seen[uri] = true
				s.documents = append(s.documents, d)
			}
		}
	}
	return s, nil
}

func (s *Snapshot) document(uri string) *xcap.Document {
	for _, d := range s.documents {
		if d.RelativeURI() == uri {
			return d
		}
	}
	return nil
}

func (s *Snapshot) component(uri string) (component, bool) {
	for _, c := range s.components {
		if c.uri == uri {
			return c, true
		}
	}
	return component{}, false
}

// same reports whether two states of a component are told alike.
func (c component) same(o component) bool {
	if c.element == nil || o.element == nil {
		return (c.element == nil) == (o.element == nil)
	}
	if c.attribute {
		return c.value == o.value
	}
	return c.element.Equal(o.element)
}

// Full writes the snapshot as the first notification tells it (RFC 5875 §4.7): the
// documents with their tags and the components that are there. Root is the URI of
// the XCAP root.
func (s *Snapshot) Full(root string) []byte {
	out := envelope(root)
	for _, d := range s.documents {
		out.Append(documentElement(d.RelativeURI(), "", d.ETag))
	}
	for _, c := range s.components {
		if c.element != nil {
			out.Append(c.write())
		}
	}
	return out.Document()
}

// Changes writes what became different from prev to next (RFC 5874 §3), and reports
// whether anything did.
func Changes(prev, next *Snapshot, mode Mode, root string) ([]byte, bool) {
	out := envelope(root)
	for _, d := range next.documents {
		uri := d.RelativeURI()
		old := prev.document(uri)
		switch {
		case old == nil:
			out.Append(documentElement(uri, "", d.ETag))
		case old.ETag != d.ETag:
			e := documentElement(uri, old.ETag, d.ETag)
			if mode == Aggregate {
				for _, op := range patch(old, d) {
					e.Append(op)
				}
			}
			out.Append(e)
		}
	}
	for _, old := range prev.documents {
		if uri := old.RelativeURI(); next.document(uri) == nil {
			out.Append(documentElement(uri, old.ETag, ""))
		}
	}
	for _, c := range next.components {
		if old, ok := prev.component(c.uri); !ok && c.element != nil || ok && !c.same(old) {
			out.Append(c.write())
		}
	}
	return out.Document(), len(out.Nodes) > 0
}

func envelope(root string) *xmltree.Element {
	e := xmltree.New(diffSpace, "d", "xcap-diff")
	e.Decls = []xmltree.Decl{{Prefix: "d", Space: diffSpace}}
	e.SetAttr("", "xcap-root", root)
	return e
}

func documentElement(uri, previous, next string) *xmltree.Element {
	e := xmltree.New(diffSpace, "d", "document")
	e.SetAttr("", "sel", uri)
	if next != "" {
		e.SetAttr("", "new-etag", next)
	}
	if previous != "" {
		e.SetAttr("", "previous-etag", previous)
	}
	return e
}

// patch returns operations that lead from one version exactly to the other, or none
// if there are no such: the subscriber fetches the document then.
func patch(old, next *xcap.Document) []*xmltree.Element {
	a, err := old.Tree()
	if err != nil {
		return nil
	}
	b, err := next.Tree()
	if err != nil {
		return nil
	}
	ops := xmltree.Diff(a, b, diffSpace)
	got, err := xmltree.Patch(a, ops, xmltree.Limits{Elements: 20_000})
	if err != nil || got.String() != b.String() {
		return nil
	}
	return ops
}

// write is the component as it is now. What its element has declared from above
// stands on the carrier, so that its own declarations are those of the document.
func (c component) write() *xmltree.Element {
	name := "element"
	if c.attribute {
		name = "attribute"
	}
	e := xmltree.New(diffSpace, "d", name)
	e.SetAttr("", "sel", c.uri)
	switch {
	case c.element == nil:
		e.SetAttr("", "exists", "false")
	case c.attribute:
		e.SetText(c.value)
	default:
		own := len(c.element.Decls)
		content := c.element.Clone()
		e.Decls = append(e.Decls, content.Decls[own:]...)
		content.Decls = content.Decls[:own]
		e.Append(content)
	}
	return e
}
