package registrar

import (
	"context"
	"errors"
	"sync"

	"rollcall/sip"
	"rollcall/sip/transport"
)

const flowShards = 64

// flowIndex knows which addresses of record have bindings tied to which
// connection of this process. It has an entry for a connection over which
// somebody registered, until FlowClosed.
type flowIndex [flowShards]flowShard

type flowShard struct {
	mu    sync.Mutex
	conns map[connKey]*conn
	_     [40]byte
}

type connKey struct {
	boot uint32
	conn uint64
}

// conn is the addresses of record of a connection: nearly always one.
type conn struct {
	first sip.AOR
	more  map[sip.AOR]struct{}
}

func (x *flowIndex) shard(f transport.Flow) (*flowShard, connKey) {
	return &x[f.Conn%flowShards], connKey{f.Boot, f.Conn}
}

// add enters the address of record under the connection.
func (x *flowIndex) add(f transport.Flow, aor sip.AOR) {
	s, k := x.shard(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conns[k]
	if c == nil {
		if s.conns == nil {
			s.conns = make(map[connKey]*conn)
		}
		s.conns[k] = &conn{first: aor}
		return
	}
	if c.first == aor {
		return
	}
	if c.more == nil {
		c.more = make(map[sip.AOR]struct{})
	}
	c.more[aor] = struct{}{}
}

// has reports whether add was called and take was not since.
func (x *flowIndex) has(f transport.Flow, aor sip.AOR) bool {
	s, k := x.shard(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conns[k]
	if c == nil {
		return false
	}
	_, more := c.more[aor]
	return more || c.first == aor
}

// take removes the connection and returns what was entered under it.
func (x *flowIndex) take(f transport.Flow) []sip.AOR {
	s, k := x.shard(f)
	s.mu.Lock()
	c := s.conns[k]
	delete(s.conns, k)
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	aors := []sip.AOR{c.first}
	for aor := range c.more {
		aors = append(aors, aor)
	}
	return aors
}

// FlowClosed removes the bindings tied to a connection that is gone (RFC 5626
// §7: "the proxy MUST invalidate all the bindings in the target set that use
// that flow (regardless of AOR)"). UDP flows never close. The transport calls it
// when it knows the connection for closed, so that Options.Alive says so already.
// After an error it may be called again and goes on where it stopped.
func (r *Registrar) FlowClosed(ctx context.Context, flow transport.Flow) error {
	if !flow.Proto.Stream() {
		return nil
	}
	var errs []error
	for _, aor := range r.flows.take(flow) {
		if _, err := r.remove(ctx, aor, func(rec *record) bool { return rec.over(flow) }); err != nil {
			r.flows.add(flow, aor)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
