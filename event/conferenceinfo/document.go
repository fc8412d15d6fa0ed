package conferenceinfo

import (
	"errors"
	"slices"
	"strings"

	"rollcall/sip"
	"rollcall/xmltree"
)

// Space is the namespace of conference-info (RFC 4575 §4.2).
const Space = "urn:ietf:params:xml:ns:conference-info"

// MaxBytes is the size of a document, also of one that was put together.
const MaxBytes = 64 << 10

// States of elements (RFC 4575 §4.4).
const (
	full    = "full" // the default
	partial = "partial"
	deleted = "deleted"
)

func parse(body []byte) (*xmltree.Element, error) {
	root, err := xmltree.Parse(body, xmltree.Limits{Bytes: MaxBytes})
	if err != nil {
		return nil, err
	}
	if !root.Is(Space, "conference-info") {
		return nil, errors.New("root is not conference-info of " + Space)
	}
	if !valid(root) {
		return nil, errors.New("unknown state of an element")
	}
	return root, nil
}

func valid(root *xmltree.Element) bool {
	for e := range root.All() {
		if e.Name.Space != Space {
			continue
		}
		switch state(e) {
		case full, partial, deleted:
		default:
			return false
		}
	}
	return true
}

func state(e *xmltree.Element) string {
	if s, ok := e.Attr("", "state"); ok {
		return s
	}
	return full
}

// key names an element among its siblings of one name (RFC 4575 §4.5).
func key(e *xmltree.Element) string {
	switch e.Name.Local {
	case "user", "endpoint", "entry":
		k, _ := e.Attr("", "entity")
		return k
	case "media":
		k, _ := e.Attr("", "id")
		return k
	}
	return ""
}

// order is that of the children of conference-info in the schema (RFC 4575 §6).
var order = []string{"conference-description", "host-info", "conference-state", "users", "sidebars-by-ref", "sidebars-by-val"}

// merge applies the children of a partial element (RFC 4575 §4.6).
func merge(to, change *xmltree.Element) {
	for e := range change.Elements() {
		have := find(to, e)
		switch state(e) {
		case deleted:
			if have != nil {
				to.Remove(have)
			}
		case partial:
			if have != nil {
				merge(have, e)
				continue
			}
			fallthrough
		default:
			if have != nil {
				to.Replace(have, e.Clone())
			} else {
				to.InsertAt(place(to, e), e.Clone())
			}
		}
	}
}

func find(in, like *xmltree.Element) *xmltree.Element {
	for e := range in.Children(like.Name.Space, like.Name.Local) {
		if key(e) == key(like) {
			return e
		}
	}
	return nil
}

// place is where a new child belongs.
func place(in, child *xmltree.Element) int {
	if rank := slices.Index(order, child.Name.Local); rank >= 0 && in.Is(Space, "conference-info") {
		for i, n := range in.Nodes {
			if e, ok := n.(*xmltree.Element); ok && (slices.Index(order, e.Name.Local) > rank || e.Name.Space != Space) {
				return i
			}
		}
	}
	return len(in.Nodes)
}

// settle makes an element one of full state: what is deleted goes, and no state is
// left below it.
func settle(e *xmltree.Element) {
	for _, n := range slices.Clone(e.Nodes) {
		child, ok := n.(*xmltree.Element)
		switch {
		case !ok || child.Name.Space != Space:
		case state(child) == deleted:
			e.Remove(child)
		default:
			child.RemoveAttr("", "state")
			settle(child)
		}
	}
}

// participants are the accounts that take part: users with an endpoint that is not
// disconnected, or without any (RFC 4575 §5.6, §5.7.3). They are sorted.
func participants(root *xmltree.Element) []string {
	var out []string
	if root == nil {
		return nil
	}
	users := root.Child(Space, "users")
	if users == nil {
		return nil
	}
	for u := range users.Children(Space, "user") {
		entity, _ := u.Attr("", "entity")
		if uri, err := sip.ParseURI(entity); err == nil && present(u) {
			if aor, err := sip.ParseAOR(uri); err == nil {
				out = append(out, aor.String())
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func present(user *xmltree.Element) bool {
	away := false
	for e := range user.Children(Space, "endpoint") {
		s := e.Child(Space, "status")
		if s == nil || strings.TrimSpace(s.Text()) != "disconnected" {
			return true
		}
		away = true
	}
	return !away
}
