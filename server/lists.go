package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xcap"
	"rollcall/xmltree"
)

// nsLists is the namespace of resource lists (RFC 4826 §3.2).
const nsLists = "urn:ietf:params:xml:ns:resource-lists"

// nsServices is the namespace of rls-services (RFC 4826 §4.2).
const nsServices = "urn:ietf:params:xml:ns:rls-services"

// lists finds resource lists in the documents of users (RFC 4826 §4).
type lists struct{ documents *xcap.Documents }

var _ event.Lists = lists{}

// Observe has f told whose lists may have changed.
func (l lists) Observe(f func(owner sip.AOR)) {
	l.documents.Observe(func(c xcap.Change) {
		if c.AUID == xcap.ResourceLists || c.AUID == xcap.RLSServices {
			f(c.User)
		}
	})
}

// Members implements event.Lists. A list serves its owner alone (RFC 4662 §4.4).
func (l lists) Members(ctx context.Context, list, watcher sip.AOR) ([]event.Member, bool, error) {
	owner, service, err := l.documents.Service(ctx, list)
	if errors.Is(err, xcap.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if owner != watcher {
		return nil, true, sip.NewError(sip.StatusForbidden, "")
	}
	g := gathering{lists: l, ctx: ctx, owner: owner, seen: map[sip.AOR]bool{}, visited: map[*xmltree.Element]bool{}}
	if ref := service.Child(nsServices, "resource-list"); ref != nil {
		g.follow(ref.Text())
	} else if inline := service.Child(nsServices, "list"); inline != nil {
		g.list(inline, 0)
	}
	return g.members, true, g.err
}

// Parse implements event.Lists.
func (l lists) Parse(body []byte) ([]event.Member, error) {
	root, err := xmltree.Parse(body, xmltree.Limits{Bytes: maxInflated, Elements: 4 * event.MaxMembers})
	if err != nil {
		return nil, err
	}
	if !root.Is(nsLists, "resource-lists") {
		return nil, fmt.Errorf("body is %s, not resource-lists", root.Name.Local)
	}
	g := gathering{seen: map[sip.AOR]bool{}, visited: map[*xmltree.Element]bool{}} // no references (RFC 5367 §3)
	for e := range root.Children(nsLists, "list") {
		g.list(e, 0)
	}
	return g.members, g.err
}

// gathering collects the members of a list, each once, whatever it refers to.
type gathering struct {
	lists   lists
	ctx     context.Context
	owner   sip.AOR
	members []event.Member
	seen    map[sip.AOR]bool
	visited map[*xmltree.Element]bool // a list that contains itself ends here
	follows int
	err     error
}

// Limits of what one list may lead to.
const (
	maxListDepth   = 16
	maxListFollows = 64
)

func (g *gathering) list(e *xmltree.Element, depth int) {
	if g.visited[e] || depth > maxListDepth || len(g.members) > event.MaxMembers {
		return
	}
	g.visited[e] = true
	for x := range e.Elements() {
		switch x.Name.Local {
		case "entry":
			uri, _ := x.Attr("", "uri")
			g.entry(uri, x.Child(nsLists, "display-name"))
		case "list":
			g.list(x, depth+1)
		case "entry-ref":
			ref, _ := x.Attr("", "ref")
			g.follow(ref)
		case "external":
			ref, _ := x.Attr("", "anchor")
			g.follow(ref)
		}
	}
}

func (g *gathering) entry(uri string, name *xmltree.Element) {
	uri = strings.Replace(uri, "pres:", "sip:", 1) // RFC 3859: the presence URI of the same address
	aor, err := sip.ParseAORString(uri)
	if err != nil || g.seen[aor] { // what can't be subscribed to is passed over
		return
	}
	g.seen[aor] = true
	m := event.Member{AOR: aor}
	if name != nil {
		if m.Name = name.Text(); len(m.Name) > 256 {
			m.Name = ""
		}
	}
	g.members = append(g.members, m)
}

// follow goes to another document of this server.
func (g *gathering) follow(ref string) {
	if g.ctx == nil || g.follows >= maxListFollows {
		return
	}
	g.follows++
	e, doc, err := g.lists.documents.Lookup(g.ctx, strings.TrimSpace(ref), "/xcap")
	switch {
	case errors.Is(err, xcap.ErrNotFound), err == nil && doc.User != g.owner: // nobody reads another's contacts
	case err != nil:
		g.err = err
	case e.Name.Local == "entry":
		uri, _ := e.Attr("", "uri")
		g.entry(uri, e.Child(nsLists, "display-name"))
	default:
		g.list(e, 0)
	}
}
