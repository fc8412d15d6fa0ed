package transaction

import (
	"bytes"
	"errors"
	"time"

	"rollcall/sip"
	"rollcall/sip/transport"
)

// How a client transaction ends without a response.
var (
	ErrTimeout   = errors.New("no final response within 64*T1")
	ErrTransport = errors.New("flow is gone")
	ErrLimit     = errors.New("too many client transactions")
	ErrMoved     = errors.New("sent again over another flow")
)

// Done is told once how a client transaction ended: with a final response, or
// with an error. It runs on the goroutine that read the response or turned the
// wheel and must not wait; the response is gone when it returns.
type Done func(m *sip.Message, err error)

// Client is an unfinished client transaction.
type Client struct {
	timer
	l        *Layer
	key      Key
	flow     transport.Flow
	data     []byte // of a request that is never sent again, the method is all that is kept
	size     int64
	done     Done
	interval time.Duration // Timer E
	due      time.Time     // when Timer E fires; kept apart from when the wheel came round, or ticks add up
	deadline time.Time     // Timer F
}

func (c *Client) node() *timer { return &c.timer }

// Request sends data over the flow and reports the outcome to done. Branch is
// that of its top Via, unique to us. The bytes belong to the transaction now.
// A request that is running under this branch over the same flow is left alone
// and its result is told to the first caller only; done then gets ErrLimit. One
// that is running over another flow ends with ErrMoved: the peer is elsewhere now.
func (l *Layer) Request(f transport.Flow, branch string, data []byte, done Done) {
	size := int64(len(data))
	if !l.admit(&l.Counters.Clients, l.o.MaxClient, size) {
		done(nil, ErrLimit)
		return
	}
	now := time.Now()
	kept := data
	if f.Proto.Stream() {
		kept = bytes.Clone(data[:min(bytes.IndexByte(data, ' ')+1, len(data))])
	}
	c := &Client{l: l, key: l.branchKey(branch), flow: f, data: kept, size: size, done: done,
		interval: l.o.Timers.T1, due: now.Add(l.o.Timers.T1), deadline: now.Add(64 * l.o.Timers.T1)}
	sh := l.shard(c.key)
	sh.mu.Lock()
	old := sh.clients[c.key]
	if old != nil {
		if old.flow == f {
			sh.mu.Unlock()
			l.release(&l.Counters.Clients, size)
			done(nil, ErrLimit)
			return
		}
		sh.drop(old)
	}
	sh.clients[c.key] = c
	if f.Proto.Stream() {
		sh.streams[f.Conn]++
	}
	sh.wheel.add(c, now, c.next(now))
	sh.mu.Unlock()
	if old != nil {
		l.release(&l.Counters.Clients, old.size)
		old.done(nil, ErrMoved)
	}
	if err := l.out.Send(f, data); err != nil {
		c.finish(nil, ErrTransport)
	}
}

// next is how long to wait for the next event: Timer E over UDP, else Timer F.
func (c *Client) next(now time.Time) time.Duration {
	left := c.deadline.Sub(now)
	if c.flow.Proto.Stream() {
		return left
	}
	return min(c.due.Sub(now), left)
}

// expired is Timer E or F.
func (c *Client) expired(now time.Time) {
	if !now.Before(c.deadline) {
		if c.finish(nil, ErrTimeout) {
			c.l.Counters.TimedOut.Add(1)
		}
		return
	}
	sh := c.l.shard(c.key)
	sh.mu.Lock()
	running := sh.clients[c.key] == c
	if running {
		c.interval = min(2*c.interval, c.l.o.Timers.T2)
		if c.due = c.due.Add(c.interval); !c.due.After(now) { // the wheel was late: no burst
			c.due = now.Add(c.interval)
		}
		sh.wheel.add(c, now, c.next(now))
	}
	sh.mu.Unlock()
	if running && c.flow.Proto == transport.UDP {
		c.l.Counters.Resent.Add(1)
		_ = c.l.out.Send(c.flow, c.data)
	}
}

// finish ends the transaction; false when it had ended before.
func (c *Client) finish(m *sip.Message, err error) bool {
	sh := c.l.shard(c.key)
	sh.mu.Lock()
	if sh.clients[c.key] != c {
		sh.mu.Unlock()
		return false
	}
	sh.drop(c)
	sh.mu.Unlock()
	c.l.release(&c.l.Counters.Clients, c.size)
	c.done(m, err)
	return true
}

// drop takes a client transaction out of the shard, which is locked.
func (sh *shard) drop(c *Client) {
	delete(sh.clients, c.key)
	sh.wheel.remove(c)
	if !c.flow.Proto.Stream() {
		return
	}
	if n := sh.streams[c.flow.Conn]; n > 1 {
		sh.streams[c.flow.Conn] = n - 1
	} else {
		delete(sh.streams, c.flow.Conn)
	}
}

// sent tells whether the request was of that method (RFC 3261 §17.1.3 item 2).
func (c *Client) sent(method string) bool {
	n := len(method)
	return len(c.data) > n && c.data[n] == ' ' && string(c.data[:n]) == method
}

// Response takes a response that was received. One of no transaction is
// dropped: this server forwards none statelessly (RFC 3261 §18.1.2, RFC 4320
// §4.2 for late ones).
func (l *Layer) Response(m *sip.Message) {
	k := l.branchKey(m.Via().Branch)
	sh := l.shard(k)
	sh.mu.Lock()
	c := sh.clients[k]
	if c != nil && !c.sent(m.Method()) {
		c = nil
	}
	if c != nil && m.Status() < 200 {
		c.interval = l.o.Timers.T2 // §17.1.2.2: Proceeding
	}
	sh.mu.Unlock()
	if c == nil {
		l.Counters.Stray.Add(1)
		return
	}
	if m.Status() >= 200 {
		c.finish(m, nil)
	}
}

// FlowClosed ends the client transactions that wait on a connection.
func (l *Layer) FlowClosed(f transport.Flow) {
	if l.Counters.Clients.Load() == 0 {
		return
	}
	var lost []*Client
	for i := range l.shards {
		sh := &l.shards[i]
		sh.mu.Lock()
		if sh.streams[f.Conn] > 0 { // nearly never: connections come and go, by strangers too
			for _, c := range sh.clients {
				if c.flow == f {
					lost = append(lost, c)
				}
			}
		}
		sh.mu.Unlock()
	}
	for _, c := range lost {
		c.finish(nil, ErrTransport)
	}
}
