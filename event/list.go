package event

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/sip"
	"rollcall/xmltree"
)

// Member is an entry of a resource list (RFC 4826 §3).
type Member struct {
	AOR  sip.AOR
	Name string // display name
}

// Lists knows resource lists (RFC 4662 §3). If its value has a method
// Observe(func(watcher sip.AOR)), that is called once with what must be told whose lists
// may have changed, the zero AOR for everybody's.
type Lists interface {
	// Members returns the members of a list that is watched by its URI, nested ones
	// resolved, each once. False: the URI is no list. An error of the list's is a
	// *sip.Error, as for a watcher who may not use it.
	Members(ctx context.Context, list, watcher sip.AOR) ([]Member, bool, error)
	// Parse reads the list that a SUBSCRIBE carries (RFC 5367 §4).
	Parse(body []byte) ([]Member, error)
}

// MaxMembers bounds one list; more are answered 403.
const MaxMembers = 500

// RFC 4662 §5 and RFC 5367 §5 name these.
const (
	optionList = "eventlist"
	typeList   = "application/resource-lists+xml"
	typeRLMI   = "application/rlmi+xml"
	nsRLMI     = "urn:ietf:params:xml:ns:rlmi"
)

// list is what a subscription to many resources has besides. The lock of its
// subscription's resource guards it.
type list struct {
	members  []*member // replaced as a whole
	inBody   bool      // the SUBSCRIBE carried it
	bare     bool      // Content-ID without brackets, for who knows no other form
	told     bool      // full state went out since the last SUBSCRIBE
	boundary string
}

// member is one resource of a list: a subscription without a dialog in the
// resource's own queue, whose NOTIFYs become parts of the list's.
type member struct {
	sub  *subscription
	aor  sip.AOR
	name string

	// What the list tells; the lock of the list's resource guards it.
	standing Standing
	body     Body
	changed  bool
}

// weight is how many subscriptions it counts for: each member of a list is one.
func (s *subscription) weight() int {
	if s.list == nil {
		return 1
	}
	return 1 + len(s.list.members)
}

// members are those of the subscription's list now.
func (s *subscription) members() []*member {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return s.list.members
}

// listOf returns the members that a SUBSCRIBE is about; nil for a single resource.
func (n *Notifier) listOf(ctx context.Context, rq Request) ([]Member, error) {
	m := rq.Message
	if n.o.Lists == nil {
		return nil, nil
	}
	var members []Member
	var found bool
	var err error
	if rq.Body != "" && mediaType(m) == typeList {
		if members, err = n.o.Lists.Parse([]byte(rq.Body)); err != nil {
			return nil, sip.NewError(sip.StatusBadRequest, reason(err))
		}
		found = true
	} else if aor, err := sip.ParseAOR(m.URI()); err == nil {
		if members, found, err = n.o.Lists.Members(ctx, aor, rq.From.AOR()); err != nil {
			return nil, err
		}
	}
	switch {
	case !found:
		return nil, nil
	case !m.HasTag(sip.HeaderSupported, optionList) && !m.HasTag(sip.HeaderRequire, optionList): // RFC 4662 §4.1
		return nil, sip.NewError(statusExtensionRequired, "", sip.Field{Name: "Require", Value: optionList})
	case len(members) > MaxMembers:
		return nil, sip.NewError(sip.StatusForbidden, "List is too long")
	case len(members) == 0:
		return nil, sip.NewError(sip.StatusNotFound, "List is empty")
	}
	return members, nil
}

const statusExtensionRequired = 421

// enroll makes the subscriptions to the members (RFC 4662 §4). Each is judged by
// itself: who may not see one learns no more of it than that.
func (n *Notifier) enroll(ctx context.Context, k *pack, s *subscription, members []Member) {
	for _, m := range members {
		s.list.members = append(s.list.members, n.member(ctx, k, s, m))
	}
}

func (n *Notifier) member(ctx context.Context, k *pack, s *subscription, m Member) *member {
	e := &member{aor: m.AOR, name: m.Name, changed: true}
	e.sub = &subscription{watcher: s.watcher, event: s.event, view: s.view, since: s.since, expires: s.expires, parent: s, entry: e, force: true}
	owner := n.owner(m.AOR)
	known, err := n.o.Accounts.Has(ctx, owner)
	if err == nil && known {
		v, err := k.Authorize(ctx, owner, Watcher{AOR: s.watcher, Event: s.event})
		if err == nil {
			e.sub.standing, e.sub.rule, e.sub.review, e.sub.view.Class = v.Standing, v.Rule, v.Until, v.Class
		}
	}
	e.standing = e.sub.standing
	return e
}

// attach puts members into the queues of their resources.
func (n *Notifier) attach(k *pack, members []*member) {
	for _, e := range members {
		if e.sub.standing != Refused {
			owner := n.owner(e.aor)
			n.join(k, owner, e.sub)
			k.tellObservers(owner)
		}
	}
}

// detach takes members of a subscription's list out of them.
func (n *Notifier) detach(s *subscription, members []*member) {
	for _, e := range members {
		if r := e.sub.r; r != nil {
			r.mu.Lock()
			if i := slices.Index(r.subs, e.sub); i >= 0 {
				r.subs = slices.Delete(r.subs, i, i+1)
			}
			waits := e.sub.standing == Pending && s.reason == "timeout"
			r.mu.Unlock()
			if waits {
				n.remember(r, e.sub, e.sub.told())
			}
			r.pack.tellObservers(r.aor)
			n.settle(r)
		}
	}
}

// deliver takes what a member sees now and has the list told.
func (n *Notifier) deliver(v *views, s *subscription) {
	r := v.r
	r.mu.Lock()
	standing, view, tag, force, unfiltered := s.standing, s.view, s.tag, s.force, s.unfiltered
	s.force, s.inFlight = false, false
	r.mu.Unlock()
	m := new(made)
	if standing == Active {
		if m = v.body(view); m.err != nil {
			return
		}
	}
	if m.tag == tag && !force {
		return
	}
	if view.Filter != "" && standing == Active {
		var told bool
		if unfiltered, told = v.triggered(view, unfiltered); !told && !force {
			return
		}
	}
	r.mu.Lock()
	s.tag, s.unfiltered = m.tag, unfiltered
	ended := s.ended
	r.mu.Unlock()
	p := s.parent.r
	p.mu.Lock()
	if ended {
		standing = Refused
	}
	s.entry.body, s.entry.standing, s.entry.changed = m.body, standing, true
	s.parent.waiting = true
	p.mu.Unlock()
	n.wake(p, false)
}

// listBody writes the list's NOTIFY: all members, or those that changed since
// the last one (RFC 4662 §5.2, §5.3). Version counts from 0.
func (n *Notifier) listBody(s *subscription, version uint32, full bool) Body {
	r := s.r
	if full { // what the members have not told yet
		for _, e := range s.members() {
			n.catchUp(r, e)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	root := xmltree.New(nsRLMI, "", "list")
	root.SetAttr("", "uri", r.aor.String())
	root.SetAttr("", "version", strconv.FormatUint(uint64(version), 10))
	root.SetAttr("", "fullState", strconv.FormatBool(full))
	var parts []byte
	now := time.Now()
	for i, e := range s.list.members {
		if !full && !e.changed {
			continue
		}
		e.changed = false
		x := xmltree.New(nsRLMI, "", "resource")
		x.SetAttr("", "uri", e.aor.String())
		if e.name != "" {
			name := xmltree.New(nsRLMI, "", "name")
			name.Append(xmltree.Text(e.name))
			x.Append(name)
		}
		instance := xmltree.New(nsRLMI, "", "instance")
		instance.SetAttr("", "id", "1")
		instance.SetAttr("", "state", e.standing.String())
		switch {
		case e.standing == Refused:
			instance.SetAttr("", "reason", "rejected")
		case len(e.body.Bytes) > 0:
			cid := strconv.Itoa(i) + "." + strconv.FormatUint(uint64(version), 10) + "@" + r.aor.Domain()
			instance.SetAttr("", "cid", cid)
			parts = s.list.appendPart(parts, cid, e.body.Type, e.body.Append(nil, version, now))
		}
		x.Append(instance)
		root.Append(x)
	}
	start := "list." + strconv.FormatUint(uint64(version), 10) + "@" + r.aor.Domain()
	b := s.list.appendPart(nil, start, typeRLMI+`;charset="UTF-8"`, root.Document())
	b = append(b, parts...)
	b = append(append(append(b, "--"...), s.list.boundary...), "--\r\n"...)
	typ := `multipart/related;type="application/rlmi+xml"`
	if !s.list.bare {
		typ += `;start="<` + start + `>"`
	}
	return Body{Type: typ + ";boundary=" + s.list.boundary, Bytes: b, Version: -1} // unquoted: a quoted one crashes old clients
}

// catchUp makes what a member has not told yet. No lock is held.
func (n *Notifier) catchUp(list *resource, e *member) {
	r := e.sub.r
	list.mu.Lock()
	missing := r != nil && e.standing == Active && len(e.body.Bytes) == 0
	list.mu.Unlock()
	if !missing {
		return
	}
	r.mu.Lock()
	view := e.sub.view
	r.mu.Unlock()
	if m := (&views{n: n, r: r}).body(view); m.err == nil {
		list.mu.Lock()
		e.body = m.body
		list.mu.Unlock()
	}
}

// tag is the entity-tag of the list's full state, whatever of it is told (RFC 5839
// §6.5). The lock of its subscription's resource guards it.
func (l *list) tag() string {
	h := fnv.New64a()
	for _, e := range l.members {
		fmt.Fprintf(h, "%s %q %s %s\n", e.aor, e.name, e.standing, entityTag(e.body)) // never fails
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

// appendPart writes one part. RFC 2045 §7 wants brackets around a Content-ID;
// liblinphone knows only the bare form.
func (l *list) appendPart(b []byte, cid, typ string, body []byte) []byte {
	b = append(append(append(b, "--"...), l.boundary...), "\r\nContent-Transfer-Encoding: binary\r\nContent-Id: "...)
	if l.bare {
		b = append(b, cid...)
	} else {
		b = append(append(append(b, '<'), cid...), '>')
	}
	b = append(append(append(b, "\r\nContent-Type: "...), typ...), "\r\n\r\n"...)
	return append(append(b, body...), "\r\n"...)
}

// liblinphone tells a client that reads lists in its own way: Content-Id without
// brackets, and an event name with a capital letter, whatever it wrote itself.
func liblinphone(m *sip.Message) bool {
	ua := strings.ToLower(m.Get(sip.HeaderUserAgent))
	return strings.Contains(ua, "linphone") || strings.Contains(ua, "belle-sip")
}
