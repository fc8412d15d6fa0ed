package xcap

import (
	"context"
	"strings"

	"rollcall/sip"
	"rollcall/xmltree"
)

// keepApart refuses entries that are new to a list and that a rule of the company
// keeps from its owner. Those that stand there already stay, so that a client, which
// writes its list as a whole, can still change the rest; in what is subscribed to
// they show as rejected.
func (d *Documents) keepApart(ctx context.Context, user sip.AOR, u *Usage, old *Document, next *xmltree.Element) error {
	if d.o.Apart == nil || u.AUID != ResourceLists && u.AUID != RLSServices {
		return nil
	}
	known := map[sip.AOR]bool{}
	if old != nil {
		if root, err := old.Tree(); err == nil {
			entries(root, func(a sip.AOR) bool { known[a] = true; return true })
		}
	}
	var barred string
	entries(next, func(a sip.AOR) bool {
		if !known[a] && a != user && d.o.Apart(ctx, user, a) != "" {
			barred = a.String()
		}
		known[a] = true
		return barred == ""
	})
	if barred != "" {
		return conflict("constraint-failure", "the policy of the company keeps %s from this list", barred)
	}
	return nil
}

// entries calls f for the address of each entry until it says no.
func entries(root *xmltree.Element, f func(sip.AOR) bool) {
	for e := range root.All() {
		if !e.Is(resourceListsSpace, "entry") {
			continue
		}
		uri, _ := e.Attr("", "uri")
		if a, err := sip.ParseAORString(strings.TrimSpace(uri)); err == nil && !f(a) {
			return
		}
	}
}
