package xmltree

import (
	"slices"
	"strconv"
)

// diffCells bounds the work of matching the children of one element; above it the
// element is replaced as a whole.
const diffCells = 250_000

// Diff returns operations, elements of the namespace, that make old into what is
// equal to next but for white space between elements, comments and processing
// instructions: Patch(old, Diff(old, next, space)) is next. Selectors name elements
// by position alone, so they need no prefixes. There are none if both are equal.
//
// Elements that are alike in name and in their attributes id, name, uri and entity
// are taken for the same one.
func Diff(old, next *Element, space string) []*Element {
	d := differ{space: space}
	d.element(old, next, "/*")
	return d.ops
}

type differ struct {
	space string
	ops   []*Element
}

// op adds an operation. What an element in it has declared from above stands on the
// operation, so that Patch puts the element itself in unchanged.
func (d *differ) op(name, sel string, attrs []Attr, content ...Node) {
	o := &Element{Name: Name{d.space, name}}
	o.Attrs = append([]Attr{{Name: Name{Local: "sel"}, Value: sel}}, attrs...)
	for _, n := range content {
		if e, ok := n.(*Element); ok {
			c := e.Clone()
			o.Decls = append(o.Decls, c.Decls[len(e.Decls):]...)
			c.Decls = c.Decls[:len(e.Decls):len(e.Decls)]
			n = c
		}
		o.Append(n)
	}
	d.ops = append(d.ops, o)
}

func option(name, value string) []Attr { return []Attr{{Name: Name{Local: name}, Value: value}} }

func (d *differ) element(a, b *Element, sel string) {
	if a.EqualIgnoringSpace(b) {
		return
	}
	if a.Name != b.Name || hasPrefixedAttrs(a, b) || mixed(a) || mixed(b) {
		d.op("replace", sel, nil, b)
		return
	}
	x, y := slices.Collect(a.Elements()), slices.Collect(b.Elements())
	textToElements := len(x) == 0 && len(y) > 0 && !isSpace(a.Text())
	elementsToText := len(x) > 0 && len(y) == 0 // white space between them would stay as text
	if textToElements || elementsToText || (len(x)+1)*(len(y)+1) > diffCells {
		d.op("replace", sel, nil, b)
		return
	}
	d.attributes(a, b, sel)
	if len(x) == 0 && len(y) == 0 {
		d.text(a, b, sel)
		return
	}
	d.children(x, y, sel)
}

// hasPrefixedAttrs reports differences that a selector would need prefixes for.
func hasPrefixedAttrs(a, b *Element) bool {
	differs := func(a, b *Element) bool {
		return slices.ContainsFunc(a.Attrs, func(at Attr) bool {
			v, ok := b.Attr(at.Name.Space, at.Name.Local)
			return at.Name.Space != "" && (!ok || v != at.Value)
		})
	}
	return differs(a, b) || differs(b, a)
}

// mixed reports text beside elements, or nodes that a position could miss.
func mixed(e *Element) bool {
	elements, texts, others := false, false, false
	for _, n := range e.Nodes {
		switch n := n.(type) {
		case *Element:
			elements = true
		case Text:
			texts = texts || !isSpace(string(n))
		default:
			others = true
		}
	}
	return elements && texts || !elements && others
}

func (d *differ) attributes(a, b *Element, sel string) {
	for _, at := range a.Attrs {
		v, ok := b.Attr(at.Name.Space, at.Name.Local)
		switch {
		case at.Name.Space != "":
		case !ok:
			d.op("remove", sel+"/@"+at.Name.Local, nil)
		case v != at.Value:
			d.op("replace", sel+"/@"+at.Name.Local, nil, text(v)...)
		}
	}
	for _, at := range b.Attrs {
		if _, ok := a.Attr(at.Name.Space, at.Name.Local); !ok {
			d.op("add", sel, option("type", "@"+at.Name.Local), text(at.Value)...)
		}
	}
}

func text(s string) []Node {
	if s == "" {
		return nil
	}
	return []Node{Text(s)}
}

// text makes operations for elements that hold text alone.
func (d *differ) text(a, b *Element, sel string) {
	before, after := a.Text(), b.Text()
	switch {
	case before == after:
	case before == "":
		d.op("add", sel, nil, Text(after))
	case after == "":
		d.op("remove", sel+"/text()", nil)
	default:
		d.op("replace", sel+"/text()", nil, Text(after))
	}
}

// children makes operations for elements that hold elements. Position counts in
// the document as it is when an operation is reached.
func (d *differ) children(x, y []*Element, sel string) {
	at := func(pos int) string { return sel + "/*[" + strconv.Itoa(pos) + "]" }
	pos, i := 1, 0
	insert := func(e *Element) {
		switch {
		case pos == 1:
			d.op("add", sel, option("pos", "prepend"), e)
		case i == len(x):
			d.op("add", sel, nil, e)
		default:
			d.op("add", at(pos-1), option("pos", "after"), e)
		}
		pos++
	}
	match := align(x, y)
	for j, e := range y {
		m := match[j]
		if m < 0 {
			if next := nextMatch(match[j:]); i < len(x) && (next < 0 || i < next) {
				d.op("replace", at(pos), nil, e)
				i++
				pos++
				continue
			}
			insert(e)
			continue
		}
		for ; i < m; i++ {
			d.op("remove", at(pos), nil)
		}
		d.element(x[i], e, at(pos))
		i++
		pos++
	}
	for ; i < len(x); i++ {
		d.op("remove", at(pos), nil)
	}
}

func nextMatch(match []int) int {
	for _, m := range match {
		if m >= 0 {
			return m
		}
	}
	return -1
}

// align returns for each y the index of the x that it is, or -1, in growing order:
// a longest common subsequence.
func align(x, y []*Element) []int {
	match := make([]int, len(y))
	for j := range match {
		match[j] = -1
	}
	start := 0
	for start < len(x) && start < len(y) && same(x[start], y[start]) {
		match[start] = start
		start++
	}
	n, m := len(x), len(y)
	for n > start && m > start && same(x[n-1], y[m-1]) {
		n, m = n-1, m-1
		match[m] = n
	}
	width := m - start + 1
	length := make([]int32, (n-start+1)*width)
	for i := n - start - 1; i >= 0; i-- {
		for j := m - start - 1; j >= 0; j-- {
			cell := i*width + j
			if same(x[start+i], y[start+j]) {
				length[cell] = length[cell+width+1] + 1
			} else {
				length[cell] = max(length[cell+width], length[cell+1])
			}
		}
	}
	for i, j := 0, 0; i < n-start && j < m-start; {
		switch cell := i*width + j; {
		case same(x[start+i], y[start+j]):
			match[start+j] = start + i
			i, j = i+1, j+1
		case length[cell+width] >= length[cell+1]:
			i++
		default:
			j++
		}
	}
	return match
}

// same reports whether two elements are versions of one.
func same(a, b *Element) bool {
	if a.Name != b.Name {
		return false
	}
	for _, key := range [...]string{"id", "name", "uri", "entity"} {
		v, _ := a.Attr("", key)
		w, _ := b.Attr("", key)
		if v != w {
			return false
		}
	}
	return true
}
