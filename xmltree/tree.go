package xmltree

import (
	"iter"
	"slices"
	"strings"
)

// XMLSpace is the namespace of the prefix xml, which is always bound.
const XMLSpace = "http://www.w3.org/XML/1998/namespace"

// xmlnsSpace is the namespace of declarations. Nothing may be bound to it.
const xmlnsSpace = "http://www.w3.org/2000/xmlns/"

// Name is an expanded name. An empty Space is no namespace.
type Name struct{ Space, Local string }

// Decl binds a prefix to a namespace. The empty prefix is the default namespace;
// an empty Space there takes it away.
type Decl struct{ Prefix, Space string }

// Attr is an attribute. One without a prefix is in no namespace.
type Attr struct {
	Name   Name
	Prefix string
	Value  string
}

// Node is *Element, Text, Comment or ProcInst.
type Node interface{ node() }

// Text is character data, without references.
type Text string

// Comment is what stands between "<!--" and "-->".
type Comment string

// ProcInst is a processing instruction.
type ProcInst struct{ Target, Data string }

func (*Element) node() {}
func (Text) node()     {}
func (Comment) node()  {}
func (ProcInst) node() {}

// Element is an element with all below it. A tree that is not changed may be read
// by many goroutines. Nodes may be read freely; change them through the methods,
// which keep Parent right.
type Element struct {
	Name   Name
	Prefix string // as it was written; AppendTo takes another if it is not bound to Name.Space
	Decls  []Decl
	Attrs  []Attr
	Nodes  []Node
	Parent *Element // nil for a root
}

// New returns an element that stands alone. It is written with the prefix, or in
// the default namespace if that is empty.
func New(space, prefix, local string) *Element {
	return &Element{Name: Name{space, local}, Prefix: prefix}
}

// Is reports whether the element has the name.
func (e *Element) Is(space, local string) bool { return e.Name.Local == local && e.Name.Space == space }

// Elements gives the child elements.
func (e *Element) Elements() iter.Seq[*Element] {
	return func(yield func(*Element) bool) {
		for _, n := range e.Nodes {
			if c, ok := n.(*Element); ok && !yield(c) {
				return
			}
		}
	}
}

// Children gives the child elements of a name.
func (e *Element) Children(space, local string) iter.Seq[*Element] {
	return func(yield func(*Element) bool) {
		for _, n := range e.Nodes {
			if c, ok := n.(*Element); ok && c.Is(space, local) && !yield(c) {
				return
			}
		}
	}
}

// Child returns the first child element of the name, or nil.
func (e *Element) Child(space, local string) *Element {
	for c := range e.Children(space, local) {
		return c
	}
	return nil
}

// All gives the element and all elements below it, in document order.
func (e *Element) All() iter.Seq[*Element] {
	return func(yield func(*Element) bool) { e.walk(yield) }
}

func (e *Element) walk(yield func(*Element) bool) bool {
	if !yield(e) {
		return false
	}
	for _, n := range e.Nodes {
		if c, ok := n.(*Element); ok && !c.walk(yield) {
			return false
		}
	}
	return true
}

// Text returns the character data that stands directly in the element.
func (e *Element) Text() string {
	var first Text
	found := false
	for i, n := range e.Nodes {
		t, ok := n.(Text)
		if !ok {
			continue
		}
		if found {
			return e.textFrom(i, first)
		}
		first, found = t, true
	}
	return string(first)
}

func (e *Element) textFrom(i int, before Text) string {
	var b strings.Builder
	b.WriteString(string(before))
	for _, n := range e.Nodes[i:] {
		if t, ok := n.(Text); ok {
			b.WriteString(string(t))
		}
	}
	return b.String()
}

// SetText replaces everything in the element by the text.
func (e *Element) SetText(text string) {
	e.Nodes = nil
	if text != "" {
		e.Nodes = []Node{Text(text)}
	}
}

// Attr returns the value of an attribute, and whether it is there.
func (e *Element) Attr(space, local string) (string, bool) {
	for i := range e.Attrs {
		if e.Attrs[i].Name.Local == local && e.Attrs[i].Name.Space == space {
			return e.Attrs[i].Value, true
		}
	}
	return "", false
}

// SetAttr sets the value of an attribute, which is added if it is not there.
func (e *Element) SetAttr(space, local, value string) {
	for i := range e.Attrs {
		if e.Attrs[i].Name == (Name{space, local}) {
			e.Attrs[i].Value = value
			return
		}
	}
	prefix := ""
	if space != "" {
		prefix, _ = e.LookupPrefix(space)
	}
	e.Attrs = append(e.Attrs, Attr{Name{space, local}, prefix, value})
}

// RemoveAttr takes an attribute away and reports whether it was there.
func (e *Element) RemoveAttr(space, local string) bool {
	for i := range e.Attrs {
		if e.Attrs[i].Name == (Name{space, local}) {
			e.Attrs = slices.Delete(slices.Clone(e.Attrs), i, i+1)
			return true
		}
	}
	return false
}

// Append adds nodes at the end. An Element among them must be in no tree.
func (e *Element) Append(nodes ...Node) { e.InsertAt(len(e.Nodes), nodes...) }

// InsertAt adds nodes in front of Nodes[i]. An Element among them must be in no
// tree.
func (e *Element) InsertAt(i int, nodes ...Node) {
	for _, n := range nodes {
		if c, ok := n.(*Element); ok {
			c.Parent = e
		}
	}
	e.Nodes = slices.Insert(e.Nodes, i, nodes...)
}

// Index returns where in Nodes a child stands, or -1.
func (e *Element) Index(child *Element) int {
	for i, n := range e.Nodes {
		if n == Node(child) {
			return i
		}
	}
	return -1
}

// Remove takes a child out and reports whether it was there. It stands alone then;
// the bindings that it had from above are gone unless it is written as it is.
func (e *Element) Remove(child *Element) bool {
	i := e.Index(child)
	if i < 0 {
		return false
	}
	e.RemoveAt(i)
	return true
}

// RemoveAt takes Nodes[i] out.
func (e *Element) RemoveAt(i int) {
	if c, ok := e.Nodes[i].(*Element); ok {
		c.Parent = nil
	}
	e.Nodes = slices.Delete(slices.Clone(e.Nodes), i, i+1)
}

// Replace puts next in the place of a child and reports whether that was there.
func (e *Element) Replace(child, next *Element) bool {
	i := e.Index(child)
	if i < 0 {
		return false
	}
	child.Parent, next.Parent = nil, e
	e.Nodes = slices.Clone(e.Nodes)
	e.Nodes[i] = next
	return true
}

// Root returns the topmost element above e, or e.
func (e *Element) Root() *Element {
	for e.Parent != nil {
		e = e.Parent
	}
	return e
}

// LookupNamespace returns what a prefix is bound to at the element. The empty
// prefix is always bound, perhaps to no namespace.
func (e *Element) LookupNamespace(prefix string) (space string, ok bool) {
	for s := e; s != nil; s = s.Parent {
		for i := range s.Decls {
			if s.Decls[i].Prefix == prefix {
				return s.Decls[i].Space, true
			}
		}
	}
	switch prefix {
	case "":
		return "", true
	case "xml":
		return XMLSpace, true
	}
	return "", false
}

// LookupPrefix returns a prefix that is bound to the namespace at the element; the
// empty one only if there is no other, as attributes can't use it.
func (e *Element) LookupPrefix(space string) (prefix string, ok bool) {
	if space == XMLSpace {
		return "xml", true
	}
	for s := e; s != nil; s = s.Parent {
		for _, d := range s.Decls {
			if d.Space != space || prefix != "" {
				continue
			}
			if now, _ := e.LookupNamespace(d.Prefix); now == space {
				prefix, ok = d.Prefix, true
			}
		}
	}
	return prefix, ok
}

// Clone returns a copy of the element and all below it that stands alone. It
// declares what names in it had bound from above.
func (e *Element) Clone() *Element {
	c := e.copy()
	if e.Parent == nil {
		return c
	}
	for p := range e.All() {
		inherit(c, e, p, p.Prefix)
		for _, a := range p.Attrs {
			if a.Prefix != "" {
				inherit(c, e, p, a.Prefix)
			}
		}
	}
	return c
}

// inherit declares at c, the clone of e, what the prefix means at p, if that is
// declared above e.
func inherit(c, e, p *Element, prefix string) {
	for s := p; ; s = s.Parent {
		if slices.ContainsFunc(s.Decls, func(d Decl) bool { return d.Prefix == prefix }) {
			return
		}
		if s == e {
			break
		}
	}
	space, ok := e.Parent.LookupNamespace(prefix)
	if !ok || prefix == "xml" || prefix == "" && space == "" {
		return
	}
	if !slices.ContainsFunc(c.Decls, func(d Decl) bool { return d.Prefix == prefix }) {
		c.Decls = append(c.Decls, Decl{prefix, space})
	}
}

func (e *Element) copy() *Element {
	c := &Element{Name: e.Name, Prefix: e.Prefix, Decls: slices.Clone(e.Decls), Attrs: slices.Clone(e.Attrs)}
	if len(e.Nodes) > 0 {
		c.Nodes = make([]Node, len(e.Nodes))
		for i, n := range e.Nodes {
			if child, ok := n.(*Element); ok {
				grown := child.copy()
				grown.Parent = c
				n = grown
			}
			c.Nodes[i] = n
		}
	}
	return c
}
