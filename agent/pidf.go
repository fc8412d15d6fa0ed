package agent

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"rollcall/xmltree"
)

const (
	typePIDF   = "application/pidf+xml"
	spacePIDF  = "urn:ietf:params:xml:ns:pidf"            // RFC 3863 §4.1.1
	spaceModel = "urn:ietf:params:xml:ns:pidf:data-model" // RFC 4479 §5
	spaceRPID  = "urn:ietf:params:xml:ns:pidf:rpid"       // RFC 4480 §5.1
)

// tupleID is the same in every document that this agent publishes: a compositor
// that goes by it puts a new publication in the place of the last one, which
// nobody can modify any more, as its entity-tag is not kept. This server's takes an
// id without a digit for one that several devices may share.
const tupleID = "rollcall-publish-1"

// Presence is what a presence document says of a person, as far as a line can
// show it.
type Presence struct {
	// Basic is "open" if one of the services is open, else "closed" if one is;
	// empty if the document does not say (RFC 3863 §4.1.4).
	Basic string
	// Activities are what the person is doing, such as "busy" and "away" (RFC
	// 4480 §3.2).
	Activities []string
	// Note is the person's free text, else that of a service.
	Note string
}

// Word is the state in a word or a few: the activities of somebody who is open,
// "closed", or "unknown".
func (p Presence) Word() string {
	words := p.Activities
	if p.Basic == "closed" || len(words) == 0 {
		words = append([]string{p.Basic}, words...)
	}
	if words[0] == "" {
		words = append([]string{"unknown"}, words[1:]...)
	}
	return strings.Join(words, ", ")
}

func (p Presence) equal(o Presence) bool {
	return p.Word() == o.Word() && p.Note == o.Note
}

// document writes p about an address: the activities as what the person does, the
// note both there and at the service, as clients look in one place only.
func (p Presence) document(entity string) ([]byte, error) {
	if p.Basic != "open" && p.Basic != "closed" {
		return nil, fmt.Errorf("basic status %q is not open or closed", p.Basic)
	}
	if !utf8.ValidString(p.Note) || strings.ContainsFunc(p.Note, unicode.IsControl) || strings.ContainsAny(p.Note, "\ufffe\uffff") {
		return nil, errors.New("the note holds control characters or is not UTF-8")
	}
	root := xmltree.New(spacePIDF, "", "presence")
	root.Decls = []xmltree.Decl{{Space: spacePIDF}}
	root.SetAttr("", "entity", entity)
	tuple := xmltree.New(spacePIDF, "", "tuple")
	tuple.SetAttr("", "id", tupleID)
	status := xmltree.New(spacePIDF, "", "status")
	status.Append(text1(spacePIDF, "", "basic", p.Basic))
	tuple.Append(status)
	root.Append(tuple)
	person := xmltree.New(spaceModel, "dm", "person")
	if len(p.Activities) > 0 {
		root.Decls = append(root.Decls, xmltree.Decl{Prefix: "rpid", Space: spaceRPID})
		activities := xmltree.New(spaceRPID, "rpid", "activities")
		for _, name := range p.Activities {
			activities.Append(xmltree.New(spaceRPID, "rpid", name))
		}
		person.Append(activities)
	}
	if p.Note != "" {
		tuple.Append(text1(spacePIDF, "", "note", p.Note))
		person.Append(text1(spaceModel, "dm", "note", p.Note))
	}
	if len(person.Nodes) > 0 {
		root.Decls = append(root.Decls, xmltree.Decl{Prefix: "dm", Space: spaceModel})
		person.SetAttr("", "id", "person")
		root.Append(person)
	}
	return root.Document(), nil
}

func text1(space, prefix, local, text string) *xmltree.Element {
	e := xmltree.New(space, prefix, local)
	e.SetText(text)
	return e
}

// readPIDF reads a presence document (RFC 3863). What it does not know it passes
// over.
func readPIDF(body []byte) (Presence, error) {
	root, err := xmltree.Parse(body, xmltree.Limits{})
	if err != nil {
		return Presence{}, err
	}
	if !root.Is(spacePIDF, "presence") {
		return Presence{}, errors.New("not a presence document")
	}
	var p Presence
	var personNote, otherNote string
	first := func(note *string, text string) {
		if *note == "" {
			*note = strings.TrimSpace(text)
		}
	}
	for e := range root.All() {
		switch {
		case e.Is(spacePIDF, "basic"):
			if basic := strings.TrimSpace(e.Text()); basic == "open" || basic == "closed" && p.Basic == "" {
				p.Basic = basic
			}
		case e.Is(spaceRPID, "activities"):
			p.addActivities(e)
		case e.Is(spaceModel, "note") && e.Parent.Is(spaceModel, "person"):
			first(&personNote, e.Text())
		case e.Is(spacePIDF, "note"):
			first(&otherNote, e.Text())
		}
	}
	p.Note = personNote
	if p.Note == "" {
		p.Note = otherNote
	}
	return p, nil
}

// maxActivities bounds what a line shows.
const maxActivities = 8

func (p *Presence) addActivities(e *xmltree.Element) {
	for a := range e.Elements() {
		name := a.Name.Local
		if a.Is(spaceRPID, "other") { // it says in its text what it is
			name = strings.TrimSpace(a.Text())
		}
		// An RPID note is not an activity, and unknown says nothing.
		if name == "" || a.Is(spaceRPID, "note") || a.Is(spaceRPID, "unknown") || len(p.Activities) == maxActivities {
			continue
		}
		known := false
		for _, have := range p.Activities {
			known = known || have == name
		}
		if !known {
			p.Activities = append(p.Activities, name)
		}
	}
}
