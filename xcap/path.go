package xcap

import (
	"net/http"
	"net/url"
	"strings"

	"rollcall/sip"
)

// maxURI bounds a request URI in bytes. A longer one is answered 414.
const maxURI = 4096

// maxName bounds the name of a document in bytes.
const maxName = 128

// Path is a parsed XCAP URI below the XCAP root (RFC 4825 §6).
type Path struct {
	Usage    *Usage
	Global   bool
	User     sip.AOR // of a users tree
	Document string  // with its folder, if the usage has one
	NoFolder bool    // it stands in a folder that can't be
	Node     *Selector
}

// parsePath reads the escaped path after the root and the raw query. The error is
// a *Fault.
func parsePath(escaped, query string) (*Path, error) {
	if len(escaped)+len(query) > maxURI {
		return nil, fault(http.StatusRequestURITooLong, "URI is too long")
	}
	segments := strings.Split(escaped, "/")
	var document, node []string
	for i, raw := range segments {
		s, err := url.PathUnescape(raw)
		if err != nil || strings.ContainsFunc(s, control) {
			return nil, fault(http.StatusBadRequest, "path is malformed")
		}
		if s == "~~" { // the first one (RFC 4825 §8)
			node = segments[i+1:]
			if len(node) == 0 || node[0] == "" {
				return nil, fault(http.StatusBadRequest, "node selector is empty")
			}
			break
		}
		document = append(document, s)
	}
	for _, s := range document {
		switch {
		case s == "" || s == "." || s == "..":
			return nil, fault(http.StatusNotFound, "no such document")
		case strings.Contains(s, "/"):
			return nil, fault(http.StatusBadRequest, "slash within a path segment")
		}
	}
	p, err := documentPath(document)
	if err != nil || node == nil {
		return p, err
	}
	text, err := url.PathUnescape(strings.Join(node, "/"))
	if err != nil || strings.ContainsFunc(text, control) {
		return nil, fault(http.StatusBadRequest, "node selector is malformed")
	}
	bindings, err := url.PathUnescape(query)
	if err != nil {
		return nil, fault(http.StatusBadRequest, "query is malformed")
	}
	s, err := ParseSelector(text, p.Usage.Space, bindings)
	if err != nil {
		return nil, fault(http.StatusBadRequest, err.Error())
	}
	p.Node = &s
	return p, nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }

// documentPath reads a document selector (RFC 4825 §6.2).
func documentPath(s []string) (*Path, error) {
	none := fault(http.StatusNotFound, "no such document")
	if len(s) < 3 {
		return nil, none
	}
	p := &Path{Usage: usageOf(s[0])}
	if p.Usage == nil {
		return nil, fault(http.StatusNotFound, "no such application usage")
	}
	rest := s[2:]
	switch s[1] {
	case "global":
		p.Global = true
	case "users":
		user, err := parseXUI(s[2])
		if err != nil || len(s) < 4 {
			return nil, none
		}
		p.User, rest = user, s[3:]
	default:
		return nil, none
	}
	p.Document = strings.Join(rest, "/")
	if len(p.Document) > maxName {
		return nil, none
	}
	switch len(rest) {
	case 1:
		p.NoFolder = p.Usage.folder != ""
	case 2:
		p.NoFolder = rest[0] != p.Usage.folder
	default:
		p.NoFolder = true
	}
	return p, nil
}

// parseXUI reads "sip:alice@example.com", and without its scheme.
func parseXUI(s string) (sip.AOR, error) {
	if !strings.HasPrefix(s, "sip:") && !strings.HasPrefix(s, "sips:") {
		s = "sip:" + s
	}
	return sip.ParseAORString(s)
}
