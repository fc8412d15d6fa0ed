package xcap

import (
	"strings"

	"rollcall/xmltree"
)

// putElement puts an element where the selector says, in a document that is
// changed, and reports whether it was created. The body's prefixes are those in
// scope there (RFC 4825 §8.2.3, §8.2.4).
func putElement(root *xmltree.Element, s *Selector, body []byte, l xmltree.Limits, base string) (next *xmltree.Element, created bool, err error) {
	last := len(s.steps) - 1
	var parent *xmltree.Element
	if last > 0 {
		var depth int
		if parent, depth = resolve(root, s.steps[:last]); parent == nil {
			return nil, false, noParent(base, s, depth)
		}
	}
	e, err := xmltree.ParseIn(body, l, parent)
	if err != nil {
		return nil, false, parseFault(err, "not-xml-frag")
	}
	st := &s.steps[last]
	if parent == nil {
		if !st.matches(root) {
			return nil, false, conflict("cannot-insert", "a document has one root")
		}
		root = e
	} else {
		switch found := st.choose(children(parent)); len(found) {
		case 0:
			i, ok := insertAt(parent, st)
			if !ok {
				return nil, false, conflict("cannot-insert", "no such position")
			}
			parent.InsertAt(i, e)
			created = true
		case 1:
			parent.Replace(found[0], e)
		default:
			return nil, false, conflict("cannot-insert", "the selector gives more than one element")
		}
	}
	// GET after PUT gives what was put (RFC 4825 §7.4).
	if got, _ := resolve(root, s.steps); got != e {
		return nil, false, conflict("cannot-insert", "the selector would not give this element")
	}
	return root, created, nil
}

func children(e *xmltree.Element) []*xmltree.Element {
	var all []*xmltree.Element
	for c := range e.Elements() {
		all = append(all, c)
	}
	return all
}

// insertAt returns the index in parent.Nodes for a new element (RFC 4825 §8.2.3).
func insertAt(parent *xmltree.Element, st *step) (int, bool) {
	var alike []*xmltree.Element
	for _, e := range children(parent) {
		if st.named(e) {
			alike = append(alike, e)
		}
	}
	switch n := st.position; {
	case len(alike) == 0 && n <= 1, st.any && n == 0:
		return len(parent.Nodes), true
	case n == 0: // "earliest last"
		return parent.Index(alike[len(alike)-1]) + 1, true
	case n == 1:
		return parent.Index(alike[0]), true
	case len(alike) >= n-1: // "earliest nth"
		return parent.Index(alike[n-2]) + 1, true
	}
	return 0, false
}

// putAttribute sets an attribute from an AttValue with its quotes (RFC 4825 §7.7).
func putAttribute(root *xmltree.Element, s *Selector, body []byte, l xmltree.Limits, base string) (created bool, err error) {
	e, depth := resolve(root, s.steps)
	if e == nil {
		return false, noParent(base, s, depth)
	}
	value, err := parseAttValue(body, l)
	if err != nil {
		return false, err
	}
	_, there := e.Attr(s.attr.Space, s.attr.Local)
	e.SetAttr(s.attr.Space, s.attr.Local, value)
	if got, _ := resolve(root, s.steps); got != e {
		return false, conflict("cannot-insert", "the selector would not give this attribute")
	}
	return !there, nil
}

func parseAttValue(body []byte, l xmltree.Limits) (string, error) {
	text := strings.TrimSpace(string(body))
	bad := conflict("not-xml-att-value", "not an attribute value in quotes")
	if len(text) < 2 || text[0] != '"' && text[0] != '\'' || strings.IndexByte(text[1:], text[0]) != len(text)-2 {
		return "", bad
	}
	e, err := xmltree.Parse([]byte("<a v="+text+"/>"), l)
	if err != nil {
		return "", parseFault(err, bad.Condition)
	}
	v, _ := e.Attr("", "v")
	return v, nil
}

// deleteNode removes an element or attribute (RFC 4825 §8.4). White space around
// it stays.
func deleteNode(root *xmltree.Element, s *Selector) error {
	e, _ := resolve(root, s.steps)
	if e == nil {
		return ErrNotFound
	}
	if s.terminal == attribute {
		if !e.RemoveAttr(s.attr.Space, s.attr.Local) {
			return ErrNotFound
		}
		return nil
	}
	parent := e.Parent
	if parent == nil {
		return conflict("schema-validation-error", "a document without a root")
	}
	parent.Remove(e)
	// The selector must find nothing now, else a second DELETE would take another.
	if len(s.steps[len(s.steps)-1].choose(children(parent))) > 0 {
		return conflict("cannot-delete", "the selector would give another element")
	}
	return nil
}

// noParent tells how much of the selector leads to an element.
func noParent(base string, s *Selector, depth int) *Conflict {
	c := conflict("no-parent", "the parent element does not exist")
	c.Ancestor = base
	if depth > 0 {
		c.Ancestor = base + "/~~/" + escapeSelector(firstSteps(s.text, depth))
	}
	return c
}

// firstSteps cuts a selector after some of its steps. Slashes in quotes are not
// between steps.
func firstSteps(text string, n int) string {
	quote := byte(0)
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '/':
			if n--; n == 0 {
				return text[:i]
			}
		}
	}
	return text
}

// escapeSelector makes a selector part of a URI (RFC 4825 §6.3).
func escapeSelector(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c > ' ' && c < 0x7f && !strings.ContainsRune(`"[]<>%?#{}|\^`+"`", rune(c)) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// nodeBody returns what a GET of the node gives, and its MIME type (RFC 4825
// §8.3).
func nodeBody(root *xmltree.Element, s *Selector) (body []byte, mime string, err error) {
	e, _ := resolve(root, s.steps)
	if e == nil {
		return nil, "", ErrNotFound
	}
	switch s.terminal {
	case attribute:
		v, ok := e.Attr(s.attr.Space, s.attr.Local)
		if !ok {
			return nil, "", ErrNotFound
		}
		// An element writes the value as an AttValue.
		carrier := xmltree.New("", "", "a")
		carrier.SetAttr("", "v", v)
		text := strings.TrimSuffix(strings.TrimPrefix(carrier.String(), "<a v="), "/>")
		return []byte(text), "application/xcap-att+xml", nil
	case namespaces:
		return namespaceBindings(e).AppendTo(nil), "application/xcap-ns+xml", nil
	}
	return e.AppendInPlace(nil), "application/xcap-el+xml", nil
}

// namespaceBindings is RFC 4825 §10: an empty element of the same name with all
// that is in scope.
func namespaceBindings(e *xmltree.Element) *xmltree.Element {
	out := xmltree.New(e.Name.Space, e.Prefix, e.Name.Local)
	seen := map[string]bool{}
	for s := e; s != nil; s = s.Parent {
		for _, d := range s.Decls {
			if !seen[d.Prefix] {
				seen[d.Prefix] = true
				out.Decls = append(out.Decls, d)
			}
		}
	}
	return out
}
