package presence

import "rollcall/xmltree"

// Namespaces of presence documents.
const (
	SpacePIDF  = "urn:ietf:params:xml:ns:pidf"              // RFC 3863 §4.1.1
	SpaceModel = "urn:ietf:params:xml:ns:pidf:data-model"   // RFC 4479 §5
	SpaceRPID  = "urn:ietf:params:xml:ns:pidf:rpid"         // RFC 4480 §5.1
	SpaceTimed = "urn:ietf:params:xml:ns:pidf:timed-status" // RFC 4481 §6.1
	SpaceCIPID = "urn:ietf:params:xml:ns:pidf:cipid"        // RFC 4482 §6.1
	SpaceCaps  = "urn:ietf:params:xml:ns:pidf:caps"         // RFC 5196 §7.1
)

// known are the namespaces that a composed document has under one prefix, as some
// clients look for the prefix.
var known = [...]xmltree.Decl{
	{Prefix: "", Space: SpacePIDF},
	{Prefix: "dm", Space: SpaceModel},
	{Prefix: "rpid", Space: SpaceRPID},
	{Prefix: "ts", Space: SpaceTimed},
	{Prefix: "cipid", Space: SpaceCIPID},
	{Prefix: "caps", Space: SpaceCaps},
}

func knownSpace(space string) int {
	if len(space) < len(SpacePIDF) || space[:len(SpacePIDF)] != SpacePIDF {
		return -1
	}
	for i := range known {
		if known[i].Space == space {
			return i
		}
	}
	return -1
}

// builder is a document that is being composed of parts of others.
type builder struct {
	root *xmltree.Element
	used [len(known)]bool
}

func newBuilder(entity string) *builder {
	b := &builder{root: xmltree.New(SpacePIDF, "", "presence")}
	b.root.Attrs = []xmltree.Attr{{Name: xmltree.Name{Local: "entity"}, Value: entity}}
	return b
}

// finish declares what was used.
func (b *builder) finish() *xmltree.Element {
	b.used[0] = true
	for i, used := range b.used {
		if used {
			b.root.Decls = append(b.root.Decls, known[i])
		}
	}
	return b.root
}

// element returns a new element of a known namespace.
func (b *builder) element(space, local string, content ...xmltree.Node) *xmltree.Element {
	i := knownSpace(space)
	b.used[i] = true
	e := xmltree.New(space, known[i].Prefix, local)
	for _, n := range content {
		if c, ok := n.(*xmltree.Element); ok {
			c.Parent = e
		}
	}
	e.Nodes = content
	return e
}

// copy returns a copy of an element with the prefixes of this document. Comments,
// processing instructions and white space between elements stay behind.
func (b *builder) copy(e *xmltree.Element) *xmltree.Element {
	c := &xmltree.Element{Name: e.Name, Prefix: e.Prefix}
	if i := knownSpace(e.Name.Space); i >= 0 {
		b.used[i] = true
		c.Prefix = known[i].Prefix
	}
	for _, d := range e.Decls {
		if d.Prefix != "" && knownSpace(d.Space) < 0 {
			c.Decls = append(c.Decls, d)
		}
	}
	if len(e.Attrs) > 0 {
		c.Attrs = append([]xmltree.Attr(nil), e.Attrs...)
	}
	b.copyNodes(c, e)
	return c
}

func (b *builder) copyNodes(to, from *xmltree.Element) {
	elements := 0
	for range from.Elements() {
		elements++
	}
	for _, n := range from.Nodes {
		switch n := n.(type) {
		case *xmltree.Element:
			if to.Nodes == nil {
				to.Nodes = make([]xmltree.Node, 0, elements)
			}
			child := b.copy(n)
			child.Parent = to
			to.Nodes = append(to.Nodes, child)
		case xmltree.Text:
			if elements == 0 || !blank(string(n)) {
				to.Nodes = append(to.Nodes, n)
			}
		}
	}
}

func blank(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}
