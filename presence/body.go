package presence

import (
	"context"
	"strings"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xmltree"
)

// Body implements event.Package.
func (p *Package) Body(_ context.Context, resource sip.AOR, s event.State, v event.View) (event.Body, error) {
	doc := p.view(resource, s, v.Class)
	if v.Filter != "" {
		// RFC 4660 §5.3.1: without content if nothing is let through.
		if doc = filtered(doc, v.Filter); len(doc.Nodes) == 0 {
			return event.Body{Version: -1}, nil
		}
	}
	b := event.Body{Type: v.Type, Version: -1}
	switch v.Type {
	case TypeDiff:
		b = numberedBody(numbered("pidf-full", doc))
	case TypeXPIDF:
		b.Bytes = xpidf(resource, doc)
	default:
		b.Type, b.Bytes = TypePIDF, doc.Document()
	}
	return b, nil
}

// view returns the document that a class sees. It must not be changed.
func (p *Package) view(resource sip.AOR, s event.State, class string) *xmltree.Element {
	c, ok := s.Value.(*composed)
	switch {
	case !ok || class == ClassOffline:
		return offline(resource)
	case class == "":
		return c.doc
	case p.transform == nil:
		return offline(resource) // nobody can tell what the class may see
	}
	none := offline(resource)
	doc := p.transform.Transform(class, c.unshared())
	if doc == nil {
		return none
	}
	if doc.Child(SpacePIDF, "tuple") == nil { // the person may be seen, but no service
		doc.InsertAt(0, none.Child(SpacePIDF, "tuple").Clone())
	}
	shareNotes(doc)
	return doc
}

// xpidf writes a document of the format from before PIDF (draft-rosenberg-impp-pidf-00)
// that old phones ask for. It has room for one status.
func xpidf(resource sip.AOR, doc *xmltree.Element) []byte {
	status, substatus := summary(doc)
	address := &xmltree.Element{Name: xmltree.Name{Local: "address"}}
	address.SetAttr("", "uri", resource.String()+";user=ip")
	address.SetAttr("", "priority", "0.800000")
	for _, s := range [...][3]string{{"status", "status", status}, {"msnsubstatus", "substatus", substatus}} {
		e := &xmltree.Element{Name: xmltree.Name{Local: s[0]}}
		e.SetAttr("", s[1], s[2])
		address.Append(e)
	}
	presentity := &xmltree.Element{Name: xmltree.Name{Local: "presentity"}}
	presentity.SetAttr("", "uri", resource.String()+";method=SUBSCRIBE")
	atom := &xmltree.Element{Name: xmltree.Name{Local: "atom"}}
	atom.SetAttr("", "id", "1")
	atom.Append(address)
	root := &xmltree.Element{Name: xmltree.Name{Local: "presence"}}
	root.Append(presentity, atom)
	const head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" +
		"<!DOCTYPE presence PUBLIC \"-//IETF//DTD RFCxxxx XPIDF 1.0//EN\" \"xpidf.dtd\">\n"
	return append(root.AppendTo([]byte(head)), '\n')
}

// summary returns what is left of a document in the words of xpidf.
func summary(doc *xmltree.Element) (status, substatus string) {
	open := false
	if t := doc.Child(SpacePIDF, "tuple"); t != nil {
		if s := t.Child(SpacePIDF, "status"); s != nil {
			if basic := s.Child(SpacePIDF, "basic"); basic != nil {
				open = strings.TrimSpace(basic.Text()) == "open"
			}
		}
	}
	if !open {
		return "closed", "offline"
	}
	person := doc.Child(SpaceModel, "person")
	if person == nil {
		return "open", "online"
	}
	activities := person.Child(SpaceRPID, "activities")
	if activities == nil {
		return "open", "online"
	}
	for e := range activities.Elements() {
		switch e.Name.Local {
		case "on-the-phone":
			return "inuse", "onthephone"
		case "busy", "meeting", "appointment", "presentation", "performance":
			return "open", "busy"
		case "away", "permanent-absence", "sleeping", "vacation", "holiday", "travel", "steering":
			return "open", "away"
		case "meal":
			return "open", "outtolunch"
		}
	}
	return "open", "online"
}
