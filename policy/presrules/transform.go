package presrules

import (
	"slices"
	"strings"

	"rollcall/sip"
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

// Nothing is the class of who may see nothing. "" is that of who may see all.
const Nothing = "offline"

// class is a canonical form: what shows the same has the same class, so that its
// watchers share a body. "" shows everything.
func (p permissions) class() string {
	if p["all-attributes"] && p["service:*"] && p["person:*"] && p["device:*"] {
		return ""
	}
	words := make([]string, 0, len(p))
	for k := range p {
		if !p.implied(k) {
			words = append(words, k)
		}
	}
	slices.Sort(words)
	return "rules\n" + strings.Join(words, "\n")
}

// implied reports whether another permission shows all that this one does.
func (p permissions) implied(word string) bool {
	kind, rest, ok := strings.Cut(word, ":")
	switch {
	case ok && (kind == "service" || kind == "person" || kind == "device"):
		return rest != "*" && p[kind+":*"]
	case word == "all-attributes":
		return false
	case p["all-attributes"]:
		return true
	case word == "user-input:bare":
		return p["user-input:thresholds"] || p["user-input:full"]
	case word == "user-input:thresholds":
		return p["user-input:full"]
	}
	return false
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
			if ns = token(ns); yes(e.Text()) && ns != nsRPID { // RPID is known (RFC 5025 §3.3.2.14)
				p["unknown:"+token(local)+" "+ns] = true
			}
		case "user-input":
			if v := token(e.Text()); v == "bare" || v == "thresholds" || v == "full" {
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

// token is the value of an xs:token: white space around it does not count.
func token(s string) string { return strings.Join(strings.Fields(s), " ") }

func yes(s string) bool { return token(s) == "true" || token(s) == "1" }

func (p permissions) components(kind string, e *xmltree.Element) {
	for c := range e.Elements() {
		if c.Name.Space != nsRules || len(p) >= maxPermissions {
			continue
		}
		if strings.HasPrefix(c.Name.Local, "all-") {
			p[kind+":*"] = true
			continue
		}
		value := token(c.Text())
		if c.Name.Local == "deviceID" || c.Name.Local == "service-uri" {
			value = normalURI(value)
		}
		p[kind+":"+c.Name.Local+"="+value] = true
	}
}

// normalURI makes equivalent URIs equal (RFC 5025 §3.3.1.1, §3.3.1.3): case does
// not count in a scheme, in a UUID (RFC 4122 §3) and in the host of a SIP URI.
func normalURI(s string) string {
	scheme, rest, ok := strings.Cut(token(s), ":")
	if !ok {
		return token(s)
	}
	scheme = strings.ToLower(scheme)
	switch {
	case scheme == "urn" && len(rest) > 5 && strings.EqualFold(rest[:5], "uuid:"):
		rest = strings.ToLower(rest)
	case scheme == "sip" || scheme == "sips":
		address, params := rest, ""
		if at := strings.IndexByte(rest, '@') + 1; at > 0 {
			if i := strings.IndexAny(rest[at:], ";?"); i >= 0 {
				address, params = rest[:at+i], rest[at+i:]
			}
		}
		if aor, err := sip.ParseAORString("sip:" + address); err == nil {
			rest = strings.TrimPrefix(aor.String(), "sip:") + params
		}
	}
	return scheme + ":" + rest
}

const (
	nsPIDF  = "urn:ietf:params:xml:ns:pidf"
	nsModel = "urn:ietf:params:xml:ns:pidf:data-model"
	nsRPID  = "urn:ietf:params:xml:ns:pidf:rpid"
)

// Transform leaves of a presence document what the class of an Answer lets see. It
// changes doc and returns it, or nil when nothing is left. The note of the whole
// document, of which RFC 5025 does not speak, is taken for one about the person.
func Transform(class string, doc *xmltree.Element) *xmltree.Element {
	if class == "" {
		return doc
	}
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
		case e.Is(nsPIDF, "note"):
			keep = p["person:*"] && (p["note"] || p["all-attributes"])
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
	if c := e.Child(nsRPID, "class"); c != nil && p[kind+":class="+token(c.Text())] {
		return true
	}
	if d := e.Child(nsModel, "deviceID"); d != nil && p[kind+":deviceID="+normalURI(d.Text())] {
		return true
	}
	if c := e.Child(nsPIDF, "contact"); c != nil {
		uri := token(c.Text())
		scheme, _, _ := strings.Cut(uri, ":")
		return p[kind+":service-uri="+normalURI(uri)] || p[kind+":service-uri-scheme="+scheme]
	}
	return false
}

// prune removes the attributes that are not provided. Basic status, contact, the
// class of a service, the ID of a device and time stamps always are (RFC 5025
// §3.3.2).
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
		case c.Is(nsPIDF, "basic"), c.Is(nsPIDF, "contact"), c.Is(nsPIDF, "timestamp"), c.Is(nsModel, "timestamp"):
		case e.Is(nsPIDF, "tuple") && c.Is(nsRPID, "service-class"):
		case e.Is(nsModel, "device") && c.Is(nsModel, "deviceID"):
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

// userInput is RFC 5025 §3.3.2.12. What it calls since is last-input in RFC 4480.
func (p permissions) userInput(c *xmltree.Element) bool {
	switch {
	case p["user-input:full"]:
	case p["user-input:thresholds"]:
		c.RemoveAttr("", "last-input")
		c.RemoveAttr("", "since")
	case p["user-input:bare"]:
		c.RemoveAttr("", "last-input")
		c.RemoveAttr("", "since")
		c.RemoveAttr("", "idle-threshold")
	default:
		return false
	}
	return true
}
