package xcapdiff

import (
	"bytes"
	"context"
	"net/url"
	"strings"
	"time"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xcap"
)

// Name is the event package's (RFC 5875 §4.2).
const Name = "xcap-diff"

// Package is the event package xcap-diff. Its resource is a user, who alone may
// subscribe to it: the documents are his. The list of URIs in the body of SUBSCRIBE
// is the view's filter; a subscription without one is to all documents of the user.
type Package struct {
	docs    *xcap.Documents
	root    string // URI of the XCAP root
	path    string // its path
	history history
}

var (
	_ event.Package    = (*Package)(nil)
	_ event.Partial    = (*Package)(nil)
	_ event.Filterable = (*Package)(nil)
	_ event.Viewer     = (*Package)(nil)
	_ event.Source     = (*Package)(nil)
)

// New returns the package over the documents. Root is the URI of the XCAP root,
// such as "http://xcap.example.com/xcap/".
func New(docs *xcap.Documents, root string) (*Package, error) {
	u, err := url.Parse(root)
	if err != nil {
		return nil, err
	}
	return &Package{docs: docs, root: root, path: u.EscapedPath()}, nil
}

// Spec is event.Package's: RFC 5875 §4.5 gives the duration. The rate of
// §4.10 is left to the engine, which has one NOTIFY under way to a watcher.
func (p *Package) Spec() event.Spec {
	return event.Spec{
		Name: Name, Types: []string{Type},
		Default: time.Hour, Min: time.Minute, Max: 24 * time.Hour,
	}
}

// Authorize lets a user see his own documents.
func (p *Package) Authorize(_ context.Context, resource sip.AOR, w event.Watcher) (event.Verdict, error) {
	if w.AOR != resource {
		return event.Verdict{Standing: event.Refused, Rule: "owner"}, nil
	}
	return event.Verdict{Standing: event.Active, Rule: "owner"}, nil
}

// Compose is event.Package's. What a subscription sees depends on its list, so the
// documents are looked up by Body.
func (p *Package) Compose(context.Context, sip.AOR, []event.Publication) (event.State, error) {
	return event.State{}, nil
}

// aggregateMark ends the full body of a view in that mode, so that Diff knows it.
const aggregateMark = "<!-- diff-processing=aggregate -->\n"

// Body is event.Package's: all that the list gives now.
func (p *Package) Body(ctx context.Context, resource sip.AOR, _ event.State, v event.View) (event.Body, error) {
	r, err := p.request(v.Filter)
	if err != nil {
		return event.Body{}, err
	}
	s, err := Take(ctx, p.docs, resource, r)
	if err != nil {
		return event.Body{}, err
	}
	b := s.Full(p.root)
	if ParseMode(v.Params) == Aggregate {
		b = append(b, aggregateMark...)
	}
	p.history.put(b, s)
	return event.Body{Type: Type, Bytes: b, Version: -1}, nil
}

func (p *Package) request(filter string) (Request, error) {
	if filter == "" {
		return everything(p.path)
	}
	return ParseRequest([]byte(filter), p.path)
}

// everything is a request for all documents of a user.
func everything(path string) (r Request, err error) {
	for _, auid := range []string{
		xcap.ResourceLists, xcap.RLSServices, xcap.PresRules, xcap.OMAPresRules, xcap.PIDFManipulation, xcap.PresContent, xcap.UserProfile,
	} {
		s, err := xcap.ParseSelection(auid+"/", path)
		if err != nil {
			return r, err
		}
		r.selections = append(r.selections, s)
	}
	return r, nil
}

// Full is event.Partial's: each body after the first tells changes alone (RFC 5875
// §4.7), in the same type.
func (p *Package) Full(typ string) (string, bool) { return Type, typ == Type }

// Diff is event.Partial's. What was sent long ago may be forgotten; the next body
// goes out whole then.
func (p *Package) Diff(prev, next event.Body, _ string) (event.Body, bool) {
	before, after := p.history.get(prev.Bytes), p.history.get(next.Bytes)
	if before == nil || after == nil {
		return event.Body{}, false
	}
	mode := NoPatching
	if bytes.HasSuffix(next.Bytes, []byte(aggregateMark)) {
		mode = Aggregate
	}
	b, _ := Changes(before, after, mode, p.root)
	return event.Body{Type: Type, Bytes: b, Version: -1}, true
}

// ParseFilter is event.Filterable's: the list of URIs (RFC 5875 §4.4).
func (p *Package) ParseFilter(typ string, body []byte) error {
	if typ != RequestType {
		return sip.NewError(sip.StatusUnsupportedMedia, "", sip.Field{Name: "Accept", Value: RequestType})
	}
	_, err := ParseRequest(body, p.path)
	return err
}

// Triggers is event.Filterable's: anything that is told differently.
func (p *Package) Triggers(_ string, prev, next event.Body) bool {
	return !bytes.Equal(prev.Bytes, next.Bytes)
}

// ViewParams is event.Viewer's: the mode (RFC 5875 §4.3).
func (p *Package) ViewParams(event string) string {
	for param := range strings.SplitSeq(event, ";") {
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "diff-processing") && ParseMode(strings.TrimSpace(value)) == Aggregate {
			return "aggregate"
		}
	}
	return ""
}

// Start is event.Source's.
func (p *Package) Start(e event.Engine) {
	p.docs.Observe(func(c xcap.Change) { e.Changed(Name, c.User) })
}
