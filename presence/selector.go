package presence

import (
	"errors"
	"strconv"
	"strings"

	"rollcall/xmltree"
)

// selector chooses parts of a document: a namespace, or what a path of the syntax of
// RFC 4661 §5 leads to.
type selector struct {
	space string // if not ""
	steps []step
	attr  *xmltree.Name // the last step, if it is an attribute
}

// step is an element of a path.
type step struct {
	deep  bool // after "//": at any depth
	any   bool // "*"
	name  xmltree.Name
	tests [][]test // any of them, and of that all; nil for none
}

// test compares what stands at a relative path with a value.
type test struct {
	up, self bool // ".." and "."
	steps    []step
	attr     *xmltree.Name
	op       byte // = < >
	value    string
}

// Limits of a path, which bound what its evaluation costs.
const (
	maxSteps = 12
	maxDeep  = 2
	maxTests = 8
)

var (
	errSelector = errors.New("selection is not understood")
	errTooLong  = errors.New("selection is too long")
)

// pathReader reads a path. Blanks may stand everywhere: documents are folded.
type pathReader struct {
	s        string
	bindings map[string]string
	deep     int
	tests    int
}

func (r *pathReader) blanks() { r.s = strings.TrimLeft(r.s, " \t\r\n") }

func (r *pathReader) take(token string) bool {
	r.blanks()
	rest, ok := strings.CutPrefix(r.s, token)
	if ok {
		r.s = rest
	}
	return ok
}

func parseSelector(text string, bindings map[string]string) (selector, error) {
	r := pathReader{s: text, bindings: bindings}
	var s selector
	r.blanks()
	if !strings.HasPrefix(r.s, "/") {
		return s, errSelector
	}
	for {
		deep := r.take("//")
		if !deep && !r.take("/") {
			break
		}
		if r.take("@") {
			name, err := r.name(false)
			if err != nil || deep && len(s.steps) > 0 {
				return s, errSelector
			}
			if deep {
				s.steps = append(s.steps, step{deep: true, any: true})
			}
			s.attr = &name
			break
		}
		st, err := r.step(deep)
		if err != nil {
			return s, err
		}
		if s.steps = append(s.steps, st); len(s.steps) > maxSteps {
			return s, errTooLong
		}
	}
	if r.blanks(); r.s != "" || len(s.steps) == 0 {
		return s, errSelector
	}
	return s, nil
}

func (r *pathReader) step(deep bool) (st step, err error) {
	st.deep = deep
	if deep {
		if r.deep++; r.deep > maxDeep {
			return st, errTooLong
		}
	}
	if st.any = r.take("*"); !st.any {
		if st.name, err = r.name(true); err != nil {
			return st, err
		}
	}
	if r.take("[") {
		st.tests, err = r.expression()
	}
	return st, err
}

// name reads a name. RFC 4661 §5 puts one without a prefix into no namespace, as
// XPath does, but its own examples mean elements of PIDF by it, and there are no
// others that could be meant.
func (r *pathReader) name(element bool) (xmltree.Name, error) {
	r.blanks()
	end := strings.IndexAny(r.s, "/*[]@=<>\"' \t\r\n")
	if end < 0 {
		end = len(r.s)
	}
	prefix, local, ok := strings.Cut(r.s[:end], ":")
	if !ok {
		prefix, local = "", prefix
	}
	r.s = r.s[end:]
	if local == "" || local == "." || local == ".." || strings.Contains(local, ":") {
		return xmltree.Name{}, errSelector
	}
	space, bound := r.bindings[prefix]
	switch {
	case prefix == "" && !element:
		space = ""
	case prefix == "" && !bound:
		space = SpacePIDF
	case prefix == "xml":
		space = xmltree.XMLSpace
	case !bound:
		return xmltree.Name{}, errors.New("prefix is not bound")
	}
	return xmltree.Name{Space: space, Local: local}, nil
}

// expression reads what stands in brackets, the closing one included. "and" binds
// closer than "or", as in XPath.
func (r *pathReader) expression() ([][]test, error) {
	either := [][]test{nil}
	for {
		if r.tests++; r.tests > maxTests {
			return nil, errTooLong
		}
		t, err := r.test()
		if err != nil {
			return nil, err
		}
		last := &either[len(either)-1]
		*last = append(*last, t)
		switch {
		case r.take("]"):
			return either, nil
		case r.take("and"):
		case r.take("or"):
			either = append(either, nil)
		default:
			return nil, errSelector
		}
	}
}

func (r *pathReader) test() (t test, err error) {
	switch {
	case r.take(".."):
		t.up = true
	case r.take("."):
		t.self = true
	default:
		for done := false; !done; {
			if r.take("@") {
				name, err := r.name(false)
				if err != nil {
					return t, err
				}
				t.attr = &name
				break
			}
			st := step{any: r.take("*")}
			if !st.any {
				if st.name, err = r.name(true); err != nil {
					return t, err
				}
			}
			if t.steps = append(t.steps, st); len(t.steps) > maxSteps {
				return t, errTooLong
			}
			done = !r.take("/")
		}
	}
	for _, op := range "=<>" {
		if r.take(string(op)) {
			t.op = byte(op)
			break
		}
	}
	if t.op == 0 {
		return t, errSelector
	}
	t.value, err = r.value()
	return t, err
}

// value reads a literal, quoted or not.
func (r *pathReader) value() (string, error) {
	r.blanks()
	if r.s == "" {
		return "", errSelector
	}
	if q := r.s[0]; q == '"' || q == '\'' {
		v, rest, ok := strings.Cut(r.s[1:], string(q))
		if !ok {
			return "", errSelector
		}
		r.s = rest
		return v, nil
	}
	end := strings.IndexAny(r.s, "] \t\r\n")
	if end <= 0 {
		return "", errSelector
	}
	v := r.s[:end]
	r.s = r.s[end:]
	return v, nil
}

// elements gives those that the path leads to, the attribute step aside.
func (s *selector) elements(root *xmltree.Element, yield func(*xmltree.Element)) {
	if s.space != "" {
		for e := range root.All() {
			if e.Name.Space == s.space {
				yield(e)
			}
		}
		return
	}
	doc := &xmltree.Element{Nodes: []xmltree.Node{root}} // root keeps its own parent
	now := []*xmltree.Element{doc}
	for i := range s.steps {
		st := &s.steps[i]
		var next []*xmltree.Element
		seen := map[*xmltree.Element]bool{}
		for _, e := range now {
			for c := range e.Elements() {
				if !st.deep {
					if st.matches(c) {
						next = append(next, c)
					}
					continue
				}
				for d := range c.All() {
					if !seen[d] && st.matches(d) {
						seen[d] = true
						next = append(next, d)
					}
				}
			}
		}
		now = next
	}
	for _, e := range now {
		if s.attr != nil {
			if _, ok := e.Attr(s.attr.Space, s.attr.Local); !ok {
				continue
			}
		}
		yield(e)
	}
}

func (st *step) matches(e *xmltree.Element) bool {
	if !st.any && e.Name != st.name {
		return false
	}
	if st.tests == nil {
		return true
	}
	for _, all := range st.tests {
		holds := true
		for i := range all {
			holds = holds && all[i].holds(e)
		}
		if holds {
			return true
		}
	}
	return false
}

func (t *test) holds(e *xmltree.Element) bool {
	switch {
	case t.up:
		return e.Parent != nil && t.compare(e.Parent.Text())
	case t.self:
		return t.compare(e.Text())
	}
	return t.below(e, t.steps)
}

func (t *test) below(e *xmltree.Element, steps []step) bool {
	if len(steps) > 0 {
		for c := range e.Elements() {
			if steps[0].matches(c) && t.below(c, steps[1:]) {
				return true
			}
		}
		return false
	}
	if t.attr == nil {
		return t.compare(e.Text())
	}
	v, ok := e.Attr(t.attr.Space, t.attr.Local)
	return ok && t.compare(v)
}

func (t *test) compare(v string) bool {
	v = strings.TrimSpace(v)
	if t.op == '=' {
		return v == t.value
	}
	a, okA := decimal(v)
	b, okB := decimal(t.value)
	return okA && okB && (t.op == '<' && a < b || t.op == '>' && a > b)
}

func decimal(s string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return f, err == nil
}
