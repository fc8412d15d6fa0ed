package event

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"rollcall/sip"
	"rollcall/sip/transport"
	"rollcall/store"
)

// applyTries bounds how often a change is decided anew because another came first.
const applyTries = 100

// Lives of publications (RFC 3903 §6 item 4): the publisher of a package names
// none of its own.
const (
	publishDefault = time.Hour
	publishMin     = time.Minute
	publishMax     = 24 * time.Hour
)

// Publish serves PUBLISH (RFC 3903 §6).
func (n *Notifier) Publish(ctx context.Context, rq Request) (Answer, error) {
	m := rq.Message
	k, fault := n.packOf(m)
	if fault == nil && k.publish == nil { // §6 item 2
		fault = sip.NewError(sip.StatusBadEvent, "", sip.Field{Name: "Allow-Events", Value: n.allow})
	}
	if fault != nil {
		return Answer{}, fault
	}
	aor, err := n.account(ctx, m)
	if err != nil {
		return Answer{}, err
	}
	if err := k.publish.MayPublish(ctx, rq.From.AOR(), aor); err != nil { // §14.1
		return Answer{}, err
	}
	match, fault := ifMatch(m)
	if fault != nil {
		return Answer{}, fault
	}
	life, fault := expires(m, publishDefault, publishMin, publishMax)
	if fault != nil {
		return Answer{}, fault
	}
	p := publishing{n: n, k: k, aor: aor, rq: rq, life: life, match: match, typ: mediaType(m)}
	if fault := p.check(); fault != nil {
		return Answer{}, fault
	}
	next, parsed, err := p.apply(ctx)
	if err != nil {
		return Answer{}, err
	}
	n.Counters.Published.Add(1)
	etag := next.ETag
	if life > 0 {
		n.flows.published(rq.Flow, publishedAt{resourceKey{k.spec.Name, aor}, next.ID})
		if rq.Flow.Proto.Stream() && !n.o.Transport.Alive(rq.Flow) { // closed meanwhile
			n.FlowClosed(ctx, rq.Flow)
		}
	}
	return Answer{Status: sip.StatusOK, ToTag: newTag(), Fields: []sip.Field{ // §6 item 6
		{Name: "SIP-ETag", Value: etag},
		{Name: "Expires", Value: strconv.Itoa(int(life / time.Second))},
	}, Then: func() {
		if p.changed {
			n.published(k, aor, etag, parsed)
		}
	}}, nil
}

// ifMatch returns the entity-tag of SIP-If-Match, "" without one (RFC 3903 §6 item 3).
func ifMatch(m *sip.Message) (string, *sip.Error) {
	tag := strings.TrimSpace(m.Get(sip.HeaderIfMatch))
	if m.Count(sip.HeaderIfMatch) > 1 || m.Has(sip.HeaderIfMatch) && tag == "" || strings.ContainsAny(tag, ", \t") {
		return "", sip.NewError(sip.StatusBadRequest, "SIP-If-Match must be one entity-tag")
	}
	return tag, nil
}

// publishing is one PUBLISH that is being served.
type publishing struct {
	n       *Notifier
	k       *pack
	aor     sip.AOR
	rq      Request
	life    time.Duration
	match   string // SIP-If-Match
	typ     string
	changed bool
}

// check makes the checks that need no state (RFC 3903 §4.1, §6 items 4 and 5).
func (p *publishing) check() *sip.Error {
	if p.rq.Body == "" {
		if p.match == "" { // an initial publication has a body
			return sip.NewError(sip.StatusBadRequest, "PUBLISH without SIP-If-Match needs a body")
		}
		return nil
	}
	for _, t := range p.k.spec.Publish {
		if t == p.typ {
			return nil
		}
	}
	return sip.NewError(sip.StatusUnsupportedMedia, "", sip.Field{Name: "Accept", Value: strings.Join(p.k.spec.Publish, ", ")})
}

// apply changes what is published, all or nothing, with the entity-tag swapped in
// the same step.
func (p *publishing) apply(ctx context.Context) (stored, any, error) {
	name := p.k.spec.Name
	for range applyTries {
		list, version, err := p.n.load(ctx, name, p.aor)
		if err != nil {
			return stored{}, nil, err
		}
		next, parsed, changes, err := p.decide(list)
		if err != nil {
			return stored{}, nil, err
		}
		_, err = p.n.o.Store.Apply(ctx, publicationKey(name, p.aor), version, changes...)
		switch {
		case err == nil:
			return next, parsed, nil
		case !errors.Is(err, store.ErrConflict):
			return stored{}, nil, err
		}
	}
	return stored{}, nil, sip.NewError(sip.StatusServiceUnavailable, "", sip.Field{Name: "Retry-After", Value: "1"})
}

// decide says what the request makes of what is there.
func (p *publishing) decide(list []stored) (next stored, parsed any, changes []store.Change, err error) {
	rq := &p.rq
	now := rq.Now.UTC().Truncate(time.Millisecond)
	var old *stored
	if p.match != "" {
		for i := range list {
			if list[i].ETag == p.match && list[i].Publisher == rq.From.AOR() {
				old = &list[i]
			}
		}
		if old == nil { // §6 item 3
			return next, nil, nil, sip.NewError(sip.StatusConditionalFailed, "")
		}
		next = *old
	} else {
		id := newTag()
		next = stored{Publication: Publication{ID: id, Publisher: rq.From.AOR().Clone(), Device: strings.Clone(rq.Message.CallID()), Created: now}}
	}
	next.ETag = next.ID + "-" + newTag()[:8]
	next.Expires, next.flow, next.Lost = now.Add(p.life), rq.Flow, false
	if next.Source = ""; rq.Message.Count(sip.HeaderVia) == 1 && !strings.Contains(rq.Message.Get(sip.HeaderVia), ",") {
		next.Source = sourceOf(rq.Flow) // that of another proxy stands for many devices
	}
	p.changed = old == nil || p.life == 0
	if rq.Body != "" {
		var was *Publication
		if old != nil {
			was = &old.Publication
		}
		body := []byte(rq.Body)
		v, fullType, full, err := p.k.publish.Parse(p.aor, p.typ, body, was)
		if err != nil {
			var e *sip.Error
			if errors.As(err, &e) {
				return next, nil, nil, e
			}
			return next, nil, nil, sip.NewError(sip.StatusBadRequest, reason(err))
		}
		parsed = v
		next.Type, next.Body = strings.Clone(p.typ), body
		if full != nil {
			next.Type, next.Body = fullType, full
		}
		next.Changed, next.Parsed, p.changed = now, v, true
	}
	if p.life == 0 { // §4.5
		if old != nil {
			changes = append(changes, store.Delete(old.ID))
		}
		return next, nil, changes, nil
	}
	kept := 0
	for i := range list {
		o := &list[i].Publication
		switch {
		case o.ID == next.ID:
		case old == nil && o.Publisher == next.Publisher && p.voids(&next.Publication, o):
			changes = append(changes, store.Delete(o.ID))
		default:
			kept++
		}
	}
	if old == nil && kept >= p.n.settings.Load().MaxPublished {
		return next, nil, nil, sip.NewError(sip.StatusServiceUnavailable, "Too many publications", sip.Field{Name: "Retry-After", Value: "60"})
	}
	return next, parsed, append(changes, store.Put(next.item())), nil
}

// voids asks the package, which reads parsed publications.
func (p *publishing) voids(next, old *Publication) bool {
	v, _, _, err := p.k.publish.Parse(p.aor, old.Type, old.Body, nil)
	if err != nil {
		return true
	}
	old.Parsed = v
	return p.k.publish.Replaces(next, old)
}

// reason makes an error fit for a status line.
func reason(err error) string {
	s := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return ' '
		}
		return c
	}, err.Error())
	return s[:min(len(s), 160)]
}

// published tells the watchers.
func (n *Notifier) published(k *pack, aor sip.AOR, etag string, parsed any) {
	if k.hearer != nil {
		defer k.hearer.Published(n.ctx, aor)
	}
	r := n.resource(k, aor, false)
	if r == nil {
		return
	}
	if parsed != nil {
		r.mu.Lock()
		if r.fresh == nil {
			r.fresh = map[string]any{}
		}
		if len(r.fresh) < 8 {
			r.fresh[etag] = parsed
		}
		r.mu.Unlock()
	}
	n.wake(r, true)
}

// losePublication marks what was published over a connection that is gone.
func (n *Notifier) losePublication(ctx context.Context, at publishedAt, f transport.Flow) {
	grace := time.Now().UTC().Add(n.settings.Load().FlowGrace).Truncate(time.Millisecond)
	for range applyTries {
		list, version, err := n.load(ctx, at.pkg, at.aor)
		if err != nil {
			return
		}
		var change []store.Change
		for i := range list {
			if p := &list[i]; p.ID == at.id && p.flow == f && !p.Lost {
				if n.o.Bound != nil && n.o.Bound(ctx, p.Publisher, f.Remote.Addr()) {
					return
				}
				p.Lost = true
				if p.Expires.After(grace) {
					p.Expires = grace
				}
				change = append(change, store.Put(p.item()))
			}
		}
		if len(change) == 0 {
			return
		}
		_, err = n.o.Store.Apply(ctx, publicationKey(at.pkg, at.aor), version, change...)
		if err == nil {
			n.Changed(at.pkg, at.aor)
			return
		}
		if !errors.Is(err, store.ErrConflict) {
			n.o.Log.Warn("publication of a closed connection stays until it expires", zap.Error(err))
			return
		}
	}
}
