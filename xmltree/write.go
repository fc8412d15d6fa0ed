package xmltree

import "strconv"

// AppendTo appends the element as a document of its own, without an XML
// declaration: prefixes and declarations as they are, and declarations added where
// a name needs them.
func (e *Element) AppendTo(dst []byte) []byte {
	w := writer{dst: dst}
	w.element(e)
	return w.dst
}

// AppendInPlace appends the element as it stands in its tree: what is declared
// above it is not declared again. This is the representation of an element in XCAP
// (RFC 4825 §7.5).
func (e *Element) AppendInPlace(dst []byte) []byte {
	w := writer{dst: dst}
	var path []*Element
	for p := e.Parent; p != nil; p = p.Parent {
		path = append(path, p)
	}
	for i := len(path) - 1; i >= 0; i-- {
		w.scope = append(w.scope, path[i].Decls...)
	}
	w.element(e)
	return w.dst
}

// Document returns the element as a document with an XML declaration.
func (e *Element) Document() []byte {
	return append(e.AppendTo([]byte("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")), '\n')
}

func (e *Element) String() string { return string(e.AppendTo(nil)) }

type writer struct {
	dst   []byte
	scope []Decl // in force, innermost last
}

func (w *writer) element(e *Element) {
	outside := len(w.scope)
	w.scope = append(w.scope, e.Decls...)
	prefix := w.elementPrefix(e, outside)
	w.dst = append(w.dst, '<')
	name := len(w.dst)
	if prefix != "" {
		w.dst = append(append(w.dst, prefix...), ':')
	}
	w.dst = append(w.dst, e.Name.Local...)
	end := len(w.dst)
	for i := range e.Attrs {
		a := &e.Attrs[i]
		w.dst = append(w.dst, ' ')
		if p := w.attrPrefix(a); p != "" {
			w.dst = append(append(w.dst, p...), ':')
		}
		w.dst = append(append(w.dst, a.Name.Local...), '=', '"')
		w.dst = append(appendEscaped(w.dst, a.Value, true), '"')
	}
	for _, d := range w.scope[outside:] {
		w.dst = append(w.dst, " xmlns"...)
		if d.Prefix != "" {
			w.dst = append(append(w.dst, ':'), d.Prefix...)
		}
		w.dst = append(appendEscaped(append(w.dst, '=', '"'), d.Space, true), '"')
	}
	if len(e.Nodes) == 0 {
		w.dst = append(w.dst, "/>"...)
	} else {
		w.dst = append(w.dst, '>')
		for _, n := range e.Nodes {
			w.node(n)
		}
		w.dst = append(w.dst, "</"...)
		w.dst = append(w.dst, w.dst[name:end]...)
		w.dst = append(w.dst, '>')
	}
	w.scope = w.scope[:outside]
}

func (w *writer) node(n Node) {
	switch n := n.(type) {
	case *Element:
		w.element(n)
	case Text:
		w.dst = appendEscaped(w.dst, string(n), false)
	case Comment:
		w.dst = append(append(append(w.dst, "<!--"...), n...), "-->"...)
	case ProcInst:
		w.dst = append(append(w.dst, "<?"...), n.Target...)
		if n.Data != "" {
			w.dst = append(append(w.dst, ' '), n.Data...)
		}
		w.dst = append(w.dst, "?>"...)
	}
}

// elementPrefix returns the prefix to write and declares what is missing. What is
// declared from outside on belongs to the element itself.
func (w *writer) elementPrefix(e *Element, outside int) string {
	if e.Name.Space == "" {
		if w.lookup("") != "" {
			w.declareDefault("", outside)
		}
		return ""
	}
	if w.lookup(e.Prefix) == e.Name.Space {
		return e.Prefix
	}
	if prefix, ok := w.prefix(e.Name.Space, false); ok {
		return prefix
	}
	if e.Prefix == "" {
		w.declareDefault(e.Name.Space, outside)
		return ""
	}
	return w.declare(e.Prefix, e.Name.Space)
}

func (w *writer) attrPrefix(a *Attr) string {
	if a.Name.Space == "" {
		return ""
	}
	if a.Prefix != "" && w.lookup(a.Prefix) == a.Name.Space {
		return a.Prefix
	}
	if prefix, ok := w.prefix(a.Name.Space, true); ok {
		return prefix
	}
	return w.declare(a.Prefix, a.Name.Space)
}

// declareDefault takes the place of a default namespace that the element itself
// declares: its own name shows that this one was not meant.
func (w *writer) declareDefault(space string, outside int) {
	for i := outside; i < len(w.scope); i++ {
		if w.scope[i].Prefix == "" {
			own := append([]Decl(nil), w.scope...) // the element's Decls were copied in
			own[i].Space = space
			w.scope = own
			return
		}
	}
	w.scope = append(w.scope, Decl{"", space})
}

// declare binds the prefix, or a new one if it is bound already: names that were
// written before may use that binding.
func (w *writer) declare(prefix, space string) string {
	for n := 1; prefix == "" || w.lookup(prefix) != ""; n++ {
		prefix = "ns" + strconv.Itoa(n)
	}
	w.scope = append(w.scope, Decl{prefix, space})
	return prefix
}

func (w *writer) lookup(prefix string) string {
	for i := len(w.scope) - 1; i >= 0; i-- {
		if w.scope[i].Prefix == prefix {
			return w.scope[i].Space
		}
	}
	if prefix == "xml" {
		return XMLSpace
	}
	return ""
}

// prefix returns one that is bound to the namespace.
func (w *writer) prefix(space string, named bool) (string, bool) {
	if space == XMLSpace {
		return "xml", true
	}
	for i := len(w.scope) - 1; i >= 0; i-- {
		d := w.scope[i]
		if d.Space == space && (!named || d.Prefix != "") && w.lookup(d.Prefix) == space {
			return d.Prefix, true
		}
	}
	return "", false
}

func appendEscaped(dst []byte, s string, attr bool) []byte {
	start := 0
	for i := range len(s) {
		if s[i] > '>' {
			continue
		}
		replace := ""
		switch s[i] {
		case '&':
			replace = "&amp;"
		case '<':
			replace = "&lt;"
		case '>':
			replace = "&gt;"
		case '\r':
			replace = "&#13;"
		case '"':
			if attr {
				replace = "&quot;"
			}
		case '\n':
			if attr {
				replace = "&#10;"
			}
		case '\t':
			if attr {
				replace = "&#9;"
			}
		}
		if replace != "" {
			dst = append(append(dst, s[start:i]...), replace...)
			start = i + 1
		}
	}
	return append(dst, s[start:]...)
}
