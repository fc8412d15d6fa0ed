package dialoginfo

import (
	"errors"
	"fmt"
	"strings"

	"rollcall/xmltree"
)

// Space is the namespace of dialog-info (RFC 4235 §4).
const Space = "urn:ietf:params:xml:ns:dialog-info"

// Limits of a published document.
const (
	MaxBytes   = 64 << 10
	MaxDialogs = 64
	maxID      = 256 // bytes of an identifier
)

// Document is a published document. Its elements are never changed.
type Document struct {
	Dialogs []*xmltree.Element
	partial bool
}

// ParseDocument reads a dialog-info document and checks what is used of it.
func ParseDocument(body []byte) (*Document, error) {
	root, err := xmltree.Parse(body, xmltree.Limits{Bytes: MaxBytes})
	if err != nil {
		return nil, err
	}
	if !root.Is(Space, "dialog-info") {
		return nil, errors.New("root is not dialog-info of " + Space)
	}
	d := &Document{}
	switch state, _ := root.Attr("", "state"); state {
	case "full":
	case "partial":
		d.partial = true
	default:
		return nil, errors.New("dialog-info has no state")
	}
	seen := map[string]bool{}
	for e := range root.Children(Space, "dialog") {
		if len(d.Dialogs) == MaxDialogs {
			return nil, fmt.Errorf("more than %d dialogs", MaxDialogs)
		}
		if err := check(e); err != nil {
			return nil, err
		}
		id := attr(e, "id")
		if seen[id] { // RFC 4235 §4.1.1: unique at a user agent
			return nil, errors.New("two dialogs of one id")
		}
		seen[id] = true
		d.Dialogs = append(d.Dialogs, e.Clone())
	}
	return d, nil
}

func check(dialog *xmltree.Element) error {
	if attr(dialog, "id") == "" {
		return errors.New("dialog without id")
	}
	for _, name := range [...]string{"id", "call-id", "local-tag", "remote-tag"} {
		if len(attr(dialog, name)) > maxID {
			return errors.New(name + " too long")
		}
	}
	switch stateOf(dialog) {
	case "trying", "proceeding", "early", "confirmed", "terminated":
		return nil
	}
	return errors.New("dialog without a known state")
}

func attr(e *xmltree.Element, name string) string {
	v, _ := e.Attr("", name)
	return v
}

// stateOf is the state of a dialog (RFC 4235 §3.7.1), "" without.
func stateOf(dialog *xmltree.Element) string {
	if s := dialog.Child(Space, "state"); s != nil {
		return strings.TrimSpace(s.Text())
	}
	return ""
}

// apply returns what a partial document makes of an older one (RFC 4235 §4.3).
// Dialogs that had ended before are gone.
func (d *Document) apply(old *Document) (*Document, error) {
	out := &Document{}
	next := map[string]*xmltree.Element{}
	for _, e := range d.Dialogs {
		next[attr(e, "id")] = e
	}
	for _, was := range old.Dialogs {
		id := attr(was, "id")
		if e := next[id]; e != nil {
			out.Dialogs = append(out.Dialogs, inherit(e, was))
			delete(next, id)
		} else if stateOf(was) != "terminated" {
			out.Dialogs = append(out.Dialogs, was)
		}
	}
	for _, e := range d.Dialogs {
		if next[attr(e, "id")] != nil {
			out.Dialogs = append(out.Dialogs, e)
		}
	}
	if len(out.Dialogs) > MaxDialogs {
		return nil, fmt.Errorf("more than %d dialogs", MaxDialogs)
	}
	return out, nil
}

// inherit returns the dialog with what need not be repeated: identities, targets
// and session descriptions of the participants (RFC 4235 §4.1.6). When it began does
// not change.
func inherit(next, was *xmltree.Element) *xmltree.Element {
	out := next.Clone()
	if d := was.Child(Space, "duration"); d != nil && out.Child(Space, "duration") == nil {
		setDuration(out, d.Text())
	}
	for _, side := range [...]string{"local", "remote"} {
		old := was.Child(Space, side)
		if old == nil {
			continue
		}
		now := out.Child(Space, side)
		if now == nil {
			at := len(out.Nodes)
			if remote := out.Child(Space, "remote"); remote != nil && side == "local" {
				at = out.Index(remote)
			}
			out.InsertAt(at, old.Clone())
			continue
		}
		for i, name := range [...]string{"identity", "target", "session-description"} {
			if now.Child(Space, name) != nil {
				continue
			}
			at := 0 // in the order of the schema
			for j, n := range now.Nodes {
				e, ok := n.(*xmltree.Element)
				if ok && (e.Is(Space, "identity") || i == 2 && e.Is(Space, "target")) {
					at = j + 1
				}
			}
			var copies []xmltree.Node
			for e := range old.Children(Space, name) {
				copies = append(copies, e.Clone())
			}
			now.InsertAt(at, copies...)
		}
	}
	return out
}

// write returns a document of the dialogs as a publication has it.
func (d *Document) write(entity string) []byte {
	root := envelope(entity)
	for _, e := range d.Dialogs {
		root.Append(e.Clone())
	}
	return root.Document()
}

// envelope is a document of full state without dialogs.
func envelope(entity string) *xmltree.Element {
	root := xmltree.New(Space, "", "dialog-info")
	root.SetAttr("", "version", "0")
	root.SetAttr("", "state", "full")
	root.SetAttr("", "entity", entity)
	return root
}

// same reports whether two elements tell of one dialog. Who names the Call-ID is
// believed; ids alone count only for documents of one device.
func same(a, b *xmltree.Element, device bool) bool {
	callID := attr(a, "call-id")
	if callID == "" || attr(b, "call-id") == "" {
		return device && attr(a, "id") == attr(b, "id")
	}
	if callID != attr(b, "call-id") {
		return false
	}
	for _, tag := range [...]string{"local-tag", "remote-tag"} { // a half-dialog lacks one
		if x, y := attr(a, tag), attr(b, tag); x != "" && y != "" && x != y {
			return false
		}
	}
	return true
}
