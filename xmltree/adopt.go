package xmltree

import (
	"slices"
	"strings"
)

// contents returns copies of the nodes in the operation, to be put into parent.
func contents(op, parent *Element) []Node {
	nodes := slices.Clone(op.Nodes)
	for i, n := range nodes {
		if c, ok := n.(*Element); ok {
			nodes[i] = adopt(c, parent)
		}
	}
	return nodes
}

// adopt returns a copy of an element of the patch with the prefixes of its new
// parent (RFC 5261 §4.2.3). The parent of a new root is nil.
func adopt(e, parent *Element) *Element {
	if parent == nil {
		return e.Clone()
	}
	c := e.copy()
	for x := range c.All() {
		x.Prefix = newPrefix(c, x, parent, x.Prefix, x.Name.Space, true)
		for i := range x.Attrs {
			if a := &x.Attrs[i]; a.Name.Space != "" {
				a.Prefix = newPrefix(c, x, parent, a.Prefix, a.Name.Space, false)
			}
		}
	}
	return c
}

// newPrefix chooses a prefix for a name of the element x within c: its own if it is
// declared in c or by the parent, else the parent's, else of all that are bound to
// the namespace the one next before it in the alphabet. If there is none, c
// declares it.
func newPrefix(c, x, parent *Element, prefix, space string, element bool) string {
	if now, ok := x.LookupNamespace(prefix); ok && now == space && (prefix != "" || space != "") {
		return prefix // c stands alone here
	}
	if now, ok := parent.LookupNamespace(prefix); space == "" || ok && now == space {
		return prefix
	}
	if parent.Name.Space == space && (element || parent.Prefix != "") {
		return parent.Prefix
	}
	var bound []string
	for s := parent; s != nil; s = s.Parent {
		for _, d := range s.Decls {
			now, _ := parent.LookupNamespace(d.Prefix)
			if now == space && (element || d.Prefix != "") {
				bound = append(bound, d.Prefix)
			}
		}
	}
	slices.Sort(bound)
	switch i, _ := slices.BinarySearch(bound, prefix); {
	case i > 0:
		return bound[i-1]
	case len(bound) > 0:
		return bound[0]
	}
	if !slices.ContainsFunc(c.Decls, func(d Decl) bool { return d.Prefix == prefix }) {
		c.Decls = append(c.Decls, Decl{prefix, space})
	}
	return prefix
}

// joinText makes one text of those that touch each other, as they are one node
// for a selector.
func (e *Element) joinText() {
	for i := 1; i < len(e.Nodes); i++ {
		a, okA := e.Nodes[i-1].(Text)
		b, okB := e.Nodes[i].(Text)
		if !okA || !okB {
			continue
		}
		joined := e.Nodes[: i-1 : i-1]
		var run strings.Builder
		run.WriteString(string(a))
		for ; okB; b, okB = textAt(e.Nodes, i) {
			run.WriteString(string(b))
			i++
		}
		e.Nodes = append(append(joined, Text(run.String())), e.Nodes[i:]...)
		i = len(joined) + 1
	}
}

func textAt(nodes []Node, i int) (Text, bool) {
	if i >= len(nodes) {
		return "", false
	}
	t, ok := nodes[i].(Text)
	return t, ok
}
