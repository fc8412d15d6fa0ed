package event

import (
	"bytes"
	"errors"

	"go.uber.org/zap"
)

// views makes what is sent of one state, each once for the subscriptions that share
// it. It is of one turn at a time.
type views struct {
	n        *Notifier
	r        *resource
	composed bool
	state    State
	err      error
	made     map[View]*made
	diffs    map[step]*diff
	triggers map[step]*trigger
}

// made is a body with its entity-tag. It is never changed.
type made struct {
	body Body
	tag  string
	err  error
}

// step is a change that watchers of one view share: from the body with that tag to
// that of now.
type step struct {
	view View
	from string
	typ  string // of the partial body, "" where that does not matter
}

type diff struct {
	from *made
	body Body
	ok   bool
}

type trigger struct {
	from *made
	told bool
}

// same reports whether two bodies are equal: tags alone could be made equal.
func (m *made) same(o *made) bool {
	return m == o || m != nil && o != nil && bytes.Equal(m.body.Bytes, o.body.Bytes)
}

// body returns what a view sees now.
func (v *views) body(view View) *made {
	if m, ok := v.made[view]; ok {
		return m
	}
	if !v.composed {
		v.composed, v.err = true, errPanic
		v.n.contain(v.r, func() { v.state, v.err = v.n.compose(v.n.ctx, v.r) })
		if v.err != nil && !errors.Is(v.err, errPanic) { // which is counted
			v.n.Counters.Failed.Add(1)
			v.n.o.Log.Warn("compose event state", zap.String("event", v.r.pack.spec.Name), zap.String("aor", v.r.aor.String()), zap.Error(v.err))
		}
		v.r.mu.Lock()
		v.r.until = v.state.Until
		v.r.mu.Unlock()
	}
	m := &made{err: v.err}
	if m.err == nil {
		m.err = errPanic
		v.n.contain(v.r, func() { m.body, m.err = v.r.pack.Body(v.n.ctx, v.r.aor, v.state, view) })
		m.tag = entityTag(m.body)
	}
	if v.made == nil {
		v.made = map[View]*made{}
	}
	v.made[view] = m
	return m
}

// change returns what is sent to who was told last: the difference to that in the
// partial type, or the whole.
func (v *views) change(view View, last *made, typ string) Body {
	next := v.body(view)
	if last == nil || len(last.body.Bytes) == 0 {
		return next.body
	}
	key := step{view, last.tag, typ}
	d := v.diffs[key]
	if d == nil || !d.from.same(last) {
		d = &diff{from: last}
		v.n.contain(v.r, func() { d.body, d.ok = v.r.pack.partial.Diff(last.body, next.body, typ) })
		if v.diffs == nil {
			v.diffs = map[step]*diff{}
		}
		v.diffs[key] = d
	}
	if d.ok {
		return d.body
	}
	return next.body
}

// triggered reports whether a change is one that the watcher's filter wants told
// (RFC 4660 §5.3.2). Triggers look at the document that was not filtered (RFC 4661
// §3.6.1): last is that of what was told last, nil for none, and that of now is
// returned.
func (v *views) triggered(view View, last *made) (now *made, told bool) {
	open := view
	open.Filter = ""
	now = v.body(open)
	before := &made{}
	if last != nil {
		before = last
	}
	key := step{view, before.tag, ""}
	t := v.triggers[key]
	if t == nil || !t.from.same(before) {
		t = &trigger{from: before, told: true}
		v.n.contain(v.r, func() { t.told = v.r.pack.filter.Triggers(view.Filter, before.body, now.body) })
		if v.triggers == nil {
			v.triggers = map[step]*trigger{}
		}
		v.triggers[key] = t
	}
	return now, t.told
}
