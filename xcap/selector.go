package xcap

import (
	"errors"
	"strconv"
	"strings"

	"rollcall/xmltree"
)

// Selector is a node selector (RFC 4825 §6.3): the part of an XCAP URI after "~~".
type Selector struct {
	steps    []step
	terminal terminal
	attr     xmltree.Name // of an attribute
	text     string       // as it was written, decoded
}

type terminal uint8

const (
	element terminal = iota
	attribute
	namespaces
)

// step chooses one child element.
type step struct {
	any      bool
	name     xmltree.Name
	position int // from 1, 0 for none
	byAttr   bool
	attr     xmltree.Name
	value    string
}

// maxSteps bounds a selector. No document is deeper than the limit of its parser.
const maxSteps = 64

var (
	errSelector = errors.New("node selector is not understood")
	errPrefix   = errors.New("node selector has a prefix that no xmlns() binds")
)

// ParseSelector reads a node selector that is decoded already. Names without a
// prefix are in the default document namespace; the query binds the prefixes
// (RFC 4825 §6.4).
func ParseSelector(text, space, query string) (Selector, error) {
	bound, err := parseBindings(query)
	if err != nil {
		return Selector{}, err
	}
	p := selectorParser{rest: text, space: space, bound: bound}
	s := Selector{text: text}
	for {
		switch {
		case p.take("@"):
			s.terminal = attribute
			s.attr, err = p.name(false)
		case p.take("namespace::*"):
			s.terminal = namespaces
		default:
			var st step
			st, err = p.step()
			s.steps = append(s.steps, st)
		}
		switch {
		case err != nil:
			return Selector{}, err
		case p.rest == "" && len(s.steps) > 0:
			return s, nil
		case s.terminal != element || !p.take("/") || len(s.steps) >= maxSteps:
			return Selector{}, errSelector
		}
	}
}

type selectorParser struct {
	rest  string
	space string
	bound map[string]string
}

func (p *selectorParser) take(token string) bool {
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *selectorParser) step() (st step, err error) {
	if st.any = p.take("*"); !st.any {
		if st.name, err = p.name(true); err != nil {
			return st, err
		}
	}
	if len(p.rest) > 1 && p.rest[0] == '[' && p.rest[1] != '@' {
		p.rest = p.rest[1:]
		digits, rest, ok := strings.Cut(p.rest, "]")
		n, bad := strconv.ParseUint(digits, 10, 31)
		if !ok || bad != nil || n == 0 {
			return st, errSelector
		}
		st.position, p.rest = int(n), rest
	}
	if p.take("[@") {
		st.byAttr = true
		if st.attr, err = p.name(false); err != nil {
			return st, err
		}
		if !p.take("=") {
			return st, errSelector
		}
		st.value, err = p.literal()
		if err == nil && !p.take("]") {
			err = errSelector
		}
	}
	return st, err
}

var references = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&apos;", "'", "&amp;", "&")

// literal is an AttValue of XML 1.0.
func (p *selectorParser) literal() (string, error) {
	if p.rest == "" || p.rest[0] != '"' && p.rest[0] != '\'' {
		return "", errSelector
	}
	end := strings.IndexByte(p.rest[1:], p.rest[0])
	if end < 0 {
		return "", errSelector
	}
	value := p.rest[1 : 1+end]
	p.rest = p.rest[end+2:]
	return references.Replace(value), nil
}

func (p *selectorParser) name(inDefault bool) (xmltree.Name, error) {
	end := strings.IndexAny(p.rest, "/[]()=@*'\" \t\r\n<>&")
	if end < 0 {
		end = len(p.rest)
	}
	prefix, local, colon := strings.Cut(p.rest[:end], ":")
	p.rest = p.rest[end:]
	if !colon {
		prefix, local = "", prefix
	}
	switch {
	case local == "" || colon && prefix == "" || strings.Contains(local, ":"):
		return xmltree.Name{}, errSelector
	case colon:
		space, ok := p.bound[prefix]
		if !ok && prefix == "xml" {
			space, ok = xmltree.XMLSpace, true
		}
		if !ok {
			return xmltree.Name{}, errPrefix
		}
		return xmltree.Name{Space: space, Local: local}, nil
	case inDefault:
		return xmltree.Name{Space: p.space, Local: local}, nil
	}
	return xmltree.Name{Local: local}, nil
}

// parseBindings reads xmlns() parts of an XPointer and passes over all others
// (RFC 4825 §6.4).
func parseBindings(query string) (map[string]string, error) {
	bound := map[string]string{}
	for rest := strings.TrimSpace(query); rest != ""; rest = strings.TrimSpace(rest) {
		scheme, after, ok := strings.Cut(rest, "(")
		if !ok {
			return nil, errors.New("query is not an XPointer")
		}
		data, next, ok := pointerData(after)
		if !ok {
			return nil, errors.New("query is not an XPointer")
		}
		rest = next
		if scheme != "xmlns" {
			continue
		}
		prefix, space, ok := strings.Cut(data, "=")
		prefix, space = strings.TrimSpace(prefix), strings.TrimSpace(space)
		if !ok || prefix == "" {
			return nil, errors.New("xmlns() without a prefix")
		}
		bound[prefix] = space
	}
	return bound, nil
}

// pointerData reads up to the closing parenthesis. "^" escapes.
func pointerData(s string) (data, rest string, ok bool) {
	var b strings.Builder
	for i, depth := 0, 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '^' && i+1 < len(s):
			i++
		case c == '(':
			depth++
		case c == ')' && depth == 0:
			return b.String(), s[i+1:], true
		case c == ')':
			depth--
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// matches reports whether the step takes an element by its name and attribute.
func (st *step) matches(e *xmltree.Element) bool {
	if !st.named(e) || !st.byAttr {
		return st.named(e)
	}
	v, ok := e.Attr(st.attr.Space, st.attr.Local)
	return ok && v == st.value
}

func (st *step) named(e *xmltree.Element) bool { return st.any || e.Name == st.name }

// choose returns the elements among siblings that the step selects: predicates in
// order, the position first.
func (st *step) choose(siblings []*xmltree.Element) []*xmltree.Element {
	var found []*xmltree.Element
	n := 0
	for _, e := range siblings {
		if !st.named(e) {
			continue
		}
		n++
		if (st.position == 0 || n == st.position) && st.matches(e) {
			found = append(found, e)
		}
	}
	return found
}

// resolve returns the one element that the steps select, or nil and how many steps
// led to one.
func resolve(root *xmltree.Element, steps []step) (e *xmltree.Element, depth int) {
	siblings := []*xmltree.Element{root}
	for i := range steps {
		found := steps[i].choose(siblings)
		if len(found) != 1 {
			return nil, i
		}
		e, siblings = found[0], nil
		for c := range e.Elements() {
			siblings = append(siblings, c)
		}
	}
	return e, len(steps)
}
