package presence

import (
	"slices"

	"rollcall/xmltree"
)

// shareNotes gives the person of a document the notes of a tuple, if it has none,
// and the first tuple those of the person: some clients show only the one, some
// write only the other. It returns what got notes, a person that it made among it.
// The first tuple alone, so that a long note does not grow with their number.
func shareNotes(doc *xmltree.Element) (given []*xmltree.Element) {
	person := doc.Child(SpaceModel, "person")
	if !hasNote(person) {
		for t := range doc.Children(SpacePIDF, "tuple") {
			if hasNote(t) {
				if person == nil {
					person = makePerson(doc)
				}
				copyNotes(person, t)
				given = append(given, person)
				break
			}
		}
	}
	if first := doc.Child(SpacePIDF, "tuple"); hasNote(person) && first != nil && !hasNote(first) {
		copyNotes(first, person)
		given = append(given, first)
	}
	return given
}

// unshareNotes returns a copy of a document without what shareNotes did to it:
// rules may let see the one place of a note and not the other.
func unshareNotes(doc *xmltree.Element, given []*xmltree.Element, made *xmltree.Element) *xmltree.Element {
	c := doc.Clone()
	drop := -1
	for _, e := range given {
		i := doc.Index(e)
		if e == made {
			drop = i
			continue
		}
		copied := c.Nodes[i].(*xmltree.Element)
		copied.Nodes = slices.DeleteFunc(copied.Nodes, func(n xmltree.Node) bool {
			note, ok := n.(*xmltree.Element)
			return ok && note.Is(e.Name.Space, "note") // it had none of its own
		})
	}
	if drop >= 0 {
		c.RemoveAt(drop)
	}
	return c
}

func hasNote(e *xmltree.Element) bool { return e != nil && e.Child(e.Name.Space, "note") != nil }

// makePerson puts a person where one stands: after tuples and notes.
func makePerson(doc *xmltree.Element) *xmltree.Element {
	at := 0
	for at < len(doc.Nodes) {
		if e, ok := doc.Nodes[at].(*xmltree.Element); ok && e.Name.Space != SpacePIDF {
			break
		}
		at++
	}
	person := emptyPerson()
	doc.InsertAt(at, person)
	return person
}

func emptyPerson() *xmltree.Element {
	p := xmltree.New(SpaceModel, known[knownSpace(SpaceModel)].Prefix, "person")
	p.Attrs = []xmltree.Attr{{Name: xmltree.Name{Local: "id"}, Value: personID}}
	return p
}

// copyNotes adds notes in front of the timestamp, which is last.
func copyNotes(to, from *xmltree.Element) {
	at := len(to.Nodes)
	if at > 0 {
		if last, ok := to.Nodes[at-1].(*xmltree.Element); ok && last.Is(to.Name.Space, "timestamp") {
			at--
		}
	}
	prefix := known[knownSpace(to.Name.Space)].Prefix
	for n := range from.Children(from.Name.Space, "note") {
		e := xmltree.New(to.Name.Space, prefix, "note")
		e.Attrs = slices.Clone(n.Attrs)
		e.SetText(n.Text())
		to.InsertAt(at, e)
		at++
	}
}
