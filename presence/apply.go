package presence

import (
	"strconv"
	"strings"

	"rollcall/event"
	"rollcall/xmltree"
)

// filtered returns what a filter lets through of a document, which is not changed
// (RFC 4660 §5.3.1). The result is valid: what an element can't be without stays
// with it (RFC 4661 §3.5.1, §3.5.2).
func filtered(doc *xmltree.Element, text string) *xmltree.Element {
	filters, err := parseFilters([]byte(text))
	if err != nil {
		return doc // ParseFilter took it, so this does not happen
	}
	entity, _ := doc.Attr("", "entity")
	f := applying(filters, entity)
	if f == nil || len(f.include) == 0 && len(f.exclude) == 0 {
		return doc
	}
	m := marks{
		whole: map[*xmltree.Element]bool{}, part: map[*xmltree.Element]bool{}, out: map[*xmltree.Element]bool{},
		attrs: map[attrOf]bool{}, outAttrs: map[attrOf]bool{},
	}
	if len(f.include) == 0 {
		m.whole[doc] = true
	}
	for i := range f.include {
		m.include(doc, &f.include[i])
	}
	for i := range f.exclude {
		m.exclude(doc, &f.exclude[i])
	}
	return m.build(doc, m.whole[doc])
}

// marks tell what happens to the parts of a document.
type marks struct {
	whole           map[*xmltree.Element]bool // with all below
	part            map[*xmltree.Element]bool // for what is below: true if with attributes and text
	out             map[*xmltree.Element]bool // with all below
	attrs, outAttrs map[attrOf]bool
}

type attrOf struct {
	e    *xmltree.Element
	name xmltree.Name
}

// some marks an element of which something below is included, and lets it be a part that is.
func (m *marks) some(e *xmltree.Element) {
	if !m.part[e] {
		m.part[e] = false
	}
}

func (m *marks) include(doc *xmltree.Element, s *selector) {
	s.elements(doc, func(e *xmltree.Element) {
		switch {
		case s.space != "":
			m.part[e] = true
		case s.attr != nil:
			m.attrs[attrOf{e, *s.attr}] = true
			m.some(e)
		default:
			m.whole[e] = true
		}
		for p := e; p != doc && p.Parent != nil; p = p.Parent {
			m.some(p.Parent)
		}
	})
}

func (m *marks) exclude(doc *xmltree.Element, s *selector) {
	s.elements(doc, func(e *xmltree.Element) {
		if s.attr != nil {
			m.outAttrs[attrOf{e, *s.attr}] = true
		} else if e != doc && !mandatory(e) {
			m.out[e] = true
		}
	})
}

// mandatory reports whether the parent is not valid without the element.
func mandatory(e *xmltree.Element) bool {
	return e.Is(SpacePIDF, "status") || e.Is(SpaceModel, "deviceID")
}

func mandatoryAttr(e *xmltree.Element, a xmltree.Name) bool {
	switch a.Local {
	case "id", "entity", "from":
		return a.Space == "" && (e.Name.Space == SpacePIDF || e.Name.Space == SpaceModel || e.Name.Space == SpaceTimed)
	}
	return false
}

// build copies the element with what stays of it.
func (m *marks) build(e *xmltree.Element, whole bool) *xmltree.Element {
	own := whole || m.part[e]
	c := &xmltree.Element{Name: e.Name, Prefix: e.Prefix, Decls: e.Decls}
	for _, a := range e.Attrs {
		key := attrOf{e, a.Name}
		if mandatoryAttr(e, a.Name) || (own || m.attrs[key]) && !m.outAttrs[key] {
			c.Attrs = append(c.Attrs, a)
		}
	}
	var nodes []xmltree.Node
	for _, n := range e.Nodes {
		child, ok := n.(*xmltree.Element)
		if !ok {
			if own {
				nodes = append(nodes, n)
			}
			continue
		}
		if m.out[child] {
			continue
		}
		_, passed := m.part[child]
		childWhole := whole || m.whole[child] || !passed && mandatory(child)
		if childWhole || passed {
			nodes = append(nodes, m.build(child, childWhole))
		}
	}
	adopt(c, nodes)
	return c
}

// Triggers implements event.Filterable. The bodies are best those of a view without
// the filter: triggers look at what was there before filtering (RFC 4661 §3.6.1).
func (p *Package) Triggers(text string, prev, next event.Body) bool {
	filters, err := parseFilters([]byte(text))
	if err != nil {
		return true
	}
	a, errA := parseOwn(prev.Bytes)
	b, errB := parseOwn(next.Bytes)
	if errA != nil || errB != nil || !isPresence(a) || !isPresence(b) {
		return true
	}
	entity, _ := b.Attr("", "entity")
	f := applying(filters, entity)
	if f == nil || len(f.triggers) == 0 {
		return true // all changes are told (RFC 4660 §5.3)
	}
	for _, all := range f.triggers {
		active := true
		for i := range all {
			active = active && all[i].active(a, b)
		}
		if active {
			return true
		}
	}
	return false
}

// isPresence reports whether a body is a presence document, and makes the root of a
// pidf-full what selections expect.
func isPresence(root *xmltree.Element) bool {
	if root.Is(SpaceDiff, "pidf-full") {
		root.Name = xmltree.Name{Space: SpacePIDF, Local: "presence"}
	}
	return root.Is(SpacePIDF, "presence")
}

// active reports whether the condition holds for a change.
func (c *condition) active(prev, next *xmltree.Element) bool {
	before, after := c.values(prev), c.values(next)
	switch c.kind {
	case "added":
		return anyMissing(after, before)
	case "removed":
		return anyMissing(before, after)
	}
	for key, now := range after {
		if was, ok := before[key]; ok && was != now && c.wants(was, now) {
			return true
		}
	}
	return false
}

func anyMissing(of, in map[string]string) bool {
	for key := range of {
		if _, ok := in[key]; !ok {
			return true
		}
	}
	return false
}

// wants looks at the attributes of changed (RFC 4661 §3.6.1). Case does not count:
// its examples write the values of basic in capitals.
func (c *condition) wants(was, now string) bool {
	if c.any {
		return true
	}
	if c.from != "" && !strings.EqualFold(c.from, was) || c.to != "" && !strings.EqualFold(c.to, now) {
		return false
	}
	if c.by == "" {
		return true
	}
	by, _ := decimal(c.by)
	a, okA := decimal(was)
	b, okB := decimal(now)
	return okA && okB && (b-a >= by || a-b >= by)
}

// values returns the values of what is selected, by what tells each apart from
// others in two versions of a document.
func (c *condition) values(root *xmltree.Element) map[string]string {
	values := map[string]string{}
	c.at.elements(root, func(e *xmltree.Element) {
		var v string
		switch {
		case c.at.attr != nil:
			v, _ = e.Attr(c.at.attr.Space, c.at.attr.Local)
		case !hasElements(e):
			v = strings.TrimSpace(e.Text())
		default:
			v = e.String()
		}
		values[instance(e)] = v
	})
	return values
}

func hasElements(e *xmltree.Element) bool {
	for range e.Elements() {
		return true
	}
	return false
}

// instance names an element by the way from the root: by id where there is one,
// else by position among those of its name.
func instance(e *xmltree.Element) string {
	var b strings.Builder
	for ; e.Parent != nil; e = e.Parent {
		b.WriteString(e.Name.Space + " " + e.Name.Local + " ")
		if id, ok := e.Attr("", "id"); ok {
			b.WriteString(id)
		} else {
			n := 0
			for s := range e.Parent.Children(e.Name.Space, e.Name.Local) {
				if s == e {
					break
				}
				n++
			}
			b.WriteString("#" + strconv.Itoa(n))
		}
		b.WriteByte('/')
	}
	return b.String()
}
