package xcap

import (
	"context"
	"strconv"

	"rollcall/sip"
	"rollcall/xmltree"
)

// capabilities is the document global/index of xcap-caps (RFC 4825 §12).
func capabilities() []byte {
	root := xmltree.New(capsSpace, "", "xcap-caps")
	auids := xmltree.New(capsSpace, "", "auids")
	spaces := xmltree.New(capsSpace, "", "namespaces")
	seen := map[string]bool{}
	add := func(to *xmltree.Element, name, text string) {
		e := xmltree.New(capsSpace, "", name)
		e.SetText(text)
		to.Append(e)
	}
	for _, u := range usages {
		add(auids, "auid", u.AUID)
		for _, space := range []string{u.Space, u.root.Space} {
			if space != "" && !seen[space] {
				seen[space] = true
				add(spaces, "namespace", space)
			}
		}
	}
	root.Append(auids, xmltree.New(capsSpace, "", "extensions"), spaces)
	return root.Document()
}

// directory lists the documents of a user, as OMA has it.
func (d *Documents) directory(ctx context.Context, user sip.AOR, xcapRoot string) ([]byte, error) {
	root := xmltree.New(directorySpace, "", "xcap-directory")
	for _, u := range usages {
		if u.generated {
			continue
		}
		docs, err := d.List(ctx, user, u.AUID)
		if err != nil {
			return nil, err
		}
		if len(docs) == 0 {
			continue
		}
		folder := xmltree.New(directorySpace, "", "folder")
		folder.SetAttr("", "auid", u.AUID)
		for _, doc := range docs {
			e := xmltree.New(directorySpace, "", "entry")
			e.SetAttr("", "uri", documentURI(xcapRoot, user, u.AUID, doc.Name))
			e.SetAttr("", "etag", doc.ETag)
			e.SetAttr("", "size", strconv.Itoa(len(doc.Body)))
			folder.Append(e)
		}
		root.Append(folder)
	}
	return root.Document(), nil
}

// documentURI is the path of a document of a user.
func documentURI(xcapRoot string, user sip.AOR, auid, name string) string {
	return xcapRoot + "/" + auid + "/users/" + escapeSelector(user.String()) + "/" + escapeSelector(name)
}

// generate returns a document that the server makes, or ErrNotFound.
func (d *Documents) generate(ctx context.Context, p *Path, xcapRoot string) (*Document, error) {
	var body []byte
	var err error
	switch {
	case p.Global && p.Usage.AUID == Capabilities && p.Document == "index":
		body = capabilities()
	case p.Global && p.Usage.AUID == ResourceLists && p.Document == "index" && d.o.Company != nil:
		var root *xmltree.Element
		if root, err = d.o.Company(ctx, p.User); err == nil {
			body = root.Document()
		}
	case p.Global && p.Usage.AUID == RLSServices && p.Document == "index":
		body, err = d.globalServices(ctx)
	case !p.Global && p.Usage.AUID == Directory && p.Document == "directory.xml":
		body, err = d.directory(ctx, p.User, xcapRoot)
	default:
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return newDocument(p.User, p.Usage.AUID, p.Document, body), nil
}

// Lookup returns the element that an XCAP URI of this server names, with its
// document: one below the XCAP root, or a path relative to it (RFC 4826 §3.1,
// entry-ref and external). The scheme and host of an absolute one are not looked
// at. The element must not be changed. The error is ErrNotFound for what is not
// here.
func (d *Documents) Lookup(ctx context.Context, ref, xcapRoot string) (*xmltree.Element, *Document, error) {
	path, query := cutRef(ref, xcapRoot)
	p, err := parsePath(path, query)
	if err != nil || p.Global || p.NoFolder || p.Usage.generated {
		return nil, nil, ErrNotFound
	}
	doc, err := d.Get(ctx, p.User, p.Usage.AUID, p.Document)
	if err != nil {
		return nil, nil, err
	}
	root, err := doc.Tree()
	if err != nil || p.Node == nil {
		return root, doc, err
	}
	e, _ := resolve(root, p.Node.steps)
	if e == nil || p.Node.terminal != element {
		return nil, nil, ErrNotFound
	}
	return e, doc, nil
}
