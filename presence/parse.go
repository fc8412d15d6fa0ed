package presence

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"rollcall/sip"
	"rollcall/xmltree"
)

// Limits of a published document. More is answered 400.
const (
	MaxBytes      = 64 << 10
	MaxComponents = 100 // elements below the root: tuples, persons, devices, extensions
	MaxNotes      = 100 // in the whole document
	MaxID         = 128 // bytes of an id
)

// Document is a presence document that has been checked. It is never changed.
type Document struct {
	Root    *xmltree.Element
	Tuples  []*xmltree.Element
	Persons []*xmltree.Element
	Devices []*xmltree.Element
	Rest    []*xmltree.Element // notes and extensions below the root
}

// ParseDocument reads a presence document about the resource. The error is for who
// sent it.
func ParseDocument(resource sip.AOR, body []byte) (*Document, error) {
	if len(body) == 0 {
		return nil, errors.New("presence document is empty")
	}
	root, err := xmltree.Parse(body, xmltree.Limits{Bytes: MaxBytes})
	if err != nil {
		return nil, err
	}
	return check(resource, root)
}

// check sorts what stands in a document and looks whether it may be composed.
func check(resource sip.AOR, root *xmltree.Element) (*Document, error) {
	if !root.Is(SpacePIDF, "presence") {
		return nil, errors.New("root is not presence of " + SpacePIDF)
	}
	entity, _ := root.Attr("", "entity")
	if !isEntity(entity, resource) {
		return nil, fmt.Errorf("entity %.80q is not %s", entity, resource)
	}
	d := &Document{Root: root}
	ids := make([]string, 0, 8)
	components := 0
	for e := range root.Elements() {
		if components++; components > MaxComponents {
			return nil, fmt.Errorf("more than %d tuples and other elements below the root", MaxComponents)
		}
		part := &d.Rest
		switch {
		case e.Is(SpacePIDF, "tuple"):
			part = &d.Tuples
			if err := checkTuple(e); err != nil {
				return nil, err
			}
		case e.Is(SpaceModel, "person"):
			part = &d.Persons
		case e.Is(SpaceModel, "device"):
			part = &d.Devices
		}
		*part = append(*part, e)
		if part == &d.Rest {
			continue
		}
		var err error
		if ids, err = checkID(e, ids); err != nil {
			return nil, err
		}
	}
	notes := 0
	for e := range root.All() {
		if e.Name.Local == "note" {
			if notes++; notes > MaxNotes {
				return nil, fmt.Errorf("more than %d notes", MaxNotes)
			}
		}
	}
	return d, nil
}

// isEntity reports whether the entity names the resource (RFC 3863 §4.1.1, RFC
// 3856 §5).
func isEntity(entity string, resource sip.AOR) bool {
	if entity == resource.String() {
		return true
	}
	entity = strings.TrimSpace(entity)
	if scheme, rest, ok := strings.Cut(entity, ":"); ok && strings.EqualFold(scheme, "pres") {
		entity = "sip:" + rest
	}
	aor, err := sip.ParseAORString(entity)
	return err == nil && aor == resource
}

// checkID looks at the id of a component, which is unique in the document (RFC
// 3863 §4.1.2, RFC 4479 §5.1.2). A tuple must have one; a person or device without
// it is taken, as clients forget it and nothing refers to it.
func checkID(e *xmltree.Element, ids []string) ([]string, error) {
	id, _ := e.Attr("", "id")
	switch {
	case id == "" && e.Name.Local == "tuple":
		return nil, errors.New("tuple without id")
	case id == "":
	case len(id) > MaxID:
		return nil, fmt.Errorf("id longer than %d bytes", MaxID)
	}
	for _, other := range ids {
		if id != "" && id == other {
			return nil, fmt.Errorf("id %.40q stands twice", id)
		}
	}
	return append(ids, id), nil
}

// checkTuple looks for what a tuple must have (RFC 3863 §4.1.2).
func checkTuple(tuple *xmltree.Element) error {
	status := 0
	for e := range tuple.Elements() {
		switch {
		case e.Is(SpacePIDF, "status"):
			status++
			if basic := e.Child(SpacePIDF, "basic"); basic != nil && !isBasic(basic.Text()) {
				return errors.New("basic is neither open nor closed")
			}
		case e.Is(SpaceTimed, "timed-status"):
			if err := checkTimed(e); err != nil {
				return err
			}
		}
	}
	if status != 1 {
		return fmt.Errorf("tuple with %d status elements", status)
	}
	return nil
}

func isBasic(s string) bool {
	s = strings.TrimSpace(s)
	return s == "open" || s == "closed"
}

// checkTimed looks at the times of a timed status (RFC 4481 §5).
func checkTimed(e *xmltree.Element) error {
	if _, ok := timeAttr(e, "from"); !ok {
		return errors.New("timed-status without a date and time in from")
	}
	if _, ok := e.Attr("", "until"); ok {
		if _, ok := timeAttr(e, "until"); !ok {
			return errors.New("timed-status without a date and time in until")
		}
	}
	if basic := e.Child(SpaceTimed, "basic"); basic != nil && !isBasic(basic.Text()) {
		return errors.New("basic of timed-status is neither open nor closed")
	}
	return nil
}

func timeAttr(e *xmltree.Element, name string) (time.Time, bool) {
	v, _ := e.Attr("", name)
	return parseTime(v)
}

// parseTime reads a date and time (RFC 3339 §5.6, which RFC 3863 §4.1.7 wants).
func parseTime(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(s))
	return t, err == nil
}
