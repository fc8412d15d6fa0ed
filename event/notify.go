package event

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
	"rollcall/store"
)

// notifyAll sends each of the subscriptions, which are marked in flight, what it
// sees now.
func (n *Notifier) notifyAll(v *views, due []*subscription) {
	now := time.Now()
	for _, s := range due {
		ok := n.contain(v.r, func() {
			if s.parent != nil {
				n.deliver(v, s)
				return
			}
			n.notify(v, s, now)
		})
		if !ok { // it is told again when the state changes
			n.idle(s, false)
		}
	}
}

// notify sends one NOTIFY (RFC 6665 §4.2.2), unless there is nothing new in it.
func (n *Notifier) notify(v *views, s *subscription, now time.Time) {
	r := v.r
	r.mu.Lock()
	standing, view, force, ended, reason := s.standing, s.view, s.force, s.ended, s.reason
	last, partial, tag, expires, unfiltered := s.last, s.partial, s.tag, s.expires, s.unfiltered
	s.force, s.final = false, ended
	minGap, maxGap, adaptive, match := s.minGap, s.maxGap, s.pace.rate(), s.match
	r.mu.Unlock()

	m := new(made)
	switch {
	case s.list != nil:
		r.mu.Lock()
		full, version := force || !s.list.told, s.number
		s.list.told = true
		r.mu.Unlock()
		m.body = n.listBody(s, version, full)
		tag = "" // each is told
		r.mu.Lock()
		m.tag = s.list.tag()
		r.mu.Unlock()
	case standing == Active && reason != "rejected":
		m = v.body(view)
		switch {
		case m.err != nil && ended: // the last NOTIFY may be without state (RFC 6665 §4.2.1.4)
			m = new(made)
		case m.err != nil: // told again when the state changes or the watcher asks
			n.idle(s, force)
			return
		}
	case !force: // a pending watcher learns nothing
		n.idle(s, false)
		return
	}
	changed := force || m.tag != tag
	if changed && view.Filter != "" && standing == Active && s.list == nil {
		var told bool
		unfiltered, told = v.triggered(view, unfiltered)
		changed = force || told
	}
	suppressed := suppresses(match, m.tag)
	if !changed || suppressed && !force {
		n.Counters.Unchanged.Add(1)
		n.idle(s, false)
		return
	}
	body := m.body
	if suppressed { // RFC 5839 §6.2: what changed is the head of the NOTIFY
		body = Body{}
	} else if partial != "" && !force {
		body = v.change(view, last, partial)
	}
	r.mu.Lock()
	s.number++
	number, reserve := s.number, s.number+numberBlock/2 > s.bound
	if reserve {
		s.bound = s.number + numberBlock
	}
	s.sentAt, s.tag = now, m.tag
	s.pace.count(now)
	if partial != "" && !suppressed {
		s.last = m
	}
	if !suppressed && s.match == match { // the watcher has another state now
		s.match = ""
	}
	if view.Filter != "" {
		s.unfiltered = unfiltered
	}
	d, event, flow := s.dialog, s.event, s.flow
	r.mu.Unlock()
	if reserve {
		n.store(s)
	}

	head := make([]byte, 0, 1024+len(body.Bytes))
	tail := make([]byte, 0, 256)
	tail = append(append(append(tail, "Event: "...), event...), "\r\nSubscription-State: "...)
	if ended {
		tail = append(append(tail, "terminated;reason="...), reason...)
	} else { // needs of clients: expires always stands there (RFC 6665 §4.1.3: SHOULD)
		tail = append(append(tail, standing.String()...), ";expires="...)
		tail = strconv.AppendInt(tail, int64(max(expires.Sub(now).Round(time.Second), time.Second)/time.Second), 10)
		tail = appendRates(tail, minGap, maxGap, adaptive)
	}
	tail = append(tail, "\r\n"...)
	if s.list != nil { // RFC 4662 §4.1
		tail = append(tail, "Require: eventlist\r\n"...)
	}
	if m.tag != "" { // RFC 5839 §6.1
		tail = append(append(append(tail, "SIP-ETag: "...), m.tag...), "\r\n"...)
	}
	branch := branchOf(d.LocalTag, number)
	send := func(f transport.Flow, ok bool) {
		if !ok {
			n.answered(s, nil, errNoRoute)
			return
		}
		sentBy := n.o.Transport.SentBy(f)
		via := "SIP/2.0/" + f.Proto.String() + " " + sentBy + ";branch=" + branch
		if f.Proto == transport.UDP {
			via += ";rport"
		}
		b := d.AppendRequest(head, "NOTIFY", via, number)
		b = append(append(append(b, "Contact: <sip:"...), sentBy...), contactParams(f)...)
		b = append(b, tail...)
		b = appendBody(b, body, number-1, now) // documents count from 0 (RFC 4235 §4.1, RFC 3858 §3)
		n.Counters.Notified.Add(1)
		n.o.Requests.Request(f, branch, b, func(m *sip.Message, err error) { n.answered(s, m, err) })
	}
	size := len(body.Bytes) + 700
	if len(d.Routes) == 0 && n.direct(d.Target, flow) {
		send(flow, n.o.Transport.Alive(flow))
		return
	}
	n.o.Transport.Reach(d.Hop(), flow, size, send)
}

func contactParams(f transport.Flow) string {
	if f.Proto.Stream() {
		return ";transport=" + f.Proto.URIParam() + ">\r\n"
	}
	return ">\r\n"
}

// appendBody writes the rest of a NOTIFY, the numbers of the document in their places.
func appendBody(b []byte, body Body, version uint32, now time.Time) []byte {
	if len(body.Bytes) == 0 {
		return append(b, "Content-Length: 0\r\n\r\n"...)
	}
	b = append(append(b, "Content-Type: "...), body.Type...)
	b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(body.Len(version, now)), 10)
	return body.Append(append(b, "\r\n\r\n"...), version, now)
}

// branchOf is the branch of a NOTIFY: the tag is unguessable, the number unique in it.
func branchOf(tag string, number uint32) string {
	h := fnv.New32a()
	_, _ = h.Write(binary.BigEndian.AppendUint32(nil, number)) // never fails
	return sip.MagicCookie + tag + "." + strconv.FormatUint(uint64(number), 36) + "." + strconv.FormatUint(uint64(h.Sum32()), 36)
}

// direct reports that requests go back the way the SUBSCRIBE came: over its
// connection, or to its source where the contact can't be reached as it stands.
func (n *Notifier) direct(target string, flow transport.Flow) bool {
	if flow.Proto.Stream() {
		return true
	}
	u, err := sip.ParseURI(target)
	if err != nil {
		return true
	}
	a, ok := u.Addr()
	if !ok {
		return true
	}
	if t, ok := u.Param("transport"); ok && !strings.EqualFold(t, "udp") {
		return false
	}
	if a == flow.Remote.Addr() {
		port := u.Port
		if port == 0 {
			port = 5060
		}
		return port == flow.Remote.Port()
	}
	return a.IsPrivate() || a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast()
}

// idle ends a turn of a subscription in which nothing was sent.
func (n *Notifier) idle(s *subscription, failed bool) {
	s.r.mu.Lock()
	s.inFlight = false
	over := s.final && s.parent == nil // a member of a list stands and falls with it
	if failed && !over {
		s.waiting, s.retryAt = true, time.Now().Add(retryLater)
	}
	s.r.mu.Unlock()
	if over {
		n.drop(s)
	}
}

// retryLater is how long a watcher that can't be served now is left alone when it
// does not say so itself.
const retryLater = 10 * time.Second

// answered takes how a NOTIFY ended (RFC 6665 §4.2.2). It runs on
// the goroutine that read the answer.
func (n *Notifier) answered(s *subscription, m *sip.Message, err error) {
	r := s.r
	r.mu.Lock()
	s.inFlight = false
	over, lost := s.final, false // one that ended meanwhile has its last NOTIFY to come
	switch {
	case m != nil && m.Status() < 300:
		s.retryAt = time.Time{}
		if event := m.Get(sip.HeaderEvent); event != "" && !over { // RFC 6446 §7.2: it may ask for other rates here
			s.rates(event, r.pack.spec.Interval, time.Now())
		}
	case m != nil && m.Status() == sip.StatusServiceUnavailable && !over:
		after := retryLater
		if sec, ok := sip.ParseUint(strings.TrimSpace(strings.SplitN(m.Get(sip.HeaderRetryAfter), ";", 2)[0])); ok && sec > 0 {
			after = min(time.Duration(sec)*time.Second, time.Hour)
		}
		s.retryAt, s.force = time.Now().Add(after), true
	case m == nil && s.flow.Proto.Stream() && !over: // the connection ended: it waits for the watcher to come back
		s.suspended, s.force = true, true
	case m == nil && errors.Is(err, transaction.ErrLimit) && !over:
		s.retryAt, s.force = time.Now().Add(retryLater), true
	default: // any other failure or silence ends it
		lost = !over
		over = true
	}
	wake := !over && (!s.dueAt().IsZero() || s.longest() > 0) // a turn plans the next one
	r.mu.Unlock()
	if lost {
		n.Counters.Ended.Add(1)
	}
	if over {
		n.drop(s)
		return
	}
	if wake {
		n.wake(r, false)
	}
}

// store writes what must outlive the process. It is soft state: a failure costs a
// watcher that has to subscribe again after a restart.
func (n *Notifier) store(s *subscription) {
	s.r.mu.Lock()
	item := s.item()
	s.share(item)
	s.r.mu.Unlock()
	if _, err := n.o.Store.Apply(n.ctx, store.Key{Kind: kindSubscription, Owner: s.id()}, store.Any, store.Put(item)); err != nil {
		n.o.Log.Debug("store subscription", zap.Error(err))
	}
}

func (n *Notifier) unstore(s *subscription) {
	if _, err := n.o.Store.Apply(n.ctx, store.Key{Kind: kindSubscription, Owner: s.id()}, store.Any, store.Clear()); err != nil {
		n.o.Log.Debug("remove subscription", zap.Error(err))
	}
}
