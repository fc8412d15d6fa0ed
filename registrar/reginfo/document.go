package reginfo

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"rollcall/event"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/xmltree"
)

// Space is the namespace of reginfo (RFC 3680 §5.1).
const Space = "urn:ietf:params:xml:ns:reginfo"

// registration is the state of an address of record.
type registration struct {
	aor   sip.AOR
	gruus *registrar.GRUUs
	live  []registrar.Binding
	gone  []ended
}

// state is that of the machine in RFC 3680 §4.7.1.
func (r *registration) state() string {
	switch {
	case len(r.live) > 0:
		return "active"
	case len(r.gone) > 0:
		return "terminated"
	}
	return "init"
}

// body writes the document: contacts in the order of their ids, those that have gone
// last.
func (r *registration) body() event.Body {
	var times event.Times
	root := xmltree.New(Space, "", "reginfo")
	root.SetAttr("", "version", "0")
	root.SetAttr("", "state", "full")
	reg := xmltree.New(Space, "", "registration")
	reg.SetAttr("", "aor", clean(r.aor.String()))
	reg.SetAttr("", "id", "1") // there is one in a subscription
	reg.SetAttr("", "state", r.state())
	root.Append(reg)
	live := slices.SortedFunc(slices.Values(r.live), func(a, b registrar.Binding) int { return cmp.Compare(a.ID, b.ID) })
	for i := range live {
		b := &live[i]
		happened := "registered"
		if b.Updated.After(b.Registered) {
			happened = "refreshed"
		}
		c := contact(b, "active", happened)
		appendGRUUs(c, r.gruus, b)
		setTimes(c, &times, b.Expires, b.Registered)
		reg.Append(c)
	}
	gone := slices.SortedFunc(slices.Values(r.gone), func(a, b ended) int { return cmp.Compare(a.ID, b.ID) })
	for i := range gone {
		reg.Append(contact(&gone[i].Binding, "terminated", gone[i].event))
	}
	return times.Body(Type, root.Document())
}

// contact writes a binding.
func contact(b *registrar.Binding, state, happened string) *xmltree.Element {
	e := xmltree.New(Space, "", "contact")
	e.SetAttr("", "id", clean(b.ID))
	e.SetAttr("", "state", state)
	e.SetAttr("", "event", happened)
	if b.QSet {
		e.SetAttr("", "q", strconv.FormatFloat(float64(b.Q)/1000, 'f', -1, 64))
	}
	e.SetAttr("", "callid", clean(b.CallID))
	e.SetAttr("", "cseq", strconv.FormatUint(uint64(b.CSeq), 10))
	uri := xmltree.New(Space, "", "uri")
	uri.SetText(clean(b.Contact))
	e.Append(uri)
	for params := b.Params; ; {
		name, value, rest, done, ok := params.Next()
		if done || !ok {
			return e
		}
		p := xmltree.New(Space, "", "unknown-param")
		p.SetAttr("", "name", clean(name))
		if value != "" {
			p.SetText(clean(value))
		}
		e.Append(p)
		params = rest
	}
}

// GRUUSpace is the namespace of GRUUs in these documents.
const GRUUSpace = "urn:ietf:params:xml:ns:gruuinfo"

// appendGRUUs writes the GRUUs of a contact (RFC 5627 §5.5). Temporary ones that were made before the
// last REGISTER may be good still; first-cseq speaks for the last one alone, as the others are not kept.
func appendGRUUs(c *xmltree.Element, gruus *registrar.GRUUs, b *registrar.Binding) {
	public, temporary := gruus.Of(b)
	if public == "" {
		return
	}
	e := xmltree.New(GRUUSpace, "gr", "pub-gruu")
	e.SetAttr("", "uri", clean(public))
	c.Append(e)
	if temporary == "" {
		return
	}
	e = xmltree.New(GRUUSpace, "gr", "temp-gruu")
	e.SetAttr("", "uri", clean(temporary))
	e.SetAttr("", "first-cseq", strconv.FormatUint(uint64(b.CSeq), 10))
	c.Append(e)
}

// clean drops what can't stand in XML.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0xfffd || r == 0xfffe || r == 0xffff {
			return -1
		}
		return r
	}, s)
}
