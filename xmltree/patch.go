package xmltree

import (
	"fmt"
	"slices"
)

// ErrorSpace is the namespace of the elements that name the faults of a patch
// (RFC 5261 §5.1).
const ErrorSpace = "urn:ietf:params:xml:ns:patch-ops-error"

// PatchError tells why a patch can't be applied.
type PatchError struct {
	Condition string // the error element of RFC 5261 §5.1, such as unlocated-node
	Op        int    // the operation, from 0
	Reason    string
}

func (e *PatchError) Error() string {
	return fmt.Sprintf("patch operation %d: %s: %s", e.Op, e.Condition, e.Reason)
}

func fault(condition, reason string) *PatchError {
	return &PatchError{Condition: condition, Reason: reason}
}

func unlocated(n int) *PatchError {
	return fault("unlocated-node", fmt.Sprintf("selector gives %d nodes instead of one", n))
}

// MaxPatch is how many operations Patch takes at once.
const MaxPatch = 1000

// Patch applies operations in order (RFC 5261 §4) and returns the new document. It
// is all or nothing: root is never changed. An operation is an element add, replace
// or remove of any namespace, that of the document it came in; its prefixes are
// those that are in scope there. Limits bound the elements and depth of the
// result. The error is a *PatchError, or is ErrLimit.
func Patch(root *Element, ops []*Element, l Limits) (*Element, error) {
	if len(ops) > MaxPatch {
		return nil, fmt.Errorf("%d patch operations: %w", len(ops), ErrLimit)
	}
	l = l.withDefaults()
	p := patcher{root: root.Clone()}
	for e := range p.root.All() {
		e.joinText()
	}
	budget := l.Elements
	for i, op := range ops {
		for range op.All() {
			budget--
		}
		if budget < 0 {
			return nil, fmt.Errorf("patch operation %d adds too many elements: %w", i, ErrLimit)
		}
		if err := p.apply(op); err != nil {
			err.Op = i
			return nil, err
		}
	}
	if err := withinLimits(p.root, 1, &l); err != nil {
		return nil, err
	}
	return p.root, nil
}

func withinLimits(e *Element, depth int, l *Limits) error {
	if l.Elements--; l.Elements < 0 || depth > l.Depth {
		return fmt.Errorf("patched document: %w", ErrLimit)
	}
	for c := range e.Elements() {
		if err := withinLimits(c, depth+1, l); err != nil {
			return err
		}
	}
	return nil
}

type patcher struct{ root *Element }

func (p *patcher) apply(op *Element) *PatchError {
	sel, ok := op.Attr("", "sel")
	if !ok {
		return fault("invalid-patch-directive", "operation without a selector")
	}
	s, err := parseSelector(sel, op)
	if err != nil {
		return err
	}
	e, err := s.element(p.root)
	if err != nil {
		return err
	}
	switch op.Name.Local {
	case "add":
		return p.add(op, &s, e)
	case "replace":
		return p.replace(op, &s, e)
	case "remove":
		return p.remove(op, &s, e)
	}
	return fault("invalid-patch-directive", "operation is not known: "+op.Name.Local)
}

// onlyText returns the text that the operation holds and nothing else.
func onlyText(op *Element) (string, *PatchError) {
	for _, n := range op.Nodes {
		if _, ok := n.(Text); !ok {
			return "", fault("invalid-node-types", "only text may stand here")
		}
	}
	return op.Text(), nil
}

func (p *patcher) add(op *Element, s *selector, e *Element) *PatchError {
	pos, hasPos := op.Attr("", "pos")
	typ, hasType := op.Attr("", "type")
	switch {
	case hasType && hasPos, hasType && s.last.kind != elementNode:
		return fault("invalid-patch-directive", "type does not go with this selector or pos")
	case hasType:
		return p.addType(op, typ, e)
	case !hasPos && s.last.kind != elementNode:
		return fault("invalid-node-types", "nothing can be added to this node")
	case !hasPos:
		e.Append(contents(op, e)...)
	case pos == "prepend" && s.last.kind == elementNode:
		e.InsertAt(0, contents(op, e)...)
	case pos == "before", pos == "after":
		return p.beside(op, s, e, pos == "after")
	default:
		return fault("invalid-patch-directive", "pos is not known")
	}
	e.joinText()
	return nil
}

// beside adds siblings (RFC 5261 §4.3.4).
func (p *patcher) beside(op *Element, s *selector, e *Element, after bool) (err *PatchError) {
	parent := e
	var i int
	switch s.last.kind {
	case elementNode:
		if e == p.root {
			return besideRoot(op)
		}
		parent = e.Parent
		i = parent.Index(e)
	case attrNode, namespaceNode:
		return fault("invalid-node-types", "nothing stands beside this node")
	default:
		if i, err = s.child(parent); err != nil {
			return err
		}
	}
	if after {
		i++
	}
	parent.InsertAt(i, contents(op, parent)...)
	parent.joinText()
	return nil
}

func besideRoot(op *Element) *PatchError {
	if hasElements(op) {
		return fault("invalid-root-element-operation", "a document has one root")
	}
	return fault("invalid-xml-prolog-operation", "what stands beside the root is not kept")
}

// addType adds an attribute or declaration (RFC 5261 §4.3.2, §4.3.3).
func (p *patcher) addType(op *Element, typ string, e *Element) *PatchError {
	value, err := onlyText(op)
	if err != nil {
		return err
	}
	r := reader{s: typ, scope: op}
	st, err := r.step()
	if err != nil || r.s != "" || len(st.tests) > 0 {
		return fault("invalid-patch-directive", "type is not understood")
	}
	switch st.kind {
	case attrNode:
		if _, there := e.Attr(st.name.Space, st.name.Local); there {
			return fault("invalid-patch-directive", "attribute is there already")
		}
		e.SetAttr(st.name.Space, st.name.Local, value)
		if a := &e.Attrs[len(e.Attrs)-1]; a.Prefix == "" && st.name.Space != "" {
			a.Prefix, _ = op.LookupPrefix(st.name.Space) // as the patch has it
		}
	case namespaceNode:
		if slices.ContainsFunc(e.Decls, func(d Decl) bool { return d.Prefix == st.name.Local }) {
			return fault("invalid-namespace-prefix", "prefix is declared already")
		}
		if err := checkDecl(st.name.Local, value); err != nil {
			return err
		}
		e.Decls = append(e.Decls, Decl{st.name.Local, value})
	default:
		return fault("invalid-patch-directive", "type is not understood")
	}
	return nil
}

func checkDecl(prefix, space string) *PatchError {
	if prefix == "xml" || prefix == "xmlns" {
		return fault("invalid-namespace-prefix", "prefix is reserved")
	}
	if space == "" || space == XMLSpace || space == xmlnsSpace {
		return fault("invalid-namespace-uri", "namespace can't be bound")
	}
	return nil
}

func (p *patcher) replace(op *Element, s *selector, e *Element) *PatchError {
	switch s.last.kind {
	case elementNode:
		return p.replaceElement(op, e)
	case attrNode:
		value, err := onlyText(op)
		if err != nil {
			return err
		}
		if _, there := e.Attr(s.last.name.Space, s.last.name.Local); !there {
			return unlocated(0)
		}
		e.Attrs = slices.Clone(e.Attrs)
		e.SetAttr(s.last.name.Space, s.last.name.Local, value)
		return nil
	case namespaceNode:
		return replaceDecl(op, s.last.name.Local, e)
	}
	i, err := s.child(e)
	if err != nil {
		return err
	}
	var next []Node
	for _, n := range op.Nodes {
		if s.last.matches(n) || s.last.kind == procInstNode && isProcInst(n) {
			next = append(next, n)
		} else if t, ok := n.(Text); !ok || !isSpace(string(t)) {
			return fault("invalid-node-types", "content is of another kind")
		}
	}
	if len(next) > 1 || len(next) == 0 && s.last.kind != textNode {
		return fault("invalid-node-types", "content is not one node")
	}
	e.Nodes = slices.Replace(slices.Clone(e.Nodes), i, i+1, next...)
	return nil
}

func isProcInst(n Node) bool { _, ok := n.(ProcInst); return ok }

func (p *patcher) replaceElement(op, e *Element) *PatchError {
	var next *Element
	for _, n := range op.Nodes {
		switch n := n.(type) {
		case *Element:
			if next != nil {
				return fault("invalid-node-types", "content is more than one element")
			}
			next = adopt(n, e.Parent)
		case Text:
			if !isSpace(string(n)) {
				return fault("invalid-node-types", "content is not an element")
			}
		}
	}
	if next == nil {
		return fault("invalid-node-types", "content is not an element")
	}
	if e == p.root {
		p.root = next
	} else {
		e.Parent.Replace(e, next)
	}
	return nil
}

// replaceDecl changes the namespace of all names that use the declaration (RFC
// 5261 §4.4.3).
func replaceDecl(op *Element, prefix string, e *Element) *PatchError {
	space, err := onlyText(op)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(e.Decls, func(d Decl) bool { return d.Prefix == prefix })
	if i < 0 {
		return unlocated(0)
	}
	if err := checkDecl(prefix, space); err != nil {
		return err
	}
	rename(e, prefix, e.Decls[i].Space, space)
	e.Decls = slices.Clone(e.Decls)
	e.Decls[i].Space = space
	return nil
}

// rename moves what is named by the prefix into another namespace, down to where
// the prefix is declared anew.
func rename(e *Element, prefix, from, to string) {
	if e.Prefix == prefix && e.Name.Space == from {
		e.Name.Space = to
	}
	e.Attrs = slices.Clone(e.Attrs)
	for i := range e.Attrs {
		if e.Attrs[i].Prefix == prefix && e.Attrs[i].Name.Space == from {
			e.Attrs[i].Name.Space = to
		}
	}
	for c := range e.Elements() {
		if !slices.ContainsFunc(c.Decls, func(d Decl) bool { return d.Prefix == prefix }) {
			rename(c, prefix, from, to)
		}
	}
}

func (p *patcher) remove(op *Element, s *selector, e *Element) *PatchError {
	if len(op.Nodes) > 0 && !isSpace(stringValue(op)) || hasElements(op) {
		return fault("invalid-patch-directive", "remove with content")
	}
	ws, hasWS := op.Attr("", "ws")
	parent := e
	var i int
	switch s.last.kind {
	case elementNode:
		if e == p.root {
			return fault("invalid-root-element-operation", "the root can't be removed")
		}
		parent = e.Parent
		i = parent.Index(e)
	case attrNode, namespaceNode:
		if hasWS {
			return fault("invalid-whitespace-directive", "no white space stands beside this node")
		}
		return removeNamed(s, e)
	default:
		var err *PatchError
		if i, err = s.child(parent); err != nil {
			return err
		}
		if hasWS && s.last.kind == textNode {
			return fault("invalid-whitespace-directive", "no text stands beside text")
		}
	}
	from, to, err := whiteSpace(parent, i, ws, hasWS)
	if err != nil {
		return err
	}
	for _, n := range parent.Nodes[from:to] {
		if c, ok := n.(*Element); ok {
			c.Parent = nil
		}
	}
	parent.Nodes = slices.Delete(slices.Clone(parent.Nodes), from, to)
	parent.joinText()
	return nil
}

// removeNamed takes an attribute or a declaration away. Names that need the
// declaration have it written again where they stand.
func removeNamed(s *selector, e *Element) *PatchError {
	if s.last.kind == attrNode {
		if !e.RemoveAttr(s.last.name.Space, s.last.name.Local) {
			return unlocated(0)
		}
		return nil
	}
	i := slices.IndexFunc(e.Decls, func(d Decl) bool { return d.Prefix == s.last.name.Local })
	if i < 0 {
		return unlocated(0)
	}
	e.Decls = slices.Delete(slices.Clone(e.Decls), i, i+1)
	return nil
}

// whiteSpace widens the range of a removed node by the text beside it (RFC 5261
// §4.5).
func whiteSpace(parent *Element, i int, ws string, given bool) (from, to int, err *PatchError) {
	from, to = i, i+1
	if !given {
		return from, to, nil
	}
	if ws != "before" && ws != "after" && ws != "both" {
		return 0, 0, fault("invalid-whitespace-directive", "ws is not known")
	}
	blank := func(i int) bool {
		if i < 0 || i >= len(parent.Nodes) {
			return false
		}
		t, ok := parent.Nodes[i].(Text)
		return ok && isSpace(string(t))
	}
	if ws != "after" {
		from--
	}
	if ws != "before" {
		to++
	}
	if from < i && !blank(from) || to > i+1 && !blank(to-1) {
		return 0, 0, fault("invalid-whitespace-directive", "no white space stands there")
	}
	return from, to, nil
}
