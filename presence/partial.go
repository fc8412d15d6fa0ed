package presence

import (
	"bytes"
	"errors"
	"slices"

	"rollcall/event"
	"rollcall/sip"
	"rollcall/xmltree"
)

// TypeDiff is the body type of partial documents (RFC 5262 §3). The first of a
// subscription is whole: a pidf-full.
const TypeDiff = "application/pidf-diff+xml"

// SpaceDiff is the namespace of partial documents (RFC 5262 §5.1).
const SpaceDiff = "urn:ietf:params:xml:ns:pidf-diff"

const diffPrefix = "p"

var _ event.Partial = (*Package)(nil)

// Full implements event.Partial: a pidf-full has the type of a pidf-diff.
func (p *Package) Full(typ string) (string, bool) { return TypeDiff, typ == TypeDiff }

// Diff implements event.Partial (RFC 5263 §4.4). False too if the difference would
// be longer than the whole (RFC 5262 §4).
func (p *Package) Diff(prev, next event.Body, typ string) (event.Body, bool) {
	if typ != TypeDiff || prev.Type != TypeDiff || next.Type != TypeDiff {
		return event.Body{}, false
	}
	a, errA := parseOwn(prev.Bytes)
	b, errB := parseOwn(next.Bytes)
	if errA != nil || errB != nil {
		return event.Body{}, false
	}
	root := numbered("pidf-diff", b)
	root.Nodes = nil
	for _, op := range xmltree.Diff(a, b, SpaceDiff) {
		for e := range op.Elements() {
			e.Decls = slices.DeleteFunc(slices.Clone(e.Decls), func(d xmltree.Decl) bool { return slices.Contains(root.Decls, d) })
		}
		root.Append(op)
	}
	diff := numberedBody(root)
	return diff, len(diff.Bytes) < len(next.Bytes)
}

// parseOwn reads what this package wrote, of any size.
func parseOwn(b []byte) (*xmltree.Element, error) {
	return xmltree.Parse(b, xmltree.Limits{Bytes: len(b), Depth: 64, Elements: len(b), Attributes: len(b), Name: len(b)})
}

// numbered returns a root for a partial document with the declarations, entity and
// content of another root, which keeps them too.
func numbered(local string, of *xmltree.Element) *xmltree.Element {
	root := xmltree.New(SpaceDiff, diffPrefix, local)
	root.Decls = slices.Clone(of.Decls)
	if own := (xmltree.Decl{Prefix: diffPrefix, Space: SpaceDiff}); !slices.Contains(root.Decls, own) {
		root.Decls = append(root.Decls, own)
	}
	entity, _ := of.Attr("", "entity")
	root.Attrs = []xmltree.Attr{{Name: xmltree.Name{Local: "version"}, Value: "0"}, {Name: xmltree.Name{Local: "entity"}, Value: entity}}
	root.Nodes = of.Nodes
	return root
}

// numberedBody writes a root that numbered made.
func numberedBody(root *xmltree.Element) event.Body {
	b := root.Document()
	const attr = ` version="0"`
	return event.Body{Type: TypeDiff, Bytes: b, Version: bytes.Index(b, []byte(attr)) + len(attr) - 2}
}

// parsePartial reads a partial publication and returns the whole document that
// results (RFC 5264 §4.3).
func parsePartial(resource sip.AOR, body []byte, old *event.Publication) (*Document, []byte, error) {
	root, err := xmltree.Parse(body, xmltree.Limits{Bytes: MaxBytes})
	if err != nil {
		return nil, nil, err
	}
	switch {
	case root.Is(SpaceDiff, "pidf-full"):
		root.Name, root.Prefix = xmltree.Name{Space: SpacePIDF, Local: "presence"}, ""
		root.RemoveAttr("", "version")
	case root.Is(SpaceDiff, "pidf-diff"):
		if entity, ok := root.Attr("", "entity"); ok && !isEntity(entity, resource) {
			return nil, nil, errors.New("entity is not the resource")
		}
		if root, err = patched(root, old); err != nil {
			return nil, nil, err
		}
	default:
		return nil, nil, errors.New("root is neither pidf-full nor pidf-diff of " + SpaceDiff)
	}
	full := root.Document()
	if len(full) > MaxBytes {
		return nil, nil, errors.New("presence document is too long")
	}
	// Read again: the document is the one that the store gives back after a restart.
	d, err := ParseDocument(resource, full)
	return d, full, err
}

// patched applies a pidf-diff to what was published (RFC 5264 §4.3.2).
func patched(diff *xmltree.Element, old *event.Publication) (*xmltree.Element, error) {
	if old == nil {
		return nil, sip.NewError(sip.StatusBadRequest, "Invalid Partial Publication")
	}
	d, ok := old.Parsed.(*Document)
	if !ok {
		return nil, errors.New("nothing that a partial publication could change")
	}
	return xmltree.Patch(d.Root, slices.Collect(diff.Elements()), xmltree.Limits{})
}
