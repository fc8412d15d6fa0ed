package presrules

import (
	"slices"
	"strings"
	"time"

	"rollcall/sip"
	"rollcall/xmltree"
)

func conditionOf(e *xmltree.Element) condition {
	switch {
	case e.Is(nsPolicy, "identity"):
		return identityOf(e)
	case e.Is(nsPolicy, "sphere"):
		v, _ := e.Attr("", "value")
		return sphere(v)
	case e.Is(nsPolicy, "validity"):
		return validityOf(e)
	case e.Is(nsOMA, "external-list"):
		return listsOf(e)
	case e.Is(nsOMA, "other-identity"):
		return others{}
	}
	return unknown{}
}

// unknown holds for nobody (RFC 4745 §6.2).
type unknown struct{}

func (unknown) holds(*question) (bool, time.Time) { return false, time.Time{} }

// others holds for those whom no other rule names.
type others struct{}

func (others) holds(q *question) (bool, time.Time) { return q.level == byOther, time.Time{} }

// lists are the anchors of an external-list: it holds for the members of any.
type lists []string

// maxLists bounds the lists of one condition, each of which may be a document.
const maxLists = 16

func listsOf(e *xmltree.Element) lists {
	var l lists
	for c := range e.Children(nsOMA, "entry") {
		if anchor, ok := c.Attr("", "anc"); ok && len(l) < maxLists {
			l = append(l, strings.TrimSpace(anchor))
		}
	}
	return l
}

func (l lists) holds(q *question) (bool, time.Time) {
	return q.level >= byList && q.inList != nil && slices.ContainsFunc(l, q.inList), time.Time{}
}

// sphere is RFC 4745 §7.3.
type sphere string

func (s sphere) holds(q *question) (bool, time.Time) {
	return q.sphere != "" && strings.EqualFold(string(s), q.sphere), time.Time{}
}

// identity holds if one of its parts does (RFC 4745 §7.1.1).
type identity struct {
	ones map[sip.AOR]bool
	many []many
}

// many is RFC 4745 §7.1.3: all, or those of a domain, but for some.
type many struct {
	domain  string
	ids     map[sip.AOR]bool
	domains map[string]bool
}

func identityOf(e *xmltree.Element) identity {
	x := identity{ones: map[sip.AOR]bool{}}
	none := true
	for c := range e.Elements() {
		none = false
		switch {
		case extended(c): // it may take away what the rest says (RFC 4745 §7.1.1)
		case c.Is(nsPolicy, "one"):
			if a, ok := address(c); ok {
				x.ones[a] = true
			}
		case c.Is(nsPolicy, "many"):
			domain, ok := c.Attr("", "domain")
			domain = strings.TrimSpace(domain)
			if ok && domain == "" { // names no domain, rather than all
				continue
			}
			m := many{domain: strings.ToLower(domain), ids: map[sip.AOR]bool{}, domains: map[string]bool{}}
			for ex := range c.Children(nsPolicy, "except") {
				if a, ok := address(ex); ok {
					m.ids[a] = true
				}
				if d, ok := ex.Attr("", "domain"); ok {
					m.domains[strings.ToLower(strings.TrimSpace(d))] = true
				}
			}
			x.many = append(x.many, m)
		}
	}
	if none { // even who is not authenticated matches it (RFC 5025 §3.1.1.2)
		x.many = append(x.many, many{})
	}
	return x
}

// extended reports whether an element of identity has something in it that is not
// known here.
func extended(e *xmltree.Element) bool {
	for c := range e.Elements() {
		if !c.Is(nsPolicy, "except") || !e.Is(nsPolicy, "many") {
			return true
		}
	}
	return false
}

// address reads an id: a SIP or presence URI of one person (RFC 5025 §3.1.1.2).
func address(e *xmltree.Element) (sip.AOR, bool) {
	id, ok := e.Attr("", "id")
	if !ok {
		return sip.AOR{}, false
	}
	id = strings.TrimSpace(id)
	if rest, ok := strings.CutPrefix(id, "pres:"); ok {
		id = "sip:" + rest
	}
	a, err := sip.ParseAORString(id)
	return a, err == nil
}

func (x identity) holds(q *question) (bool, time.Time) {
	if x.ones[q.watcher] {
		return true, time.Time{}
	}
	for _, m := range x.many {
		if (m.domain == "" || m.domain == q.watcher.Domain()) && !m.ids[q.watcher] && !m.domains[q.watcher.Domain()] {
			return true, time.Time{}
		}
	}
	return false, time.Time{}
}

// validity is RFC 4745 §7.4: pairs of from and until.
type validity []period

type period struct{ from, until time.Time }

func validityOf(e *xmltree.Element) validity {
	var v validity
	var from time.Time
	for c := range e.Elements() {
		t, err := dateTime(c.Text())
		if err != nil {
			return nil
		}
		switch c.Name.Local {
		case "from":
			from = t
		case "until":
			if from.IsZero() {
				return nil
			}
			v = append(v, period{from, t})
			from = time.Time{}
		}
	}
	return v
}

// dateTime reads xs:dateTime, which may have no zone: then it is UTC.
func dateTime(s string) (time.Time, error) {
	s = strings.TrimSpace(s)
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Parse("2006-01-02T15:04:05", s)
}

func (v validity) holds(q *question) (ok bool, next time.Time) {
	for _, p := range v {
		for _, t := range [...]time.Time{p.from, p.until} {
			if t.After(q.now) && (next.IsZero() || t.Before(next)) {
				next = t
			}
		}
		ok = ok || !q.now.Before(p.from) && q.now.Before(p.until)
	}
	return ok, next
}
