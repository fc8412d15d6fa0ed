package presence

import (
	"context"
	"strings"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xmltree"
)

// MayPublish implements event.Publishable: everybody for themselves, and for all
// whom the settings name.
func (p *Package) MayPublish(_ context.Context, publisher, resource sip.AOR) error {
	if publisher != resource && (p.o.Publishers == nil || !p.o.Publishers(publisher)) {
		return sip.NewError(sip.StatusForbidden, "Publish for yourself only")
	}
	return nil
}

// Parse implements event.Publishable. What it returns is a *Document.
func (p *Package) Parse(resource sip.AOR, typ string, body []byte, old *event.Publication) (any, string, []byte, error) {
	switch typ {
	case TypePIDF:
		d, err := ParseDocument(resource, body)
		if err != nil {
			return nil, "", nil, err
		}
		return d, "", nil, nil
	case TypeDiff:
		d, full, err := parsePartial(resource, body, old)
		if err != nil {
			return nil, "", nil, err
		}
		return d, TypePIDF, full, nil
	}
	return nil, "", nil, sip.NewError(sip.StatusUnsupportedMedia, "", sip.Field{Name: "Accept", Value: TypePIDF + ", " + TypeDiff})
}

// shared are tuple ids that stand in the program of a client: all its
// installations have them, two of one account too.
var shared = map[string]bool{
	"bs35r9f": true, // libpurple
	"t4109":   true, // baresip
	"sg89ae":  true, // the example of the drafts of PIDF, old clients
}

// minOwnID is the length below which an id is not taken for one that a device
// made up for itself.
const minOwnID = 5

// isOwnID reports whether a device may have made up an id for itself. One without
// a digit is a word out of a program.
func isOwnID(id string) bool {
	return len(id) >= minOwnID && strings.ContainsAny(id, "0123456789") && !shared[id]
}

// Replaces implements event.Publishable: a new publication makes void what the same
// device published before, and what has a tuple with its id, as after a restart of
// the device. Ids that devices may share say that only of what came from the same
// socket: baresip, when it starts, may publish twice before it has an entity-tag.
func (p *Package) Replaces(next, old *event.Publication) bool {
	if next.Publisher != old.Publisher {
		return false
	}
	if next.Device != "" && next.Device == old.Device {
		return true
	}
	a, okA := next.Parsed.(*Document)
	b, okB := old.Parsed.(*Document)
	if !okA || !okB {
		return false
	}
	for _, t := range a.Tuples {
		id, _ := t.Attr("", "id")
		own := isOwnID(id) || next.Source != "" && next.Source == old.Source
		if own && hasID(b.Tuples, id) {
			return true
		}
	}
	return false
}

func hasID(tuples []*xmltree.Element, id string) bool {
	for _, t := range tuples {
		if v, _ := t.Attr("", "id"); v == id {
			return true
		}
	}
	return false
}
