package xcap

import (
	"strings"

	"rollcall/xmltree"
)

// content is what may stand in an element: the part of an XML schema that the
// documents here need.
type content struct {
	attrs    map[string]rule     // without a namespace; "" is any
	children map[string]*content // of the same namespace
	order    []string            // of children, if the schema is a sequence
	least    map[string]int      // how many of a child; default 0
	single   string              // names of children that stand at most once, in blanks
	space    string              // of children, if it is not the element's
	others   bool                // elements of other namespaces too
	any      bool                // everything, looked at no further
	text     func(string) bool   // nil: no text but white space
}

// rule is for an attribute.
type rule struct {
	required bool
	value    func(string) bool // nil: any
}

// validate holds an element to its content (RFC 4825 §8.2.5). Attributes of other
// namespaces are allowed everywhere, as all schemas here do.
func (c *content) validate(e *xmltree.Element) error {
	if c.any {
		return nil
	}
	if err := c.attributes(e); err != nil {
		return err
	}
	if c.text == nil && strings.Trim(e.Text(), " \t\r\n") != "" {
		return invalid(e, "text is not allowed")
	}
	if c.text != nil && !c.text(e.Text()) {
		return invalid(e, "value is not allowed")
	}
	space := e.Name.Space
	if c.space != "" {
		space = c.space
	}
	count := map[string]int{}
	place := 0
	for child := range e.Elements() {
		if child.Name.Space != space {
			if !c.others {
				return invalid(child, "element is not allowed here")
			}
			continue
		}
		next, ok := c.children[child.Name.Local]
		if !ok {
			return invalid(child, "element is not allowed here")
		}
		for i, name := range c.order {
			if name != child.Name.Local {
				continue
			}
			if i < place {
				return invalid(child, "element is out of order")
			}
			place = i
		}
		if count[child.Name.Local]++; count[child.Name.Local] > 1 && isWord(c.single, child.Name.Local) {
			return invalid(child, "element is there twice")
		}
		if err := next.validate(child); err != nil {
			return err
		}
	}
	for name, n := range c.least {
		if count[name] < n {
			return invalid(e, "element "+name+" is missing")
		}
	}
	return nil
}

func (c *content) attributes(e *xmltree.Element) error {
	for _, a := range e.Attrs {
		if a.Name.Space != "" {
			continue
		}
		r, ok := c.attrs[a.Name.Local]
		if !ok {
			if r, ok = c.attrs[""]; !ok {
				return invalid(e, "attribute "+a.Name.Local+" is not allowed")
			}
		}
		if r.value != nil && !r.value(a.Value) {
			return invalid(e, "value of attribute "+a.Name.Local+" is not allowed")
		}
	}
	for name, r := range c.attrs {
		if _, ok := e.Attr("", name); r.required && !ok {
			return invalid(e, "attribute "+name+" is missing")
		}
	}
	return nil
}

func invalid(e *xmltree.Element, reason string) error {
	return conflict("schema-validation-error", "%s: %s", e.Name.Local, reason)
}

func isWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}

// oneOf is an enumeration; white space around a value does not count.
func oneOf(values string) func(string) bool {
	return func(s string) bool { return isWord(values, strings.TrimSpace(s)) }
}

func anything(string) bool { return true }

func someURI(s string) bool {
	s = strings.TrimSpace(s)
	return s != "" && !strings.ContainsAny(s, " \t\r\n<>\"{}|\\^`")
}

func boolean(s string) bool { return oneOf("true false 1 0")(s) }
