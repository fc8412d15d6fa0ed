package presence

import (
	"slices"
	"strings"
	"time"

	"rollcall/xmltree"
)

// opinion is one description of a person, or one device, and how new it is.
type opinion struct {
	e     *xmltree.Element
	at    time.Time
	owner string // ID of the publication
}

// since returns when an element was true: its timestamp, unless the publisher's
// clock is ahead, else when it was published.
func since(e *xmltree.Element, changed time.Time) time.Time {
	stamp := e.Child(SpaceModel, "timestamp")
	if stamp == nil {
		return changed
	}
	t, ok := parseTime(stamp.Text())
	if !ok || t.After(changed) { // of hard state too, which changed at no time
		return changed
	}
	return t
}

// opinions returns the components that pick gives of all publications, the newest
// first.
func (c *composer) opinions(pick func(*Document) []*xmltree.Element) []opinion {
	var all []opinion
	for i := range c.sources {
		s := &c.sources[i]
		for _, e := range pick(s.doc) {
			all = append(all, opinion{e, since(e, s.Changed), s.ID})
		}
	}
	slices.SortStableFunc(all, func(a, b opinion) int { return b.at.Compare(a.at) })
	return all
}

// person makes one person of all, or returns nil if nothing is said of one. There
// is but one human behind a presentity (RFC 4479 §3.2).
func (c *composer) person() *xmltree.Element {
	all := c.opinions(func(d *Document) []*xmltree.Element { return d.Persons })
	if len(all) == 0 {
		return nil
	}
	c.b.used[knownSpace(SpaceModel)] = true
	p := emptyPerson()
	var notes, taken []xmltree.Node
	from := map[xmltree.Name]int{} // which opinion counts for elements of a name
	for _, substance := range [...]bool{true, false} {
		for i, o := range all {
			for e := range o.e.Elements() {
				if e.Is(SpaceModel, "timestamp") || hasSubstance(e) != substance || !c.inForce(e) {
					continue
				}
				if by, ok := from[e.Name]; ok && by != i {
					continue
				}
				from[e.Name] = i
				if e.Is(SpaceModel, "note") {
					notes = append(notes, c.b.copy(e))
				} else {
					taken = append(taken, c.b.copy(e))
				}
			}
		}
	}
	nodes := append(taken, notes...)
	if stamp := all[0].e.Child(SpaceModel, "timestamp"); stamp != nil {
		nodes = append(nodes, c.b.copy(stamp))
	}
	adopt(p, nodes)
	return p
}

// hasSubstance reports whether an element says anything. Some clients always send
// empty activities.
func hasSubstance(e *xmltree.Element) bool {
	if len(e.Attrs) > 0 {
		return true
	}
	for _, n := range e.Nodes {
		switch n := n.(type) {
		case *xmltree.Element:
			return true
		case xmltree.Text:
			if !blank(string(n)) {
				return true
			}
		}
	}
	return false
}

// inForce reports whether an element is true now, by its from and until (RFC 4480
// §3.1).
func (c *composer) inForce(e *xmltree.Element) bool {
	if from, ok := timeAttr(e, "from"); ok {
		c.changesAt(from)
		if from.After(c.now) {
			return false
		}
	}
	until, ok := timeAttr(e, "until")
	if !ok {
		return true
	}
	c.changesAt(until)
	return until.After(c.now)
}

// devices returns the newest description of each device (RFC 4479 §3.4).
func (c *composer) devices() []xmltree.Node {
	var nodes []xmltree.Node
	seen := map[string]bool{}
	for _, o := range c.opinions(func(d *Document) []*xmltree.Element { return d.Devices }) {
		if id := o.e.Child(SpaceModel, "deviceID"); id != nil {
			name := strings.TrimSpace(id.Text())
			if seen[name] {
				continue
			}
			seen[name] = true
		}
		d := c.b.copy(o.e)
		if id, ok := d.Attr("", "id"); ok {
			d.SetAttr("", "id", c.unique(id, o.owner))
		}
		nodes = append(nodes, d)
	}
	return nodes
}

// rest returns the notes and the extensions below the root, each once.
func (c *composer) rest() (notes, extensions []xmltree.Node) {
	add := func(to []xmltree.Node, e *xmltree.Element) []xmltree.Node {
		if slices.ContainsFunc(to, func(n xmltree.Node) bool { return n.(*xmltree.Element).EqualIgnoringSpace(e) }) {
			return to
		}
		return append(to, c.b.copy(e))
	}
	for i := range c.sources {
		s := &c.sources[i]
		for _, e := range s.doc.Rest {
			switch {
			case e.Is(SpacePIDF, "note"):
				notes = add(notes, e)
			default:
				extensions = add(extensions, e)
			}
		}
	}
	return notes, extensions
}

// assemble puts the document together in the order of RFC 3863 §4.4: tuples,
// notes, and what is of other namespaces.
func (c *composer) assemble() {
	notes, extensions := c.rest()
	nodes := make([]xmltree.Node, 0, len(c.parts)+len(notes)+len(extensions)+1)
	for _, p := range c.parts {
		nodes = append(nodes, p.tuple)
	}
	nodes = append(nodes, notes...)
	if person := c.person(); person != nil {
		nodes = append(nodes, person)
	}
	adopt(c.b.root, append(append(nodes, c.devices()...), extensions...))
}
