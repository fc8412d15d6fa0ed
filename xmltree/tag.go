package xmltree

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

func (p *parser) startTag() error {
	if p.open == nil && p.root != nil {
		return p.malformed("more than one root element")
	}
	if len(p.frames) >= p.limits.Depth {
		return p.overLimit("elements are nested too deep")
	}
	if p.elements++; p.elements > p.limits.Elements {
		return p.overLimit("too many elements")
	}
	at := p.i
	p.i++
	prefix, local, err := p.name()
	if err != nil {
		return err
	}
	f := frame{p.s[at+1 : p.i], len(p.scope), len(p.nodes)}
	empty, err := p.attributes()
	if err != nil {
		return err
	}
	e := p.newElement()
	e.Prefix, e.Name.Local, e.Parent = prefix, local, p.open
	if err := p.declare(e); err != nil {
		return err
	}
	if e.Name.Space, err = p.resolve(prefix); err != nil {
		return err
	}
	if err := p.setAttributes(e); err != nil {
		return err
	}
	if p.open == nil {
		p.root = e
	} else {
		p.nodes = append(p.nodes, e)
	}
	f.nodes = len(p.nodes)
	p.frames = append(p.frames, f)
	p.open = e
	if empty {
		p.close()
	}
	return nil
}

func (p *parser) endTag() error {
	if p.open == nil {
		return p.malformed("end of an element that is not open")
	}
	name := p.frames[len(p.frames)-1].name
	rest, ok := strings.CutPrefix(p.s[p.i+2:], name)
	if !ok {
		return p.malformed("end of an element that is not the innermost")
	}
	end := 0
	for end < len(rest) && isSpaceByte(rest[end]) {
		end++
	}
	if end == len(rest) || rest[end] != '>' {
		return p.malformed("end of an element that is not the innermost")
	}
	p.i += 2 + len(name) + end + 1
	p.close()
	return nil
}

// close gives the innermost element its children.
func (p *parser) close() {
	f := p.frames[len(p.frames)-1]
	if children := p.nodes[f.nodes:]; len(children) > 0 {
		p.open.Nodes = carve(&p.nodeSlab, len(children))
		copy(p.open.Nodes, children)
		clear(children)
	}
	p.nodes = p.nodes[:f.nodes]
	p.scope = p.scope[:f.scope]
	p.frames = p.frames[:len(p.frames)-1]
	p.open = p.open.Parent
}

// attributes reads up to the end of a start tag into p.raw.
func (p *parser) attributes() (empty bool, err error) {
	p.raw = p.raw[:0]
	for {
		space := p.skipSpace()
		switch rest := p.s[p.i:]; {
		case rest == "":
			return false, p.malformed("start tag without its end")
		case rest[0] == '>':
			p.i++
			return false, nil
		case strings.HasPrefix(rest, "/>"):
			p.i += 2
			return true, nil
		case !space:
			return false, p.malformed("start tag")
		}
		if len(p.raw) >= p.limits.Attributes {
			return false, p.overLimit("too many attributes")
		}
		prefix, local, err := p.name()
		if err != nil {
			return false, err
		}
		value, err := p.attrValue()
		if err != nil {
			return false, err
		}
		p.raw = append(p.raw, rawAttr{prefix, local, value})
	}
}

// attrValue reads = and a quoted value.
func (p *parser) attrValue() (string, error) {
	p.skipSpace()
	if p.i == len(p.s) || p.s[p.i] != '=' {
		return "", p.malformed("attribute without a value")
	}
	p.i++
	p.skipSpace()
	if p.i == len(p.s) || p.s[p.i] != '"' && p.s[p.i] != '\'' {
		return "", p.malformed("attribute value without quotes")
	}
	end := strings.IndexByte(p.s[p.i+1:], p.s[p.i])
	if end < 0 {
		return "", p.malformed("attribute value without its end")
	}
	p.i++
	value, err := p.decode(p.s[p.i:p.i+end], true)
	p.i += end + 1
	return value, err
}

// declare takes the namespace declarations out of p.raw (Namespaces in XML §3).
func (p *parser) declare(e *Element) error {
	n := 0
	for i := range p.raw {
		if isDeclaration(&p.raw[i]) {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	e.Decls = carve(&p.declSlab, n)[:0]
	for i := range p.raw {
		a := &p.raw[i]
		if !isDeclaration(a) {
			continue
		}
		prefix := ""
		if a.prefix != "" {
			prefix = a.local
		}
		switch {
		case prefix == "xmlns", a.value == xmlnsSpace,
			(prefix == "xml") != (a.value == XMLSpace),
			prefix != "" && a.value == "":
			return p.malformed("namespace declaration that is not allowed")
		}
		for _, d := range e.Decls {
			if d.Prefix == prefix {
				return p.malformed("two declarations of one prefix")
			}
		}
		e.Decls = append(e.Decls, Decl{prefix, a.value})
	}
	p.scope = append(p.scope, e.Decls...)
	return nil
}

func isDeclaration(a *rawAttr) bool {
	return a.prefix == "xmlns" || a.prefix == "" && a.local == "xmlns"
}

func (p *parser) setAttributes(e *Element) (err error) {
	n := len(p.raw) - len(e.Decls)
	if n == 0 {
		return nil
	}
	e.Attrs = carve(&p.attrSlab, n)[:0]
	for i := range p.raw {
		a := &p.raw[i]
		if isDeclaration(a) {
			continue
		}
		space := ""
		if a.prefix != "" {
			if space, err = p.resolve(a.prefix); err != nil {
				return err
			}
		}
		name := Name{space, a.local}
		for j := range e.Attrs {
			if e.Attrs[j].Name == name {
				return p.malformed("two attributes of one name")
			}
		}
		e.Attrs = append(e.Attrs, Attr{name, a.prefix, a.value})
	}
	return nil
}

func (p *parser) resolve(prefix string) (string, error) {
	for i := len(p.scope) - 1; i >= 0; i-- {
		if p.scope[i].Prefix == prefix {
			return p.scope[i].Space, nil
		}
	}
	if space, ok := p.outer.LookupNamespace(prefix); ok {
		return space, nil
	}
	return "", p.malformed("prefix " + prefix + " is not declared")
}

// name reads a name with at most one colon.
func (p *parser) name() (prefix, local string, err error) {
	start, colon := p.i, -1
	for p.i < len(p.s) {
		c := p.s[p.i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(p.s[p.i:])
			if !isNameRune(r) || isCombining(r) && (p.i == start || p.i == colon+1) {
				return "", "", p.malformed("name")
			}
			p.i += n
			continue
		case c == ':' && colon < 0 && p.i > start:
			colon = p.i
		case !isNameByte(c):
			return p.cutName(start, colon)
		case c < 'A' && (p.i == start || p.i == colon+1): // - . 0 to 9 do not begin a name
			return "", "", p.malformed("name")
		}
		p.i++
	}
	return p.cutName(start, colon)
}

func (p *parser) cutName(start, colon int) (prefix, local string, err error) {
	name := p.s[start:p.i]
	switch {
	case len(name) > p.limits.Name:
		p.i = start
		return "", "", p.overLimit("name is too long")
	case name == "" || colon == p.i-1:
		return "", "", p.malformed("name")
	case colon < 0:
		return "", name, nil
	}
	return p.s[start:colon], p.s[colon+1 : p.i], nil
}

func (p *parser) skipSpace() (skipped bool) {
	start := p.i
	for p.i < len(p.s) && isSpaceByte(p.s[p.i]) {
		p.i++
	}
	return p.i > start
}

func isSpaceByte(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// isNameByte is for ASCII (XML 1.0 §2.3), without the colon.
func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
}

// isNameRune is for what is not ASCII.
func isNameRune(r rune) bool {
	switch {
	case isCombining(r),
		r >= 0xC0 && r <= 0x2FF && r != 0xD7 && r != 0xF7,
		r >= 0x370 && r <= 0x1FFF && r != 0x37E,
		r == 0x200C, r == 0x200D,
		r >= 0x2070 && r <= 0x218F,
		r >= 0x2C00 && r <= 0x2FEF,
		r >= 0x3001 && r <= 0xD7FF,
		r >= 0xF900 && r <= 0xFDCF,
		r >= 0xFDF0 && r <= 0xFFFD,
		r >= 0x10000 && r <= 0xEFFFF:
		return true
	}
	return false
}

// isCombining is what may stand in a name but not begin it.
func isCombining(r rune) bool {
	return r == 0xB7 || r >= 0x300 && r <= 0x36F || r == 0x203F || r == 0x2040
}

// decode replaces references and normalises white space (XML 1.0 §2.11, §3.3.3).
// The parser stands somewhere before raw, for errors.
func (p *parser) decode(raw string, attr bool) (string, error) {
	special := "&\r"
	if attr {
		special = "&\r\n\t<"
	} else if strings.Contains(raw, "]]>") {
		return "", p.malformed("]]> in text")
	}
	next := indexAny(raw, special)
	if next < 0 {
		return raw, nil
	}
	b := make([]byte, 0, len(raw))
	for ; next >= 0; next = indexAny(raw, special) {
		b = append(b, raw[:next]...)
		c := raw[next]
		raw = raw[next+1:]
		switch c {
		case '<':
			return "", p.malformed("< in an attribute value")
		case '&':
			end := strings.IndexByte(raw, ';')
			r, ok := rune(0), false
			if end > 0 {
				r, ok = reference(raw[:end])
			}
			if !ok {
				return "", p.malformed("reference that is not known")
			}
			b = utf8.AppendRune(b, r)
			raw = raw[end+1:]
			continue
		case '\r':
			raw = strings.TrimPrefix(raw, "\n")
			c = '\n'
		}
		if attr {
			c = ' '
		}
		b = append(b, c)
	}
	return string(append(b, raw...)), nil
}

func indexAny(s, chars string) int {
	for i := range len(s) {
		if s[i] <= '<' && strings.IndexByte(chars, s[i]) >= 0 {
			return i
		}
	}
	return -1
}

func reference(name string) (rune, bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, ok := strings.CutPrefix(name, "#")
	base := 10
	if hex, isHex := strings.CutPrefix(digits, "x"); isHex {
		digits, base = hex, 16
	}
	if !ok || digits == "" || len(digits) > 8 || digits[0] == '+' || digits[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || !isChar(rune(n)) {
		return 0, false
	}
	return rune(n), true
}

// isChar reports whether XML may hold the character (XML 1.0 §2.2).
func isChar(r rune) bool {
	return r >= ' ' && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

func (p *parser) newElement() *Element {
	if len(p.elementSlab) == 0 {
		p.elementSlab = make([]Element, min(8+p.elements, 256))
	}
	e := &p.elementSlab[0]
	p.elementSlab = p.elementSlab[1:]
	return e
}

// carve takes n values off a slab. The slice has no room to grow into the rest.
func carve[T any](slab *[]T, n int) []T {
	if len(*slab) < n {
		*slab = make([]T, max(n, 16))
	}
	s := (*slab)[:n:n]
	*slab = (*slab)[n:]
	return s
}
