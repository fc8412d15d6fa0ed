package presence

import (
	"errors"
	"fmt"
	"strings"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xmltree"
)

// TypeFilter is the body type of filters in SUBSCRIBE (RFC 4661 §3.1).
const TypeFilter = "application/simple-filter+xml"

const spaceFilter = "urn:ietf:params:xml:ns:simple-filter"

// Limits of a filter-set. More is answered 488.
const (
	maxFilters   = 16
	maxSelectors = 32 // in the whole set
	maxBindings  = 32
)

var (
	_ event.Filterable   = (*Package)(nil)
	_ event.MemberFilter = (*Package)(nil)
)

// ParseFilter implements event.Filterable. A *sip.Error tells the status: 415 for
// what is no filter, 488 for one that is not understood (RFC 4660 §5.4).
func (p *Package) ParseFilter(typ string, body []byte) error {
	if typ != TypeFilter {
		return sip.NewError(sip.StatusUnsupportedMedia, "", sip.Field{Name: "Accept", Value: TypeFilter})
	}
	_, err := parseFilters(body)
	return err
}

// ForMembers implements event.MemberFilter.
func (p *Package) ForMembers(text string, list sip.AOR) (string, error) {
	root, err := xmltree.Parse([]byte(text), xmltree.Limits{})
	if err != nil {
		return "", err
	}
	for e := range root.Children(spaceFilter, "filter") {
		uri, _ := e.Attr("", "uri")
		if aor, err := sip.ParseAORString(uri); err == nil && aor == list {
			e.RemoveAttr("", "uri")
		}
	}
	out := root.Document()
	_, err = parseFilters(out) // there may be two for all now
	return string(out), err
}

// filter is what one filter element says (RFC 4661 §3.4).
type filter struct {
	uri, domain string // what it applies to, both "" for the resource subscribed to

	include  []selector
	exclude  []selector
	triggers [][]condition // any of them, and of that all
}

// condition is a child of trigger (RFC 4661 §3.6).
type condition struct {
	kind         string // changed, added, removed
	at           selector
	from, to, by string
	any          bool // neither of these
}

const statusNotAcceptableHere = 488

func unacceptable(format string, args ...any) error {
	return sip.NewError(statusNotAcceptableHere, "Filter: "+fmt.Sprintf(format, args...))
}

func parseFilters(body []byte) ([]filter, error) {
	root, err := xmltree.Parse(body, xmltree.Limits{})
	if err != nil {
		return nil, err
	}
	if !root.Is(spaceFilter, "filter-set") {
		return nil, errors.New("root is not filter-set of " + spaceFilter)
	}
	if pkg, ok := root.Attr("", "package"); ok && !strings.EqualFold(pkg, Name) {
		return nil, unacceptable("for another event package")
	}
	r := filterReader{bindings: map[string]string{}}
	if err := r.bind(root); err != nil {
		return nil, err
	}
	var filters []filter
	ids, targets := map[string]bool{}, map[[2]string]bool{}
	for e := range root.Children(spaceFilter, "filter") {
		id, _ := e.Attr("", "id")
		if id == "" || ids[id] {
			return nil, unacceptable("ids are missing or not unique")
		}
		ids[id] = true
		if len(ids) > maxFilters {
			return nil, unacceptable("more than %d", maxFilters)
		}
		// One that is not enabled is as one that is not there (RFC 4660 §5.3), and the
		// set as it is replaces an earlier one, so what it removes is gone already.
		if boolean(e, "remove") || !boolean(e, "enabled") {
			continue
		}
		f, err := r.filter(e)
		if err != nil {
			return nil, err
		}
		// RFC 4660 §5.2: two for one resource or domain are refused.
		target := [2]string{f.uri, f.domain}
		if targets[target] {
			return nil, unacceptable("two for one resource")
		}
		targets[target] = true
		filters = append(filters, f)
	}
	if len(ids) == 0 {
		return nil, unacceptable("none in the set")
	}
	return filters, nil
}

// boolean returns an attribute of type boolean, whose default is true for enabled
// and false for all others.
func boolean(e *xmltree.Element, name string) bool {
	switch v, _ := e.Attr("", name); v {
	case "true", "1":
		return true
	case "false", "0":
		return false
	}
	return name == "enabled"
}

type filterReader struct {
	bindings  map[string]string
	selectors int
}

func (r *filterReader) bind(root *xmltree.Element) error {
	set := root.Child(spaceFilter, "ns-bindings")
	if set == nil {
		return nil
	}
	for e := range set.Children(spaceFilter, "ns-binding") {
		prefix, _ := e.Attr("", "prefix")
		urn, ok := e.Attr("", "urn")
		if !ok || len(r.bindings) == maxBindings {
			return unacceptable("namespace bindings")
		}
		r.bindings[prefix] = urn
	}
	return nil
}

func (r *filterReader) filter(e *xmltree.Element) (f filter, err error) {
	f.uri, _ = e.Attr("", "uri")
	f.domain, _ = e.Attr("", "domain")
	if f.uri != "" && f.domain != "" {
		return f, unacceptable("both uri and domain")
	}
	f.domain = strings.ToLower(f.domain)
	if f.uri != "" {
		if scheme, rest, _ := strings.Cut(f.uri, ":"); strings.EqualFold(scheme, "pres") {
			f.uri = "sip:" + rest
		}
		aor, err := sip.ParseAORString(f.uri)
		if err != nil {
			return f, unacceptable("uri is not one of a resource")
		}
		f.uri = aor.String()
	}
	says := false
	for c := range e.Elements() {
		switch {
		case c.Is(spaceFilter, "what"):
			says = true
			err = r.what(&f, c)
		case c.Is(spaceFilter, "trigger"):
			says = true
			err = r.trigger(&f, c)
		}
		if err != nil {
			return f, err
		}
	}
	if !says {
		return f, unacceptable("neither what nor trigger")
	}
	return f, nil
}

func (r *filterReader) what(f *filter, what *xmltree.Element) error {
	for e := range what.Elements() {
		to := &f.include
		switch {
		case e.Is(spaceFilter, "exclude"):
			to = &f.exclude
		case !e.Is(spaceFilter, "include"):
			continue // an extension, which may be ignored (RFC 4661 §4)
		}
		s, err := r.selector(e)
		if err != nil {
			return err
		}
		*to = append(*to, s)
	}
	return nil
}

// selector reads an include or exclude (RFC 4661 §3.5.3).
func (r *filterReader) selector(e *xmltree.Element) (selector, error) {
	text := strings.TrimSpace(e.Text())
	switch typ, ok := e.Attr("", "type"); {
	case typ == "namespace":
		if text == "" {
			return selector{}, unacceptable("empty namespace")
		}
		return selector{space: text}, r.count()
	case ok && typ != "xpath":
		return selector{}, unacceptable("type of a selection")
	}
	return r.path(text)
}

func (r *filterReader) count() error {
	if r.selectors++; r.selectors > maxSelectors {
		return unacceptable("more than %d selections", maxSelectors)
	}
	return nil
}

func (r *filterReader) path(text string) (selector, error) {
	if err := r.count(); err != nil {
		return selector{}, err
	}
	s, err := parseSelector(text, r.bindings)
	if err != nil {
		return s, unacceptable("%v", err)
	}
	return s, nil
}

func (r *filterReader) trigger(f *filter, trigger *xmltree.Element) error {
	var all []condition
	for e := range trigger.Elements() {
		if e.Name.Space != spaceFilter {
			continue
		}
		c := condition{kind: e.Name.Local, any: true}
		switch c.kind {
		case "changed", "added", "removed":
		default:
			return unacceptable("trigger is not known")
		}
		var err error
		if c.at, err = r.path(strings.TrimSpace(e.Text())); err != nil {
			return err
		}
		for name, to := range map[string]*string{"from": &c.from, "to": &c.to, "by": &c.by} {
			if v, ok := e.Attr("", name); ok && c.kind == "changed" {
				*to, c.any = v, false
			}
		}
		if _, ok := decimal(c.by); c.by != "" && !ok {
			return unacceptable("by is not a number")
		}
		all = append(all, c)
	}
	if len(all) > 0 { // an empty one is as none (RFC 4660 §5.4)
		f.triggers = append(f.triggers, all)
	}
	return nil
}

// applying returns the filter for a resource: one that names it, else one for its
// domain, else one that names none (RFC 4660 §5.2.1).
func applying(filters []filter, resource string) *filter {
	_, domain, _ := strings.Cut(resource, "@")
	var best *filter
	for i := range filters {
		f := &filters[i]
		switch {
		case f.uri != "" && f.uri == resource:
			return f
		case f.domain != "" && f.domain == domain:
			best = f
		case f.uri == "" && f.domain == "" && best == nil:
			best = f
		}
	}
	return best
}
