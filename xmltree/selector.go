package xmltree

import (
	"strconv"
	"strings"
)

// selector is a parsed sel attribute (RFC 5261 §4.1): steps of elements, and
// perhaps a last one that is not an element.
type selector struct {
	steps []step
	last  step // kind is elementNode if the selector ends in an element
}

type nodeKind uint8

const (
	elementNode nodeKind = iota
	attrNode
	namespaceNode
	textNode
	commentNode
	procInstNode
)

// step selects nodes of one kind below a node.
type step struct {
	kind  nodeKind
	any   bool // *
	name  Name // of elements and attributes; Local alone of the others, "" for any
	tests []test
}

// test is a predicate.
type test struct {
	position int // if > 0
	kind     testKind
	name     Name
	value    string
}

type testKind uint8

const (
	testPosition testKind = iota
	testAttr
	testChild
	testSelf
)

// maxSteps bounds the work that a selector makes.
const maxSteps = 100

// parseSelector reads a selector whose prefixes are bound at the operation. A name
// without a prefix is in the default namespace there, unlike in XPath 1.0 (RFC 5261
// §4.2.2).
func parseSelector(sel string, scope *Element) (selector, *PatchError) {
	if strings.HasPrefix(strings.TrimPrefix(sel, "/"), "id(") {
		return selector{}, fault("unsupported-id-function", "id() is not supported")
	}
	var s selector
	r := reader{s: strings.TrimPrefix(sel, "/"), scope: scope}
	for {
		st, err := r.step()
		if err != nil {
			return selector{}, err
		}
		if st.kind != elementNode {
			s.last = st
			break
		}
		if s.steps = append(s.steps, st); len(s.steps) > maxSteps {
			return selector{}, fault("invalid-patch-directive", "selector is too long")
		}
		if !r.take("/") {
			break
		}
	}
	if r.s != "" || len(s.steps) == 0 {
		return selector{}, fault("invalid-patch-directive", "selector is not understood")
	}
	return s, nil
}

// reader takes a selector apart.
type reader struct {
	s     string
	scope *Element
}

func (r *reader) take(token string) bool {
	rest, ok := strings.CutPrefix(r.s, token)
	if ok {
		r.s = rest
	}
	return ok
}

func (r *reader) step() (st step, err *PatchError) {
	switch {
	case r.take("@"):
		st.kind = attrNode
		st.name, err = r.name(false)
	case r.take("namespace::"):
		st.kind = namespaceNode
		st.name.Local = r.token()
		if st.name.Local == "" {
			err = fault("invalid-patch-directive", "namespace without a prefix")
		}
	case r.take("text()"):
		st.kind = textNode
	case r.take("comment()"):
		st.kind = commentNode
	case r.take("processing-instruction("):
		st.kind = procInstNode
		if !r.take(")") {
			var ok bool
			if st.name.Local, ok = r.literal(); !ok || !r.take(")") {
				err = fault("invalid-patch-directive", "selector is not understood")
			}
		}
	case r.take("*"):
		st.any = true
	default:
		st.name, err = r.name(true)
	}
	for err == nil && r.take("[") {
		var t test
		if t, err = r.test(); err == nil {
			st.tests = append(st.tests, t)
		}
		if len(st.tests) > maxSteps {
			err = fault("invalid-patch-directive", "selector is too long")
		}
	}
	return st, err
}

func (r *reader) test() (t test, err *PatchError) {
	switch {
	case r.s != "" && r.s[0] >= '0' && r.s[0] <= '9':
		n, bad := strconv.ParseUint(r.token(), 10, 31)
		if bad != nil || n == 0 {
			return t, fault("invalid-patch-directive", "position is not a number from 1")
		}
		t.position = int(n)
	case r.take("@"):
		t.kind = testAttr
		t.name, err = r.name(false)
	case r.take(".="):
		t.kind = testSelf
		r.s = "=" + r.s
	default:
		t.kind = testChild
		t.name, err = r.name(true)
	}
	if err != nil {
		return t, err
	}
	ok := true
	if t.kind != testPosition {
		if ok = r.take("="); ok {
			t.value, ok = r.literal()
		}
	}
	if !ok || !r.take("]") {
		return t, fault("invalid-patch-directive", "predicate is not understood")
	}
	return t, nil
}

func (r *reader) literal() (string, bool) {
	if r.s == "" || r.s[0] != '"' && r.s[0] != '\'' {
		return "", false
	}
	end := strings.IndexByte(r.s[1:], r.s[0])
	if end < 0 {
		return "", false
	}
	value := r.s[1 : 1+end]
	r.s = r.s[end+2:]
	return value, true
}

// token takes what may be a name without a colon.
func (r *reader) token() string {
	end := strings.IndexAny(r.s, "/[]()=@*:'\" \t\r\n")
	if end < 0 {
		end = len(r.s)
	}
	t := r.s[:end]
	r.s = r.s[end:]
	return t
}

// name takes a QName. Only elements are in the default namespace.
func (r *reader) name(element bool) (Name, *PatchError) {
	prefix, local := "", r.token()
	if strings.HasPrefix(r.s, ":") && !strings.HasPrefix(r.s, "::") {
		r.s = r.s[1:]
		prefix, local = local, r.token()
		if prefix == "" {
			return Name{}, fault("invalid-patch-directive", "name without its prefix")
		}
	}
	if local == "" {
		return Name{}, fault("invalid-patch-directive", "selector is not understood")
	}
	if prefix == "" && !element {
		return Name{Local: local}, nil
	}
	space, ok := r.scope.LookupNamespace(prefix)
	if !ok {
		return Name{}, fault("invalid-namespace-prefix", "prefix is not declared: "+prefix)
	}
	return Name{space, local}, nil
}

// element returns the one element that the steps select.
func (s *selector) element(root *Element) (*Element, *PatchError) {
	found := s.steps[0].filter([]Node{root})
	for _, st := range s.steps[1:] {
		var next []Node
		for _, n := range found {
			next = append(next, st.filter(n.(*Element).Nodes)...)
		}
		found = next
	}
	if len(found) != 1 {
		return nil, unlocated(len(found))
	}
	return found[0].(*Element), nil
}

// child returns where in parent.Nodes the one node is that the last step selects.
func (s *selector) child(parent *Element) (int, *PatchError) {
	var index []int
	for i, n := range parent.Nodes {
		if s.last.matches(n) {
			index = append(index, i)
		}
	}
	for _, t := range s.last.tests {
		var kept []int
		for pos, i := range index {
			if t.position == pos+1 || t.kind == testSelf && content(parent.Nodes[i]) == t.value {
				kept = append(kept, i)
			}
		}
		index = kept
	}
	if len(index) != 1 {
		return 0, unlocated(len(index))
	}
	return index[0], nil
}

func content(n Node) string {
	switch n := n.(type) {
	case Text:
		return string(n)
	case Comment:
		return string(n)
	case ProcInst:
		return n.Data
	case *Element:
		return stringValue(n)
	}
	return ""
}

// stringValue is all text in an element (XPath 1.0 §5.2).
func stringValue(e *Element) string {
	if !hasElements(e) {
		return e.Text()
	}
	var b strings.Builder
	for d := range e.All() {
		b.WriteString(d.Text())
	}
	return b.String()
}

func (st *step) matches(n Node) bool {
	switch n := n.(type) {
	case *Element:
		return st.kind == elementNode && (st.any || n.Name == st.name)
	case Text:
		return st.kind == textNode
	case Comment:
		return st.kind == commentNode
	case ProcInst:
		return st.kind == procInstNode && (st.name.Local == "" || st.name.Local == n.Target)
	}
	return false
}

// filter returns the elements among siblings that the step selects.
func (st *step) filter(siblings []Node) []Node {
	var found []Node
	for _, n := range siblings {
		if st.matches(n) {
			found = append(found, n)
		}
	}
	for _, t := range st.tests {
		var kept []Node
		for i, n := range found {
			if t.holds(n.(*Element), i+1) {
				kept = append(kept, n)
			}
		}
		found = kept
	}
	return found
}

func (t *test) holds(e *Element, position int) bool {
	switch t.kind {
	case testAttr:
		v, ok := e.Attr(t.name.Space, t.name.Local)
		return ok && v == t.value
	case testChild:
		for c := range e.Children(t.name.Space, t.name.Local) {
			if stringValue(c) == t.value {
				return true
			}
		}
		return false
	case testSelf:
		return stringValue(e) == t.value
	}
	return position == t.position
}
