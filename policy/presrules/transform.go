package presrules

import (
	"slices"
	"strings"

	"rollcall/xmltree"
)

// permissions is what a watcher may see: a set of words. "service:*" and
// "person:class=work" are components (RFC 5025 §3.3.1), "activities" is an
// attribute (§3.3.2), "unknown:NAME NAMESPACE" one that this server does not know.
type permissions map[string]bool

func newPermissions() permissions { return permissions{} }

func (p permissions) add(o permissions) {
	for k := range o {
		p[k] = true
	}
}

// class is a canonical form: equal permissions, equal classes.
func (p permissions) class() string {
	words := make([]string, 0, len(p))
	for k := range p {
		words = append(words, k)
	}
	slices.Sort(words)
	return "rules\n" + strings.Join(words, "\n")
}

const maxPermissions = 256

// read takes the transformations of a rule.
func (p permissions) read(t *xmltree.Element) {
	for e := range t.Elements() {
		if e.Name.Space != nsRules || len(p) >= maxPermissions {
			continue
		}
		name, ok := strings.CutPrefix(e.Name.Local, "provide-")
		if !ok {
			continue
		}
		switch name {
		case "services", "persons", "devices":
			p.components(strings.TrimSuffix(name, "s"), e)
		case "unknown-attribute":
			ns, _ := e.Attr("", "ns")
			local, _ := e.Attr("", "name")
			if yes(e.Text()) {
				p["unknown:"+local+" "+ns] = true
			}
		case "user-input":
			if v := e.Text(); v == "bare" || v == "thresholds" || v == "full" {
				p[name+":"+v] = true
			}
		case "all-attributes":
			p[name] = true
		default:
			if yes(e.Text()) {
				p[name] = true
			}
		}
	}
}

func yes(s string) bool { return s == "true" || s == "1" }

func (p permissions) components(kind string, e *xmltree.Element) {
	for c := range e.Elements() {
		if c.Name.Space != nsRules || len(p) >= maxPermissions {
			continue
		}
		if strings.HasPrefix(c.Name.Local, "all-") {
			p[kind+":*"] = true
			continue
		}
		p[kind+":"+c.Name.Local+"="+strings.ReplaceAll(c.Text(), "\n", " ")] = true
	}
}

const (
	nsPIDF  = "urn:ietf:params:xml:ns:pidf"
	nsModel = "urn:ietf:params:xml:ns:pidf:data-model"
	nsRPID  = "urn:ietf:params:xml:ns:pidf:rpid"
)

// Transform leaves of a presence document what the class of an Answer lets see. It
// changes doc and returns it, or nil when nothing is left.
func Transform(class string, doc *xmltree.Element) *xmltree.Element {
	p := permissions{}
	for w := range strings.SplitSeq(class, "\n") {
		p[w] = true
	}
	left := false
	for _, n := range slices.Clone(doc.Nodes) {
		e, ok := n.(*xmltree.Element)
		if !ok {
			continue
		}
		keep := false
		switch {
		case e.Is(nsPIDF, "tuple"):
			keep = p.shows("service", e)
		case e.Is(nsModel, "person"):
			keep = p.shows("person", e)
		case e.Is(nsModel, "device"):
			keep = p.shows("device", e)
		case e.Name.Local == "note":
			keep = p["note"] || p["all-attributes"]
		}
		if !keep {
			doc.Remove(e)
			continue
		}
		if e.Name.Local != "note" {
			left = true
			p.prune(e)
		}
	}
	if !left {
		return nil
	}
	return doc
}

// shows reports whether a component is among those that are provided.
func (p permissions) shows(kind string, e *xmltree.Element) bool {
	if p[kind+":*"] {
		return true
	}
	id, _ := e.Attr("", "id")
	if p[kind+":occurrence-id="+id] {
		return true
	}
	if c := e.Child(nsRPID, "class"); c != nil && p[kind+":class="+c.Text()] {
		return true
	}
	if d := e.Child(nsModel, "deviceID"); d != nil && p[kind+":deviceID="+d.Text()] {
		return true
	}
	if c := e.Child(nsPIDF, "contact"); c != nil {
		uri := c.Text()
		scheme, _, _ := strings.Cut(uri, ":")
		return p[kind+":service-uri="+uri] || p[kind+":service-uri-scheme="+scheme]
	}
	return false
}

// prune removes the attributes that are not provided. Basic status, contact and
// time stamps always are (RFC 5025 §3.3.2).
func (p permissions) prune(e *xmltree.Element) {
	if p["all-attributes"] {
		return
	}
	for _, n := range slices.Clone(e.Nodes) {
		c, ok := n.(*xmltree.Element)
		if !ok {
			continue
		}
		switch {
		case c.Is(nsPIDF, "status"):
			p.prune(c)
		case c.Is(nsPIDF, "basic"), c.Is(nsPIDF, "contact"), c.Name.Local == "timestamp":
		case p.provides(c):
		default:
			e.Remove(c)
		}
	}
}

func (p permissions) provides(c *xmltree.Element) bool {
	switch {
	case c.Name.Local == "note" && (c.Name.Space == nsPIDF || c.Name.Space == nsModel):
		return p["note"]
	case c.Is(nsModel, "deviceID"):
		return p["deviceID"]
	case c.Is(nsRPID, "user-input"):
		return p.userInput(c)
	case c.Name.Space == nsRPID:
		return p[c.Name.Local]
	}
	return p["unknown:"+c.Name.Local+" "+c.Name.Space]
}

// userInput is RFC 5025 §3.3.2.12.
func (p permissions) userInput(c *xmltree.Element) bool {
	switch {
	case p["user-input:full"]:
	case p["user-input:thresholds"]:
		c.RemoveAttr("", "last-input")
	case p["user-input:bare"]:
		c.RemoveAttr("", "last-input")
		c.RemoveAttr("", "idle-threshold")
	default:
		return false
	}
	return true
}
