package server

import (
	"context"
	"errors"

	"rollcall/presence"
	"rollcall/sip"
	"rollcall/xcap"
	"rollcall/xmltree"
)

// presenceRules are the presence rules that users keep among their documents (RFC
// 5025 §9.7), or where clients of OMA keep them.
type presenceRules struct{ documents *xcap.Documents }

var _ presence.RuleSource = presenceRules{}

// ruleDocuments are where rules may stand. Clients of either kind write their own, so
// all that is there holds together (RFC 4745 §10.1).
var ruleDocuments = [...]struct{ auid, name string }{{xcap.PresRules, "index"}, {xcap.OMAPresRules, "pres-rules"}}

// Rules implements presence.RuleSource.
func (r presenceRules) Rules(ctx context.Context, account sip.AOR) (presence.RuleDocument, error) {
	var all presence.RuleDocument
	for _, at := range ruleDocuments {
		doc, err := r.documents.Get(ctx, account, at.auid, at.name)
		if errors.Is(err, xcap.ErrNotFound) {
			continue
		}
		if err != nil {
			return presence.RuleDocument{}, err
		}
		tree, err := doc.Tree()
		if err != nil {
			return presence.RuleDocument{}, err
		}
		all.Trees = append(all.Trees, tree)
		all.ETag += at.auid + " " + doc.ETag + " "
	}
	return all, nil
}

// InList implements presence.RuleSource.
func (r presenceRules) InList(ctx context.Context, account sip.AOR, anchor string, watcher sip.AOR) (bool, error) {
	g := gathering{lists: lists(r), ctx: ctx, owner: account, seen: map[sip.AOR]bool{}, visited: map[*xmltree.Element]bool{}}
	g.follow(anchor)
	return g.seen[watcher], g.err
}

// Observe implements presence.RuleSource. Rules may ask for lists, so these count
// too.
func (r presenceRules) Observe(f func(sip.AOR)) {
	r.documents.Observe(func(c xcap.Change) {
		if c.AUID == xcap.ResourceLists {
			f(c.User)
			return
		}
		for _, at := range ruleDocuments {
			if c.AUID == at.auid && c.Name == at.name {
				f(c.User)
			}
		}
	})
}
