package dialoginfo

import (
	"cmp"
	"context"
	"slices"
	"time"

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
	var dialogs []dialog
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
			if slices.ContainsFunc(dialogs[:from], func(have dialog) bool { return same(have.Element, e, false) }) {
				continue
			}
			dialogs = append(dialogs, shown(e, &pub, ids))
		}
	}
	slices.SortStableFunc(dialogs, func(a, b dialog) int { return cmp.Compare(attr(a.Element, "id"), attr(b.Element, "id")) })
	return event.State{Value: dialogs}, nil
}

// dialog is one of the state.
type dialog struct {
	*xmltree.Element           // without duration
	since            time.Time // when it began, zero if that is not known or it is over
}

// shown is a dialog as it goes into the document, its id unique there. How long it
// has been there counts from when it was published.
func shown(published *xmltree.Element, pub *event.Publication, ids map[string]bool) dialog {
	d := dialog{Element: published.Clone()}
	if lasts, ok := durationOf(published); ok && stateOf(published) != "terminated" {
		d.since = pub.Changed.Add(-lasts)
	}
	for e := d.Child(Space, "duration"); e != nil; e = d.Child(Space, "duration") {
		d.Remove(e)
	}
	id := attr(d.Element, "id")
	for ids[id] {
		id += "-" + pub.ID
	}
	ids[id] = true
	d.SetAttr("", "id", id)
	return d
}

// Body implements event.Package.
func (p *Package) Body(_ context.Context, resource sip.AOR, s event.State, v event.View) (event.Body, error) {
	dialogs, _ := s.Value.([]dialog)
	var times event.Times
	root := envelope(resource.String())
	switch v.Class {
	case "":
		want := parseSelection(v.Params)
		for _, d := range dialogs {
			if want.matches(d.Element) {
				e := described(d.Element, want.sessions)
				if !d.since.IsZero() {
					setDuration(e, times.Since(d.since))
				}
				root.Append(e)
			}
		}
	case ClassOffline:
	default: // what is not known is the least
		if slices.ContainsFunc(dialogs, func(d dialog) bool { return stateOf(d.Element) != "terminated" }) {
			root.Append(virtual())
		}
	}
	return times.Body(Type, root.Document()), nil
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
func described(whole *xmltree.Element, sessions bool) *xmltree.Element {
	e := whole.Clone()
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
