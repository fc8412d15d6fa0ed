package transport

import "sync"

// together is what gathers while functions given to Together run.
type together struct {
	mu      sync.Mutex
	running int
	conns   []*conn // with something to write
}

// Together runs f and lets what is sent meanwhile leave together when it returns,
// with as few system calls as possible. F should not run long.
func (t *Transport) Together(f func()) {
	var corked [16]*udpSocket
	n := 0
	t.mu.RLock()
	for _, l := range t.udp {
		for _, s := range l.sockets {
			if n < len(corked) && s.cork() {
				corked[n] = s
				n++
			}
		}
	}
	t.mu.RUnlock()
	g := &t.gathering
	g.mu.Lock()
	g.running++
	g.mu.Unlock()
	defer func() {
		for _, s := range corked[:n] {
			s.uncork()
		}
		g.mu.Lock()
		g.running--
		conns := g.conns
		g.conns = nil
		g.mu.Unlock()
		for _, c := range conns {
			c.drain()
		}
	}()
	f()
}

// gather keeps a connection that somebody wants to write to until the function
// that runs in Together returns; false when none runs.
func (t *Transport) gather(c *conn) bool {
	g := &t.gathering
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == 0 {
		return false
	}
	g.conns = append(g.conns, c)
	return true
}
