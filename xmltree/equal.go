package xmltree

import "strings"

// Equal reports whether two elements mean the same: names, attributes in any
// order, text and child elements in order. Prefixes, declarations, comments and
// processing instructions do not count.
func (e *Element) Equal(o *Element) bool { return equal(e, o, false) }

// EqualIgnoringSpace is Equal but for text of white space alone beside elements.
func (e *Element) EqualIgnoringSpace(o *Element) bool { return equal(e, o, true) }

func equal(a, b *Element, ignoreSpace bool) bool {
	if a == nil || b == nil || a.Name != b.Name || !equalAttrs(a, b) {
		return a == b
	}
	x, y := cursor{e: a}, cursor{e: b}
	x.skip = ignoreSpace && hasElements(a)
	y.skip = ignoreSpace && hasElements(b)
	for {
		xe, xt := x.next()
		ye, yt := y.next()
		switch {
		case xt != yt, (xe == nil) != (ye == nil):
			return false
		case xe == nil:
			return true
		case !equal(xe, ye, ignoreSpace):
			return false
		}
	}
}

func equalAttrs(a, b *Element) bool {
	if len(a.Attrs) != len(b.Attrs) {
		return false
	}
	for i := range a.Attrs {
		at := &a.Attrs[i]
		if v, ok := b.Attr(at.Name.Space, at.Name.Local); !ok || v != at.Value {
			return false
		}
	}
	return true
}

func hasElements(e *Element) bool {
	for range e.Elements() {
		return true
	}
	return false
}

// cursor gives the child elements with the text in front of each.
type cursor struct {
	e    *Element
	i    int
	skip bool // white space
}

// next returns the next child element, nil at the end, and the text before it.
func (c *cursor) next() (*Element, string) {
	text := ""
	for c.i < len(c.e.Nodes) {
		n := c.e.Nodes[c.i]
		c.i++
		switch n := n.(type) {
		case Text:
			text += string(n)
		case *Element:
			return n, c.trim(text)
		}
	}
	return nil, c.trim(text)
}

func (c *cursor) trim(text string) string {
	if c.skip && isSpace(text) {
		return ""
	}
	return text
}

// isSpace reports whether the text is XML white space, or empty.
func isSpace(s string) bool { return strings.Trim(s, " \t\r\n") == "" }
