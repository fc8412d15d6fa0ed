package xcap

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"rollcall/auth"
	"rollcall/sip"
	"rollcall/store"
	"rollcall/xmltree"
)

// Authenticator decides who sent a request; its errors are those of
// auth.Authenticator.
type Authenticator interface {
	AuthenticateHTTP(ctx context.Context, r *http.Request, realm string, source netip.Addr, now time.Time) (auth.Identity, error)
}

// Handler serves the documents over HTTP (RFC 4825 §8). It must see paths as they
// were sent: an http.ServeMux before it would clean them.
type Handler struct {
	docs *Documents
	auth Authenticator
	root string // path of the XCAP root, without a slash at its end
	log  *zap.Logger
}

// NewHandler returns the handler for what is below the path root.
func NewHandler(docs *Documents, a Authenticator, root string, log *zap.Logger) *Handler {
	return &Handler{docs: docs, auth: a, root: strings.TrimSuffix(root, "/"), log: log}
}

const (
	allowAll  = "GET, HEAD, PUT, DELETE"
	allowRead = "GET, HEAD"
)

// ServeHTTP answers one request: read the path, ask who it is, then whether he may,
// and only then look at anything. A user that is not known is answered like another
// user's tree, 403 and not 404 (RFC 4825 §8), so that nobody learns who is here.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache") // RFC 4825 §9
	if err := h.serve(w, r); err != nil {
		h.refuse(w, r, err)
	}
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), h.root+"/")
	if !ok {
		return ErrNotFound
	}
	p, err := parsePath(path, r.URL.RawQuery)
	if err != nil {
		return err
	}
	source := netip.Addr{}
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		source = at.Addr()
	}
	who, err := h.auth.AuthenticateHTTP(r.Context(), r, p.User.Domain(), source, time.Now())
	if err != nil {
		return err
	}
	if p.Global {
		p.User = who.AOR() // for whom it is made
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case !p.Global && who.AOR() != p.User:
		return fault(http.StatusForbidden, "not your document")
	case read:
		return h.get(w, r, p)
	case r.Method != http.MethodPut && r.Method != http.MethodDelete:
		return &Fault{Status: http.StatusMethodNotAllowed, Reason: "method not allowed", Allow: allowAll}
	case p.Node != nil && p.Node.terminal == namespaces, p.Usage.generated: // §8.2, §8.4
		return &Fault{Status: http.StatusMethodNotAllowed, Reason: "method not allowed", Allow: allowRead}
	case p.Global:
		return fault(http.StatusForbidden, "global documents are not written over XCAP")
	case r.Method == http.MethodPut:
		return h.put(w, r, p)
	}
	return h.delete(w, r, p)
}

func (h *Handler) get(w http.ResponseWriter, r *http.Request, p *Path) error {
	doc, err := h.document(r.Context(), p)
	if err != nil {
		return err
	}
	if err := precondition(r, doc); err != nil {
		return err
	}
	w.Header().Set("ETag", doc.ETag)
	if tags := r.Header.Get("If-None-Match"); tags != "" && matchTag(tags, doc.ETag, true) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	body, mime := doc.Body, p.Usage.MIME
	if p.Node != nil {
		root, err := doc.Tree()
		if err != nil {
			return err
		}
		if body, mime, err = nodeBody(root, p.Node); err != nil {
			w.Header().Del("ETag")
			return err
		}
	}
	w.Header().Set("Content-Type", mime)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // a reader that went away needs no answer
	return nil
}

func (h *Handler) document(ctx context.Context, p *Path) (*Document, error) {
	switch {
	case p.Global, p.Usage.generated:
		return h.docs.generate(ctx, p, h.root)
	case p.NoFolder:
		return nil, ErrNotFound
	}
	return h.docs.fresh(ctx, p.User, p.Usage.AUID, p.Document)
}

func (h *Handler) put(w http.ResponseWriter, r *http.Request, p *Path) error {
	want, limit := p.Usage.MIME, h.docs.limit(p.Usage)
	if p.Node != nil {
		want = "application/xcap-el+xml"
		if p.Node.terminal == attribute {
			want = "application/xcap-att+xml"
		}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != want {
		return fault(http.StatusUnsupportedMediaType, "the content type is "+want) // RFC 4825 §8.2.2
	}
	if c := r.Header.Get("Content-Encoding"); c != "" && c != "identity" {
		return fault(http.StatusUnsupportedMediaType, "compressed bodies are not taken")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return fault(http.StatusRequestEntityTooLarge, "document is too large")
		}
		return fault(http.StatusBadRequest, "body can't be read")
	}
	base := documentURI(h.root, p.User, p.Usage.AUID, p.Document)
	if p.NoFolder {
		c := conflict("no-parent", "the folder does not exist")
		c.Ancestor = h.root + "/" + p.Usage.AUID + "/users/" + escapeSelector(p.User.String())
		return c
	}
	created := false
	doc, fresh, err := h.docs.change(r.Context(), p.User, p.Usage, p.Document, func(old *Document) (e edit, err error) {
		if err := precondition(r, old); err != nil {
			return e, err
		}
		if p.Node == nil {
			return h.docs.whole(p.Usage, body)
		}
		if old == nil {
			c := conflict("no-parent", "the document does not exist")
			c.Ancestor = h.root + "/" + p.Usage.AUID + "/users/" + escapeSelector(p.User.String())
			return e, c
		}
		e, created, err = editNode(old, p.Node, body, limitsFor(limit), base)
		return e, err
	})
	if err != nil {
		return err
	}
	w.Header().Set("ETag", doc.ETag)
	if created || fresh {
		w.WriteHeader(http.StatusCreated)
		return nil
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// editNode makes the next version of a document from a node of it.
func editNode(old *Document, s *Selector, body []byte, l xmltree.Limits, base string) (e edit, created bool, err error) {
	tree, err := old.Tree()
	if err != nil {
		return edit{}, false, err
	}
	root := tree.Clone()
	switch s.terminal {
	case attribute:
		created, err = putAttribute(root, s, body, l, base)
	default:
		root, created, err = putElement(root, s, body, l, base)
	}
	if err != nil {
		return edit{}, false, err
	}
	e, err = rewrite(root, l)
	return e, created, err
}

// rewrite is a changed tree as a document. It is read again, so that what is stored
// is within all limits and reads back as it was meant.
func rewrite(root *xmltree.Element, l xmltree.Limits) (edit, error) {
	body := root.Document()
	again, err := xmltree.Parse(body, l)
	if err != nil {
		return edit{}, parseFault(err, "not-well-formed")
	}
	return edit{again, body}, nil
}

func (h *Handler) delete(w http.ResponseWriter, r *http.Request, p *Path) error {
	if p.NoFolder {
		return ErrNotFound
	}
	doc, _, err := h.docs.change(r.Context(), p.User, p.Usage, p.Document, func(old *Document) (edit, error) {
		if old == nil {
			return edit{}, ErrNotFound
		}
		if err := precondition(r, old); err != nil {
			return edit{}, err
		}
		if p.Node == nil {
			return edit{}, nil
		}
		tree, err := old.Tree()
		if err != nil {
			return edit{}, err
		}
		root := tree.Clone()
		if err := deleteNode(root, p.Node); err != nil {
			return edit{}, err
		}
		return rewrite(root, limitsFor(h.docs.limit(p.Usage)))
	})
	if err != nil {
		return err
	}
	if doc != nil {
		w.Header().Set("ETag", doc.ETag)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// precondition holds a request to If-Match and, but for reading, If-None-Match
// (RFC 4825 §8.2.6). The tag of a document is that of all its nodes.
func precondition(r *http.Request, doc *Document) error {
	tag := ""
	if doc != nil {
		tag = doc.ETag
	}
	if !ifMatch(strings.Join(r.Header.Values("If-Match"), ","), doc) {
		return ErrPrecondition
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	if not := strings.Join(r.Header.Values("If-None-Match"), ","); not != "" && !read && matchTag(not, tag, true) {
		return ErrPrecondition
	}
	return nil
}

// ifMatch holds a document, nil for none, against an If-Match, "" for none (RFC 9110 §13.1.1).
func ifMatch(want string, doc *Document) bool {
	return want == "" || doc != nil && matchTag(want, doc.ETag, false)
}

// matchTag looks for a tag, "" for none, in a list. A weak one matches only when
// weak ones may.
func matchTag(list, tag string, weak bool) bool {
	if tag == "" {
		return false
	}
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if weak {
			one = strings.TrimPrefix(one, "W/")
		}
		if one == "*" || one == tag {
			return true
		}
	}
	return false
}

// refuse answers an error.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if c, ok := errors.AsType[*Conflict](err); ok {
		body := c.document()
		w.Header().Set("Content-Type", "application/xcap-error+xml")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write(body)
		return
	}
	status, reason := http.StatusInternalServerError, "internal error"
	if f, ok := errors.AsType[*Fault](err); ok {
		status, reason = f.Status, f.Reason
		if f.Allow != "" {
			w.Header().Set("Allow", f.Allow)
		}
	} else if e, ok := errors.AsType[*sip.Error](err); ok {
		// The statuses of digest authentication are the same in both protocols.
		status, reason = e.Status, e.Reason
		for _, f := range e.Headers {
			w.Header().Add(f.Name, f.Value)
		}
	} else if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrConflict) {
		status, reason = http.StatusServiceUnavailable, "store is not available"
		w.Header().Set("Retry-After", "10")
	} else if r.Context().Err() == nil {
		h.log.Error("xcap request", zap.String("method", r.Method), zap.Error(err))
	}
	if reason == "" {
		reason = http.StatusText(status)
	}
	http.Error(w, reason, status)
}

// cutRef takes a reference to a document of this server apart.
func cutRef(ref, xcapRoot string) (path, query string) {
	if u, err := url.Parse(ref); err == nil && u.Scheme != "" && u.Host != "" {
		path, query = u.EscapedPath(), u.RawQuery
	} else {
		path, query, _ = strings.Cut(ref, "?")
	}
	path = strings.TrimPrefix(path, strings.TrimSuffix(xcapRoot, "/")+"/")
	return strings.TrimPrefix(path, "/"), query
}
