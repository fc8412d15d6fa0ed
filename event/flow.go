package event

import (
	"context"
	"sync"

	"rollcall/sip/transport"
)

// flows knows what hangs on which connection of this process.
type flows struct {
	mu    sync.Mutex
	conns map[uint64]*hanging
}

type hanging struct {
	subs      map[*subscription]struct{}
	published map[publishedAt]struct{}
}

type publishedAt struct {
	resourceKey
	id string
}

func (x *flows) at(f transport.Flow) *hanging {
	h := x.conns[f.Conn]
	if h == nil {
		if x.conns == nil {
			x.conns = map[uint64]*hanging{}
		}
		h = &hanging{subs: map[*subscription]struct{}{}, published: map[publishedAt]struct{}{}}
		x.conns[f.Conn] = h
	}
	return h
}

// move hangs a subscription on another connection; a zero flow takes it off.
func (x *flows) move(s *subscription, from, to transport.Flow) {
	if from == to || !from.Proto.Stream() && !to.Proto.Stream() {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if h := x.conns[from.Conn]; h != nil && from.Proto.Stream() {
		delete(h.subs, s)
		if len(h.subs)+len(h.published) == 0 {
			delete(x.conns, from.Conn)
		}
	}
	if to.Proto.Stream() {
		x.at(to).subs[s] = struct{}{}
	}
}

// maxPublishedOver bounds what is remembered of one connection; what is over it
// stays until it expires.
const maxPublishedOver = 1000

// published hangs a publication on its connection.
func (x *flows) published(f transport.Flow, p publishedAt) {
	if !f.Proto.Stream() {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if h := x.at(f); len(h.published) < maxPublishedOver {
		h.published[p] = struct{}{}
	}
}

func (x *flows) take(f transport.Flow) *hanging {
	x.mu.Lock()
	defer x.mu.Unlock()
	h := x.conns[f.Conn]
	delete(x.conns, f.Conn)
	return h
}

// hang moves a subscription to another connection. One that has closed meanwhile
// was told of before.
func (n *Notifier) hang(s *subscription, from, to transport.Flow) {
	n.flows.move(s, from, to)
	if to.Proto.Stream() && !n.o.Transport.Alive(to) {
		n.FlowClosed(n.ctx, to)
	}
}

// FlowClosed suspends the subscriptions of a connection, and marks what was
// published over it as lost: it ends after the grace period unless it is
// refreshed. The transport calls it once for each.
func (n *Notifier) FlowClosed(ctx context.Context, f transport.Flow) {
	if !f.Proto.Stream() {
		return
	}
	h := n.flows.take(f)
	if h == nil {
		return
	}
	for s := range h.subs {
		s.r.mu.Lock()
		if s.flow == f {
			s.suspended, s.force = true, true // the first thing it gets when it is back is the state
		}
		s.r.mu.Unlock()
	}
	for p := range h.published {
		n.losePublication(ctx, p, f)
	}
}
