package server

import (
	"context"
	"strings"

	"rollcall/auth"
	"rollcall/event"
	"rollcall/policy"
	"rollcall/sip"
	"rollcall/xmltree"
)

// companyLists are the lists of users and, besides, one for each group of accounts of
// the company, under an address that begins with prefix.
type companyLists struct {
	lists
	s      *Server
	prefix string // "": no lists of groups
}

var _ event.Lists = companyLists{}

// Members implements event.Lists. An account or a list of a user goes before a group of
// the same address.
func (c companyLists) Members(ctx context.Context, list, watcher sip.AOR) ([]event.Member, bool, error) {
	members, found, err := c.lists.Members(ctx, list, watcher)
	if found || err != nil {
		return members, found, err
	}
	name, ok := strings.CutPrefix(list.User(), c.prefix)
	if !ok || c.prefix == "" || !c.s.directory.Serves(list.Domain()) {
		return nil, false, nil
	}
	if is, err := c.s.directory.Has(ctx, list); is || err != nil {
		return nil, false, err
	}
	group, err := c.group(ctx, name, watcher)
	if err != nil || len(group) == 0 {
		return nil, false, err
	}
	if !c.s.directory.Serves(watcher.Domain()) {
		return nil, true, sip.NewError(sip.StatusForbidden, "")
	}
	for _, m := range group {
		members = append(members, event.Member{AOR: m.AOR, Name: m.Name})
	}
	return members, true, nil
}

// group returns the members of a group as an account finds them: without itself, and
// without those from whom a rule of the company keeps it.
func (c companyLists) group(ctx context.Context, name string, watcher sip.AOR) ([]auth.GroupMember, error) {
	all, err := c.s.groups.Members(ctx, name)
	if err != nil {
		return nil, err
	}
	rules := c.s.rules.Load()
	own := c.s.party(watcher)
	list := all[:0]
	for _, m := range all {
		if m.AOR != watcher && (!rules.Separates() || rules.Between(own, policy.Party{AOR: m.AOR.String(), Groups: m.Groups}) == "") {
			list = append(list, m)
		}
	}
	return list, nil
}

// Observe has f told whose lists may have changed; the zero AOR: anybody's.
func (c companyLists) Observe(f func(owner sip.AOR)) {
	c.lists.Observe(f)
	c.s.groupsChanged.Store(&f)
}

// tellGroups tells that the members of groups may have changed.
func (s *Server) tellGroups() {
	if f := s.groupsChanged.Load(); f != nil {
		(*f)(sip.AOR{})
	}
}

// maxDirectory bounds the entries of the document that lists the company.
const maxDirectory = 5000

// companyDocument implements xcap.Options.Company: a list for each group, for clients
// that fetch a contact list rather than subscribe to one.
func (s *Server) companyDocument(ctx context.Context, user sip.AOR) (*xmltree.Element, error) {
	root := xmltree.New(nsLists, "", "resource-lists")
	root.Decls = []xmltree.Decl{{Space: nsLists}}
	c := companyLists{s: s}
	names, err := s.groups.Names(ctx)
	if err != nil {
		return nil, err
	}
	entries := 0
	for _, name := range names {
		members, err := c.group(ctx, auth.GroupAddress(name), user)
		if err != nil {
			return nil, err
		}
		if entries += len(members); len(members) == 0 || entries > maxDirectory {
			continue
		}
		list := xmltree.New(nsLists, "", "list")
		list.SetAttr("", "name", name)
		for _, m := range members {
			e := xmltree.New(nsLists, "", "entry")
			e.SetAttr("", "uri", m.AOR.String())
			if m.Name != "" {
				d := xmltree.New(nsLists, "", "display-name")
				d.SetText(m.Name)
				e.Append(d)
			}
			list.Append(e)
		}
		root.Append(list)
	}
	return root, nil
}
