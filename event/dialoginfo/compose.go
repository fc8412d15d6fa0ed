package dialoginfo

import (
	"cmp"
	"context"
	"slices"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xmltree"
)

// maxComposed bounds the dialogs of one document, whatever is published.
const maxComposed = MaxDialogs

// Compose implements event.Package. A dialog of which several tell, as a telephone
// and its PBX, is what was published last; the id of a dialog that another has too
// gets a suffix.
func (p *Package) Compose(_ context.Context, _ sip.AOR, publications []event.Publication) (event.State, error) {
	list := slices.SortedFunc(slices.Values(publications), func(a, b event.Publication) int {
		return cmp.Or(b.Changed.Compare(a.Changed), cmp.Compare(a.ID, b.ID))
	})
	var dialogs []*xmltree.Element
	ids := map[string]bool{}
	for _, pub := range list {
		d, ok := pub.Parsed.(*Document)
		if !ok {
			continue
		}
		from := len(dialogs)
		for _, e := range d.Dialogs {
			if len(dialogs) == maxComposed {
				break
			}
			if slices.ContainsFunc(dialogs[:from], func(have *xmltree.Element) bool { return same(have, e, false) }) {
				continue
			}
			dialogs = append(dialogs, shown(e, pub.ID, ids))
		}
	}
	slices.SortStableFunc(dialogs, func(a, b *xmltree.Element) int { return cmp.Compare(attr(a, "id"), attr(b, "id")) })
	return event.State{Value: dialogs}, nil
}

// shown is a dialog as it goes into the document, its id unique there.
func shown(dialog *xmltree.Element, publication string, ids map[string]bool) *xmltree.Element {
	e := dialog.Clone()
	for d := e.Child(Space, "duration"); d != nil; d = e.Child(Space, "duration") {
		e.Remove(d)
	}
	id := attr(e, "id")
	for ids[id] {
		id += "-" + publication
	}
	ids[id] = true
	e.SetAttr("", "id", id)
	return e
}

// Body implements event.Package.
func (p *Package) Body(_ context.Context, resource sip.AOR, s event.State, v event.View) (event.Body, error) {
	dialogs, _ := s.Value.([]*xmltree.Element)
	root := envelope(resource.String())
	switch v.Class {
	case "":
		want := parseSelection(v.Params)
		for _, e := range dialogs {
			if want.matches(e) {
				root.Append(described(e, want.sessions))
			}
		}
	case ClassOffline:
	default: // what is not known is the least
		if slices.ContainsFunc(dialogs, func(e *xmltree.Element) bool { return stateOf(e) != "terminated" }) {
			root.Append(virtual())
		}
	}
	return numbered(root), nil
}

// virtual is the dialog that stands for all (RFC 4235 §3.7.2: "confirmed" is
// recommended in all cases).
func virtual() *xmltree.Element {
	e := xmltree.New(Space, "", "dialog")
	e.SetAttr("", "id", "call")
	state := xmltree.New(Space, "", "state")
	state.SetText("confirmed")
	e.Append(state)
	return e
}

// described is a copy of the dialog, session descriptions only if they are asked
// for (RFC 4235 §4.1.6.3).
func described(dialog *xmltree.Element, sessions bool) *xmltree.Element {
	e := dialog.Clone()
	if sessions {
		return e
	}
	for _, side := range [...]string{"local", "remote"} {
		part := e.Child(Space, side)
		if part == nil {
			continue
		}
		for d := part.Child(Space, "session-description"); d != nil; d = part.Child(Space, "session-description") {
			part.Remove(d)
		}
	}
	return e
}
