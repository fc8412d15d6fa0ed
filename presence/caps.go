package presence

import (
	"strings"

	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/xmltree"
)

// features are the feature parameters of a contact (RFC 3840 §9) that have an element of
// true or false, in the order of RFC 5196 §3.2.1.
var features = [...]string{"audio", "application", "data", "control", "video", "text", "message", "automata"}

// maxMethods bounds the methods that are told of a device.
const maxMethods = 32

// isMethod reports a method that can be the name of an element.
func isMethod(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// servcaps returns what a device said that it can do when it registered (RFC 5196
// §3.2), or nil when it said nothing.
func (c *composer) servcaps(b *registrar.Binding) *xmltree.Element {
	var caps []xmltree.Node
	for _, name := range features {
		v, ok := b.Params.Get(name)
		if !ok {
			continue
		}
		is := "true"
		if strings.EqualFold(sip.Unquote(v), "false") {
			is = "false"
		}
		caps = append(caps, c.b.element(SpaceCaps, name, xmltree.Text(is)))
	}
	if v, ok := b.Params.Get("methods"); ok {
		var methods []xmltree.Node
		for name := range strings.SplitSeq(sip.Unquote(v), ",") {
			name = strings.ToUpper(strings.TrimSpace(name))
			if isMethod(name) && len(methods) < maxMethods {
				methods = append(methods, c.b.element(SpaceCaps, name))
			}
		}
		if len(methods) > 0 {
			caps = append(caps, c.b.element(SpaceCaps, "methods", c.b.element(SpaceCaps, "supported", methods...))) // §3.2.16, §4.1
		}
	}
	if len(caps) == 0 {
		return nil
	}
	return c.b.element(SpaceCaps, "servcaps", caps...)
}
