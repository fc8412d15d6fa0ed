package presence

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xmltree"
)

// composed is the Value of a State.
type composed struct {
	doc   *xmltree.Element
	given []*xmltree.Element // what shareNotes gave notes
	had   bool               // a person before that
}

// unshared returns a copy of the document as it was before notes were shared.
func (c *composed) unshared() *xmltree.Element {
	var made *xmltree.Element
	if !c.had {
		made = c.doc.Child(SpaceModel, "person")
	}
	return unshareNotes(c.doc, c.given, made)
}

// Compose implements event.Package.
func (p *Package) Compose(ctx context.Context, resource sip.AOR, publications []event.Publication) (event.State, error) {
	c := composer{resource: resource, now: time.Now(), b: newBuilder(resource.String())}
	c.order(publications)
	if p.o.HardState != nil {
		if err := c.hard(ctx, p.o.HardState); err != nil {
			return event.State{}, err
		}
	}
	for i := range c.sources {
		c.tuples(&c.sources[i])
	}
	if p.o.Locations != nil && !c.says {
		if err := c.hint(ctx, p.o.Locations); err != nil {
			return event.State{}, err
		}
	}
	if !c.hasBasic() {
		c.parts = append(c.parts, c.closed(c.unique(closedID, "")))
	}
	slices.SortStableFunc(c.parts, func(a, b part) int { return cmp.Compare(a.rank, b.rank) })
	c.assemble()
	v := &composed{had: c.b.root.Child(SpaceModel, "person") != nil}
	if v.given = shareNotes(c.b.root); len(v.given) > 0 {
		c.b.used[knownSpace(SpaceModel)] = true
	}
	v.doc = c.b.finish()
	return event.State{Value: v, Until: c.until}, nil
}

// offline is the document of a user who never published and is not registered.
func offline(resource sip.AOR) *xmltree.Element {
	c := composer{resource: resource, b: newBuilder(resource.String())}
	adopt(c.b.root, []xmltree.Node{c.closed(closedID).tuple})
	return c.b.finish()
}

// composer makes one document.
type composer struct {
	resource sip.AOR
	now      time.Time
	until    time.Time // the first moment at which the document changes by itself
	b        *builder

	sources []source // oldest publication first, hard state last
	parts   []part
	ids     []string // that are taken
	says    bool     // a publication that counts says open or closed
}

// source is a publication.
type source struct {
	*event.Publication
	doc  *Document
	hard bool // no device published it
}

// part is a tuple of the document.
type part struct {
	tuple *xmltree.Element
	rank  rank
}

type rank uint8

const (
	rankOpen rank = iota
	rankClosed
	rankNone // without basic status
)

const (
	personID = "person"
	closedID = "closed"
)

func (c *composer) order(publications []event.Publication) {
	c.ids = append(make([]string, 0, 8), personID)
	c.sources = make([]source, 0, len(publications))
	for i := range publications {
		pub := &publications[i]
		if d, ok := pub.Parsed.(*Document); ok {
			c.sources = append(c.sources, source{Publication: pub, doc: d})
		}
	}
	slices.SortStableFunc(c.sources, func(a, b source) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
}

// changesAt notes a moment at which the document changes by itself.
func (c *composer) changesAt(t time.Time) {
	if t.After(c.now) && (c.until.IsZero() || t.Before(c.until)) {
		c.until = t
	}
}

// tuples adds those of a publication.
func (c *composer) tuples(s *source) {
	for _, t := range s.doc.Tuples {
		id, _ := t.Attr("", "id")
		if s.hard && slices.Contains(c.ids, id) && id != personID {
			continue
		}
		id = c.unique(id, s.ID)
		pt := part{tuple: c.tuple(t, id), rank: rankNone}
		if basic := pt.tuple.Child(SpacePIDF, "status").Child(SpacePIDF, "basic"); basic != nil {
			c.says = c.says || !s.hard
			pt.rank = rankClosed
			if strings.TrimSpace(basic.Text()) == "open" {
				pt.rank = rankOpen
			}
		}
		c.parts = append(c.parts, pt)
	}
}

func (c *composer) hasBasic() bool {
	return slices.ContainsFunc(c.parts, func(p part) bool { return p.rank != rankNone })
}

// unique returns the id, or one made of it and what tells its owner apart if it is
// taken (RFC 3863 §4.1.2).
func (c *composer) unique(id, owner string) string {
	base := id
	for n := 0; slices.Contains(c.ids, id); n++ {
		id = base + "-" + short(owner)
		if n > 0 {
			id += "-" + strconv.Itoa(n)
		}
	}
	c.ids = append(c.ids, id)
	return id
}

// short makes few characters of an identifier, which can't be read back from them.
func short(s string) string {
	h := fnv.New32a()
	h.Write([]byte(s))
	return strconv.FormatUint(uint64(h.Sum32()), 36)
}

// tuple returns a published tuple as watchers see it, in the order of RFC 3863
// §4.4: status, extensions, contact, notes, timestamp.
func (c *composer) tuple(published *xmltree.Element, id string) *xmltree.Element {
	t := &xmltree.Element{Name: published.Name}
	for _, a := range published.Attrs {
		if a.Name == (xmltree.Name{Local: "id"}) {
			a.Value = id
		}
		t.Attrs = append(t.Attrs, a)
	}
	status := c.status(published)
	nodes := make([]xmltree.Node, 1, len(published.Nodes)+1)
	nodes[0] = status
	var contact, stamp *xmltree.Element
	var notes []xmltree.Node
	for e := range published.Elements() {
		switch {
		case e.Is(SpacePIDF, "status"):
		case e.Is(SpacePIDF, "contact"):
			contact = e
		case e.Is(SpacePIDF, "note"):
			notes = append(notes, c.b.copy(e))
		case e.Is(SpacePIDF, "timestamp"):
			stamp = e
		case e.Is(SpaceTimed, "timed-status") && c.covers(e):
		default:
			nodes = append(nodes, c.b.copy(e))
		}
	}
	nodes = append(append(nodes, c.contact(contact)), notes...)
	if stamp != nil {
		nodes = append(nodes, c.b.copy(stamp))
	}
	adopt(t, nodes)
	return t
}

func adopt(parent *xmltree.Element, nodes []xmltree.Node) {
	for _, n := range nodes {
		if e, ok := n.(*xmltree.Element); ok {
			e.Parent = parent
		}
	}
	parent.Nodes = nodes
}

// status returns the status of now, basic first.
func (c *composer) status(tuple *xmltree.Element) *xmltree.Element {
	s := c.b.copy(tuple.Child(SpacePIDF, "status"))
	for e := range tuple.Children(SpaceTimed, "timed-status") {
		if c.covers(e) {
			c.override(s, e)
		}
	}
	for i, n := range s.Nodes {
		if e, ok := n.(*xmltree.Element); ok && e.Is(SpacePIDF, "basic") {
			copy(s.Nodes[1:i+1], s.Nodes[:i])
			s.Nodes[0] = e
			break
		}
	}
	return s
}

// covers reports whether a timed status is in force (RFC 4481 §3).
func (c *composer) covers(timed *xmltree.Element) bool {
	from, _ := timeAttr(timed, "from")
	until, ended := timeAttr(timed, "until")
	c.changesAt(from)
	if ended {
		c.changesAt(until)
	}
	return !from.After(c.now) && (!ended || until.After(c.now))
}

// override puts a timed status in the place of what the status says of the same.
func (c *composer) override(status, timed *xmltree.Element) {
	for e := range timed.Elements() {
		next := c.b.copy(e)
		if e.Is(SpaceTimed, "basic") {
			next = c.b.element(SpacePIDF, "basic", xmltree.Text(strings.TrimSpace(e.Text())))
		} else if e.Is(SpaceTimed, "note") {
			continue // status holds no notes (RFC 3863 §4.1.3)
		}
		if old := status.Child(next.Name.Space, next.Name.Local); old != nil {
			status.Remove(old)
		}
		status.Append(next)
	}
}

// contact returns the contact of a tuple: the presentity itself where a client
// wrote a SIP address, which is that of a device.
func (c *composer) contact(published *xmltree.Element) *xmltree.Element {
	if published == nil {
		return c.b.element(SpacePIDF, "contact", xmltree.Text(c.resource.String()))
	}
	e := c.b.copy(published)
	scheme, _, ok := strings.Cut(strings.TrimSpace(e.Text()), ":")
	if !ok || strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips") {
		e.SetText(c.resource.String())
	}
	return e
}

// basic returns a tuple of which no more is known.
func (c *composer) basic(id, basic string) *xmltree.Element {
	t := c.b.element(SpacePIDF, "tuple",
		c.b.element(SpacePIDF, "status", c.b.element(SpacePIDF, "basic", xmltree.Text(basic))),
		c.contact(nil))
	t.Attrs = []xmltree.Attr{{Name: xmltree.Name{Local: "id"}, Value: id}}
	return t
}

func (c *composer) closed(id string) part {
	return part{tuple: c.basic(id, "closed"), rank: rankClosed}
}

// hint adds what registration tells: somebody who is registered can be reached
// (RFC 3856 §7.2). Addresses of devices are not told.
func (c *composer) hint(ctx context.Context, l Locations) error {
	bindings, err := l.Lookup(ctx, c.resource)
	if err != nil {
		return fmt.Errorf("registration of %s: %w", c.resource, err)
	}
	for i := range bindings {
		c.changesAt(bindings[i].Expires)
		id := c.unique("r"+short(bindings[i].ID), bindings[i].ID)
		t := c.basic(id, "open")
		if caps := c.servcaps(&bindings[i]); caps != nil {
			t.InsertAt(1, caps) // behind the status
		}
		c.parts = append(c.parts, part{tuple: t, rank: rankOpen})
	}
	return nil
}
