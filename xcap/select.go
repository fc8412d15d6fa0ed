package xcap

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"rollcall/sip"
	"rollcall/xmltree"
)

// Selection is a parsed XCAP URI of a document, of a node in one, or of a
// collection of documents, as a subscription to changes names it (RFC 5875 §4.4).
type Selection struct {
	URI string // as it was given

	path  *Path
	usage *Usage  // of a collection; nil for none
	user  sip.AOR // of a collection of one user; zero for all
}

// ParseSelection reads a URI that is relative to the XCAP root, or an absolute one
// below the root's path. What is malformed or of no usage gives an error; what is
// not there yet gives none.
func ParseSelection(uri, xcapRoot string) (Selection, error) {
	path, query := cutRef(uri, xcapRoot)
	s := Selection{URI: uri}
	folder, ok := strings.CutSuffix(path, "/")
	if !ok {
		p, err := parsePath(path, query)
		if err != nil {
			return s, err
		}
		s.path = p
		return s, nil
	}
	parts := strings.Split(folder, "/")
	if s.usage = usageOf(parts[0]); s.usage == nil || s.usage.generated {
		return s, ErrNotFound
	}
	switch {
	case len(parts) == 1, len(parts) == 2 && parts[1] == "users":
		return s, nil
	case len(parts) == 3 && parts[1] == "users":
		name, err := url.PathUnescape(parts[2])
		if err == nil {
			s.user, err = parseXUI(name)
		}
		if err != nil {
			return s, ErrNotFound
		}
		return s, nil
	}
	return s, ErrNotFound
}

// Selected is what a selection gives.
type Selected struct {
	Documents []*Document      // of a document or collection
	Component bool             // the selection is of a node
	Element   *xmltree.Element // the node, or the one that has the attribute; nil if it is not there
	Attribute bool
	Value     string // of the attribute
}

// Select returns what the selection gives of that which the reader may read: his
// own documents. All else is as if it were not there (RFC 5875 §4.7).
func (d *Documents) Select(ctx context.Context, reader sip.AOR, s Selection) (out Selected, err error) {
	if s.usage != nil {
		if s.user.IsZero() || s.user == reader {
			out.Documents, err = d.List(ctx, reader, s.usage.AUID)
		}
		return out, err
	}
	p := s.path
	if p.Node != nil && p.Node.terminal != namespaces {
		out.Component, out.Attribute = true, p.Node.terminal == attribute
	}
	if p.Global || p.Usage.generated || p.NoFolder || p.User != reader {
		return out, nil
	}
	doc, err := d.Get(ctx, p.User, p.Usage.AUID, p.Document)
	if errors.Is(err, ErrNotFound) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	if !out.Component {
		out.Documents = []*Document{doc}
		return out, nil
	}
	root, err := doc.Tree()
	if err != nil {
		return out, err
	}
	e, _ := resolve(root, p.Node.steps)
	if e != nil && out.Attribute {
		v, ok := e.Attr(p.Node.attr.Space, p.Node.attr.Local)
		if !ok {
			return out, nil
		}
		out.Value = v
	}
	out.Element = e
	return out, nil
}

// RelativeURI is the path of the document below the XCAP root.
func (d *Document) RelativeURI() string {
	return strings.TrimPrefix(documentURI("", d.User, d.AUID, d.Name), "/")
}
