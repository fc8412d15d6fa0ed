package xmltree

import (
	"strings"
	"unicode/utf8"
)

// Parse reads a document. The error is a *SyntaxError. Nothing of b is kept.
func Parse(b []byte, l Limits) (*Element, error) { return ParseIn(b, l, nil) }

// ParseIn reads one element as it would stand in another: prefixes that it does
// not declare are those of scope. The element is not put there. It is for what a
// client sends to be inserted (RFC 4825 §6.4); scope may be nil.
func ParseIn(b []byte, l Limits, scope *Element) (*Element, error) {
	p := parser{limits: l.withDefaults(), outer: scope}
	if len(b) > p.limits.Bytes {
		return nil, p.overLimit("document is too long")
	}
	p.s = strings.TrimPrefix(string(b), "\uFEFF")
	if err := p.checkCharacters(); err != nil {
		return nil, err
	}
	if err := p.declaration(); err != nil {
		return nil, err
	}
	for p.i < len(p.s) {
		if err := p.token(); err != nil {
			return nil, err
		}
	}
	switch {
	case p.open != nil:
		return nil, p.malformed("element is not closed")
	case p.root == nil:
		return nil, p.malformed("no element")
	}
	return p.root, nil
}

// parser is the state of a Parse.
type parser struct {
	limits Limits
	outer  *Element
	s      string // the document
	i      int    // what is read next

	root, open *Element // open is the innermost that is not closed
	frames     []frame  // one for each open element
	elements   int
	scope      []Decl // declarations of all open elements
	nodes      []Node // children of all open elements
	raw        []rawAttr

	elementSlab []Element
	attrSlab    []Attr
	declSlab    []Decl
	nodeSlab    []Node
	spaces      [4]Node // texts of white space seen last
	spaceNext   int
}

// frame is where an open element began.
type frame struct {
	name  string // with its prefix
	scope int    // len(parser.scope) outside
	nodes int    // len(parser.nodes) outside
}

type rawAttr struct{ prefix, local, value string }

func (p *parser) token() error {
	s := p.s[p.i:]
	switch {
	case s[0] != '<':
		return p.text()
	case strings.HasPrefix(s, "</"):
		return p.endTag()
	case strings.HasPrefix(s, "<!--"):
		return p.comment()
	case strings.HasPrefix(s, "<![CDATA["):
		return p.cdata()
	case strings.HasPrefix(s, "<!"):
		return p.malformed("document type declarations are not allowed")
	case strings.HasPrefix(s, "<?"):
		return p.procInst()
	}
	return p.startTag()
}

// checkCharacters looks for bytes that may stand nowhere (XML 1.0 §2.2).
func (p *parser) checkCharacters() error {
	if !utf8.ValidString(p.s) {
		for p.i = range p.s {
			if _, n := utf8.DecodeRuneInString(p.s[p.i:]); n == 1 && p.s[p.i] >= utf8.RuneSelf {
				break
			}
		}
		return p.fail(ErrEncoding, "bytes that are not UTF-8")
	}
	for i := range len(p.s) {
		c := p.s[i]
		if c >= ' ' && c != 0xEF || c == '\n' || c == '\t' || c == '\r' {
			continue
		}
		if c < ' ' || p.s[i:i+3] == "\uFFFE" || p.s[i:i+3] == "\uFFFF" {
			p.i = i
			return p.malformed("character that is not allowed")
		}
	}
	return nil
}

// declaration reads <?xml …?> (XML 1.0 §2.8).
func (p *parser) declaration() error {
	if !strings.HasPrefix(p.s, "<?xml") || len(p.s) > 5 && isNameByte(p.s[5]) {
		return nil
	}
	p.i = 5
	for step := 0; ; {
		space := p.skipSpace()
		if strings.HasPrefix(p.s[p.i:], "?>") {
			if step == 0 {
				return p.malformed("xml declaration without a version")
			}
			p.i += 2
			return nil
		}
		at := p.i
		prefix, name, err := p.name()
		if err != nil {
			return err
		}
		value, err := p.attrValue()
		if err != nil {
			return err
		}
		switch {
		case prefix != "" || !space:
		case name == "version" && step == 0 && value == "1.0":
			step = 1
			continue
		case name == "encoding" && step == 1 && strings.EqualFold(value, "UTF-8"):
			step = 2
			continue
		case name == "encoding" && step == 1:
			p.i = at
			return p.fail(ErrEncoding, "encoding is not UTF-8")
		case name == "standalone" && (step == 1 || step == 2) && (value == "yes" || value == "no"):
			step = 3
			continue
		}
		p.i = at
		return p.malformed("xml declaration")
	}
}

func (p *parser) text() error {
	end := strings.IndexByte(p.s[p.i:], '<')
	if end < 0 {
		end = len(p.s) - p.i
	}
	raw := p.s[p.i : p.i+end]
	if p.open == nil {
		if !isSpace(raw) {
			return p.malformed("text outside of the root element")
		}
		p.i += end
		return nil
	}
	text, err := p.decode(raw, false)
	if err != nil {
		return err
	}
	p.i += end
	p.addText(text)
	return nil
}

func (p *parser) addText(text string) {
	if text == "" {
		return
	}
	base := p.frames[len(p.frames)-1].nodes
	if n := len(p.nodes); n > base {
		if last, ok := p.nodes[n-1].(Text); ok {
			p.nodes[n-1] = last + Text(text)
			return
		}
	}
	p.nodes = append(p.nodes, p.textNode(text))
}

// textNode has the white space between elements share its nodes.
func (p *parser) textNode(text string) Node {
	if c := text[0]; c != '\n' && c != ' ' {
		return Text(text)
	}
	for _, n := range p.spaces {
		if t, ok := n.(Text); ok && string(t) == text {
			return n
		}
	}
	n := Node(Text(text))
	p.spaces[p.spaceNext] = n
	p.spaceNext = (p.spaceNext + 1) % len(p.spaces)
	return n
}

func (p *parser) comment() error {
	body := p.s[p.i+4:]
	end := strings.Index(body, "--")
	if end < 0 || !strings.HasPrefix(body[end:], "-->") {
		return p.malformed("comment without its end")
	}
	p.add(Comment(newlines(body[:end])))
	p.i += 4 + end + 3
	return nil
}

func (p *parser) cdata() error {
	end := strings.Index(p.s[p.i:], "]]>")
	if p.open == nil || end < 0 {
		return p.malformed("CDATA section")
	}
	p.addText(newlines(p.s[p.i+len("<![CDATA[") : p.i+end]))
	p.i += end + 3
	return nil
}

func (p *parser) procInst() error {
	end := strings.Index(p.s[p.i:], "?>")
	if end < 0 {
		return p.malformed("processing instruction without its end")
	}
	at := p.i
	p.i += 2
	prefix, target, err := p.name()
	if err != nil {
		return err
	}
	if prefix != "" || strings.EqualFold(target, "xml") || p.i > at+end {
		p.i = at
		return p.malformed("processing instruction")
	}
	spaced := p.skipSpace()
	if p.i < at+end && !spaced {
		return p.malformed("processing instruction")
	}
	data := ""
	if p.i < at+end {
		data = newlines(p.s[p.i : at+end])
	}
	p.add(ProcInst{target, data})
	p.i = at + end + 2
	return nil
}

// add keeps a node that stands in an element.
func (p *parser) add(n Node) {
	if p.open != nil {
		p.nodes = append(p.nodes, n)
	}
}

// newlines makes line ends "\n" (XML 1.0 §2.11).
func newlines(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// fail makes the error for the place that is read next.
func (p *parser) fail(cause error, reason string) error {
	read := p.s[:min(p.i, len(p.s))]
	line := strings.LastIndexByte(read, '\n') + 1
	return &SyntaxError{
		Line:   strings.Count(read, "\n") + 1,
		Column: utf8.RuneCountInString(read[line:]) + 1,
		Reason: reason,
		Cause:  cause,
	}
}

func (p *parser) malformed(reason string) error { return p.fail(ErrMalformed, reason) }
func (p *parser) overLimit(reason string) error { return p.fail(ErrLimit, reason) }
