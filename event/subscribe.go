package event

import (
	"context"
	"strconv"
	"strings"
	"time"

	"rollcall/auth"
	"rollcall/sip"
	"rollcall/sip/dialog"
	"rollcall/sip/transport"
)

// Request is what the server hands in: a request that passed Check, from an
// authenticated account.
type Request struct {
	Message *sip.Message
	From    auth.Identity
	Flow    transport.Flow
	Body    string // decoded
	Now     time.Time
}

// Answer is the 2xx of a SUBSCRIBE or PUBLISH.
type Answer struct {
	Status int
	ToTag  string // "" where the request has one
	Fields []sip.Field

	// Then must be called when the answer has been sent.
	Then func()
}

// Limits of what a SUBSCRIBE may make grow.
const (
	maxEvent  = 256
	maxFilter = 8 << 10 // of a body
)

// Subscribe serves SUBSCRIBE (RFC 6665 §4.2.1).
func (n *Notifier) Subscribe(ctx context.Context, rq Request) (Answer, error) {
	a, err := n.subscribe(ctx, rq)
	if err != nil {
		n.Counters.Refused.Add(1)
	}
	return a, err
}

func (n *Notifier) subscribe(ctx context.Context, rq Request) (Answer, error) {
	m := rq.Message
	to, err := m.To()
	if err != nil {
		return Answer{}, sip.NewError(sip.StatusBadRequest, "Malformed To")
	}
	if tag := to.Tag(); tag != "" && n.subscription(tag) == nil { // RFC 3261 §12.2.2
		return Answer{}, sip.NewError(sip.StatusNoDialog, "")
	}
	k, fault := n.packOf(m)
	if fault != nil {
		return Answer{}, fault
	}
	life, fault := expires(m, k.spec.Default, k.spec.Min, k.spec.Max)
	if fault != nil {
		return Answer{}, fault
	}
	if tag := to.Tag(); tag != "" {
		return n.refresh(rq, k, tag, life)
	}
	return n.begin(ctx, rq, k, life)
}

// begin makes a subscription, or fetches the state when it asks for no time
// (RFC 6665 §4.4.3).
func (n *Notifier) begin(ctx context.Context, rq Request, k *pack, life time.Duration) (Answer, error) {
	m := rq.Message
	members, err := n.listOf(ctx, rq)
	if err != nil {
		return Answer{}, err
	}
	var aor sip.AOR
	if members == nil {
		aor, err = n.account(ctx, m)
	} else if aor, err = sip.ParseAOR(m.URI()); err != nil {
		aor, err = rq.From.AOR(), nil // a list that is told to the server itself
	}
	if err != nil {
		return Answer{}, err
	}
	aor = aor.Clone()
	event := m.Get(sip.HeaderEvent)
	if len(event) > maxEvent {
		return Answer{}, sip.NewError(sip.StatusBadRequest, "Event is too long")
	}
	view, partial, fault := k.accept(m)
	if fault != nil {
		return Answer{}, fault
	}
	verdict := Verdict{Standing: Active, Rule: "list"} // its members are judged one by one
	if members == nil {
		if verdict, err = k.Authorize(ctx, aor, Watcher{AOR: rq.From.AOR(), Event: event}); err != nil {
			return Answer{}, err
		}
	}
	if verdict.Standing == Refused { // RFC 6665 §4.2.1.3; nobody is told anything
		return Answer{}, sip.NewError(sip.StatusForbidden, "")
	}
	view.Class = verdict.Class
	if rq.Body != "" && (members == nil || mediaType(m) != typeList) {
		var list sip.AOR
		if members != nil {
			list = aor
		}
		if view.Filter, err = k.readFilter(m, rq.Body, list); err != nil {
			return Answer{}, err
		}
	}
	tag := newTag()
	d, fault := dialog.FromRequest(m, tag)
	if fault != nil {
		return Answer{}, fault
	}
	if k.viewer != nil {
		view.Params = strings.Clone(k.viewer.ViewParams(event))
	}
	s := &subscription{
		dialog: d, flow: rq.Flow, watcher: rq.From.AOR().Clone(), device: deviceOf(m), event: k.eventOf(event), view: view, partial: partial,
		standing: verdict.Standing, rule: verdict.Rule, review: verdict.Until,
		since: rq.Now.UTC(), expires: rq.Now.Add(life), force: true, match: suppressIfMatch(m),
	}
	s.rates(event, k.spec.Interval, rq.Now)
	if life == 0 {
		s.end("timeout")
		s.expires = rq.Now
	}
	fields := n.fields(rq.Flow, life)
	in := k
	if members != nil {
		in, s.partial = k.list, ""
		s.list = &list{inBody: mediaType(m) == typeList && rq.Body != "", bare: liblinphone(m), boundary: newTag()}
		if s.list.bare { // it subscribes to presence, and takes a list from Presence alone
			s.event = strings.ToUpper(s.event[:1]) + s.event[1:]
		}
		fields = append(fields, sip.Field{Name: "Require", Value: optionList}) // RFC 4662 §4.1
		n.enroll(ctx, k, s, members)
	}
	if fault := n.enter(in, aor, s); fault != nil {
		return Answer{}, fault
	}
	if life > 0 {
		if members != nil {
			n.attach(k, s.list.members)
		}
		n.store(s)
	}
	return Answer{Status: sip.StatusOK, ToTag: tag, Fields: fields, Then: func() {
		n.wake(s.r, false)
		in.tellObservers(aor)
	}}, nil
}

// refresh serves a SUBSCRIBE within a dialog (RFC 6665 §4.2.1.4).
func (n *Notifier) refresh(rq Request, k *pack, tag string, life time.Duration) (Answer, error) {
	m := rq.Message
	s := n.subscription(tag)
	gone := sip.NewError(sip.StatusNoDialog, "")
	if s == nil || s.r.pack != k && s.r.pack != k.list {
		return Answer{}, gone
	}
	r := s.r
	var filter string // as it is, unless there is another (RFC 4660 §4.2, §5.2.2)
	// RFC 5367 §5.1 wants a list refused here; linphone repeats its own in each refresh.
	if rq.Body != "" && mediaType(m) != typeList {
		var list sip.AOR
		if s.list != nil {
			list = r.aor
		}
		var err error
		if filter, err = k.readFilter(m, rq.Body, list); err != nil {
			return Answer{}, err
		}
	}
	r.mu.Lock()
	if s.ended || !s.dialog.Holds(m) || s.watcher != rq.From.AOR() || idOf(s.event) != idOf(m.Get(sip.HeaderEvent)) {
		r.mu.Unlock()
		return Answer{}, gone
	}
	if fault := s.dialog.Refresh(m); fault != nil {
		r.mu.Unlock()
		return Answer{}, fault
	}
	was := s.flow
	s.flow, s.suspended, s.retryAt = rq.Flow, false, time.Time{}
	s.expires = rq.Now.Add(life)
	s.rates(m.Get(sip.HeaderEvent), k.spec.Interval, rq.Now)
	status := sip.StatusOK
	s.match = suppressIfMatch(m)
	refiltered := filter != "" && filter != s.view.Filter
	if refiltered {
		s.filterBy(filter)
	}
	met := s.conditionMet() && (!refiltered || s.match == "*")
	switch {
	case life == 0 && met: // RFC 5839 §5.7: the answer is the end of it
		s.ended, s.final, s.force, s.waiting = true, true, false, false
	case life == 0:
		s.end("timeout")
	case !met:
		s.force = true
	}
	if met {
		status = statusNoNotification // RFC 5839 §6.3
	}
	if s.list != nil { // RFC 4662 §4.5: full state follows each SUBSCRIBE
		s.list.told = false
		for _, e := range s.list.members {
			e.sub.expires = s.expires
		}
	}
	r.mu.Unlock()
	if refiltered && s.list != nil {
		n.filterMembers(s, filter)
	}
	n.hang(s, was, rq.Flow)
	switch {
	case life > 0:
		n.store(s)
	case met:
		n.drop(s)
	}
	return Answer{Status: status, Fields: n.fields(rq.Flow, life), Then: func() { n.wake(r, false) }}, nil
}

// subscription returns the one with that local tag, or nil.
func (n *Notifier) subscription(tag string) *subscription {
	sh := n.shardOf(tag)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.subs[tag]
}

// enter puts a subscription into the tables. One of the same device for the same
// thing is dead: its device has forgotten it (RFC 6665 §4.5.2 asks for another id
// otherwise).
func (n *Notifier) enter(k *pack, aor sip.AOR, s *subscription) *sip.Error {
	if !n.count(s.watcher, s.weight()) {
		return sip.NewError(sip.StatusServiceUnavailable, "Too many subscriptions", sip.Field{Name: "Retry-After", Value: "60"})
	}
	dead := n.join(k, aor, s)
	sh := n.shardOf(s.id())
	sh.mu.Lock()
	sh.subs[s.id()] = s
	sh.mu.Unlock()
	n.hang(s, transport.Flow{}, s.flow)
	n.watchList(s, true)
	for _, o := range dead {
		n.drop(o)
	}
	return nil
}

// join puts a subscription into its resource's queue and returns those it makes
// void.
func (n *Notifier) join(k *pack, aor sip.AOR, s *subscription) (dead []*subscription) {
	for {
		r := n.resource(k, aor, true)
		r.mu.Lock()
		if r.gone {
			r.mu.Unlock()
			continue
		}
		for _, o := range r.subs {
			if s.parent == nil && o.parent == nil && o.watcher == s.watcher && o.device == s.device && o.event == s.event && !o.ended && !s.ended {
				o.ended = true
				dead = append(dead, o)
			}
		}
		s.r = r
		r.subs = append(r.subs, s)
		r.mu.Unlock()
		return dead
	}
}

// count counts a watcher's subscriptions; false: over a limit, and not counted.
func (n *Notifier) count(watcher sip.AOR, by int) bool {
	set := n.settings.Load()
	n.countMu.Lock()
	defer n.countMu.Unlock()
	if by > 0 && (n.watchers[watcher]+by > set.MaxPerWatcher || n.Counters.Subscriptions.Load()+int64(by) > int64(set.MaxInAll)) {
		return false
	}
	if n.watchers[watcher] += by; n.watchers[watcher] <= 0 {
		delete(n.watchers, watcher)
	}
	n.Counters.Subscriptions.Add(int64(by))
	return true
}

func (n *Notifier) fields(f transport.Flow, life time.Duration) []sip.Field {
	contact := "<sip:" + n.o.Transport.SentBy(f)
	if f.Proto.Stream() {
		contact += ";transport=" + f.Proto.URIParam()
	}
	return []sip.Field{
		{Name: "Expires", Value: strconv.Itoa(int(life / time.Second))}, // RFC 6665 §4.2.1.1
		{Name: "Contact", Value: contact + ">"},
	}
}

// accept chooses the body type by the watcher's Accept, in its order but for what
// the package has; without one it is the package's default (RFC 6665 §4.1.2.1).
func (k *pack) accept(m *sip.Message) (v View, partial string, fault *sip.Error) {
	if !m.Has(sip.HeaderAccept) {
		v.Type = k.spec.Types[0]
		return v, "", nil
	}
	wild := false
	_ = m.EachItem(sip.HeaderAccept, func(item string) bool {
		typ, _, _ := strings.Cut(item, ";")
		typ = strings.ToLower(strings.TrimSpace(typ))
		wild = wild || typ == "*/*" || typ == "application/*"
		for _, t := range k.spec.Types {
			if t != typ {
				continue
			}
			if k.partial != nil {
				// Partial wherever it stands: it is less to send (RFC 5263 §4.3 leaves it to
				// local policy).
				if full, ok := k.partial.Full(t); ok {
					partial, v.Type = t, full
					return false
				}
			}
			if v.Type == "" {
				v.Type = t
			}
		}
		return true
	})
	switch {
	case v.Type != "":
	case wild || m.Get(sip.HeaderAccept) == "":
		v.Type = k.spec.Types[0]
	default: // RFC 3261 §21.4.7
		return v, "", sip.NewError(sip.StatusNotAcceptable, "", sip.Field{Name: "Accept", Value: strings.Join(k.spec.Types, ", ")})
	}
	return v, partial, nil
}

func mediaType(m *sip.Message) string {
	typ, _, _ := strings.Cut(m.Get(sip.HeaderContentType), ";")
	return strings.ToLower(strings.TrimSpace(typ))
}

// eventOf keeps of an Event value what a NOTIFY repeats: the name as the watcher
// wrote it, and the id (RFC 6665 §4.4.1).
func (k *pack) eventOf(event string) string {
	name, params, _ := strings.Cut(event, ";")
	name = strings.TrimSpace(name)
	if id, ok := sip.Params(";" + params).Get("id"); ok {
		return name + ";id=" + id
	}
	if name == k.spec.Name {
		return k.spec.Name
	}
	return strings.Clone(name)
}

func idOf(event string) string {
	_, params, _ := strings.Cut(event, ";")
	id, _ := sip.Params(";" + params).Get("id")
	return id
}

// deviceOf tells a watcher's devices apart: the instance (RFC 5626 §4.1), else the
// contact.
func deviceOf(m *sip.Message) string {
	device := ""
	_ = m.EachItem(sip.HeaderContact, func(item string) bool {
		if a, err := sip.ParseAddress(item); err == nil {
			device = a.URI
			if v, ok := a.Params.Get("+sip.instance"); ok {
				device = sip.Unquote(v)
			}
		}
		return false
	})
	return strings.Clone(device)
}
