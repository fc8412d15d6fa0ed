package transaction

import (
	"bytes"
	"errors"
	"hash/maphash"
	"sync"
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

// Writer is a request of ours that can be written again, so that nothing but it is
// kept while the answer is waited for.
type Writer interface {
	// Append appends the request, the same bytes each time. It may be called on any
	// goroutine, also after Done.
	Append(b []byte) []byte
	// Done is told how the transaction ended, as a Done function is.
	Done(m *sip.Message, err error)
	// Over is called behind Done when no transaction refers to the Writer any more, if
	// that can be told.
	Over()
}

// whole is a request that is kept as it was sent.
type whole struct {
	data []byte
	done Done
}

func (w *whole) Append(b []byte) []byte         { return append(b, w.data...) }
func (w *whole) Done(m *sip.Message, err error) { w.done(m, err) }
func (w *whole) Over()                          {}

// Client is an unfinished client transaction.
type Client struct {
	timer
	l        *Layer
	key      Key
	flow     transport.Flow
	method   string
	size     int64
	req      Writer
	interval time.Duration // Timer E
	due      time.Time     // when Timer E fires; kept apart from when the wheel came round, or ticks add up
	deadline time.Time     // Timer F
}

func (c *Client) node() *timer { return &c.timer }

// clients are used again, those that ended when nobody else referred to them.
var clients = sync.Pool{New: func() any { return new(Client) }}

// Request sends data over the flow and reports the outcome to done. Branch is
// that of its top Via, unique to us. The bytes belong to the transaction now.
// A request that is running under this branch over the same flow is left alone
// and its result is told to the first caller only; done then gets ErrLimit. One
// that is running over another flow ends with ErrMoved: the peer is elsewhere now.
func (l *Layer) Request(f transport.Flow, branch string, data []byte, done Done) {
	w := &whole{data, done}
	if f.Proto.Stream() { // never sent again
		w.data = nil
	}
	l.request(f, l.branchKey(branch), data, time.Now(), w)
}

// written is memory for requests on their way to the transport, which copies them.
var written = sync.Pool{New: func() any { return new([]byte) }}

// Write is Request for a request that is written as often as it is sent. Now is the
// time.
func (l *Layer) Write(f transport.Flow, branch []byte, now time.Time, w Writer) {
	b := written.Get().(*[]byte)
	defer written.Put(b)
	*b = w.Append((*b)[:0])
	l.request(f, Key(maphash.Bytes(l.seed, branch)), *b, now, w) // which is branchKey of it
}

func (l *Layer) request(f transport.Flow, key Key, data []byte, now time.Time, w Writer) {
	size := int64(len(data))
	if !l.admit(&l.Counters.Clients, l.o.MaxClient, size) {
		w.Done(nil, ErrLimit)
		return
	}
	c := clients.Get().(*Client)
	*c = Client{l: l, key: key, flow: f, method: methodOf(data), size: size, req: w,
		interval: l.o.Timers.T1, due: now.Add(l.o.Timers.T1), deadline: now.Add(64 * l.o.Timers.T1)}
	sh := l.shard(key)
	sh.mu.Lock()
	old, _ := sh.clients.get(key)
	if old != nil {
		if old.flow == f {
			sh.mu.Unlock()
			l.release(&l.Counters.Clients, size)
			w.Done(nil, ErrLimit)
			return
		}
		sh.drop(old)
	}
	sh.clients.put(key, c)
	if f.Proto.Stream() {
		sh.streams[f.Conn]++
	}
	sh.wheel.add(c, now, c.next(now))
	sh.mu.Unlock()
	if old != nil {
		old.end(nil, ErrMoved)
	}
	if err := l.out.Send(f, data); err != nil {
		l.finish(key, c, nil, ErrTransport)
	}
}

// methodOf returns the method of a request in memory that stays.
func methodOf(data []byte) string {
	m, _, _ := bytes.Cut(data, []byte(" "))
	switch string(m) { // those that this server sends
	case "MESSAGE":
		return "MESSAGE"
	case "NOTIFY":
		return "NOTIFY"
	}
	return string(m)
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
		if c.l.finish(c.key, c, nil, ErrTimeout) {
			c.l.Counters.TimedOut.Add(1)
		}
		return
	}
	sh := c.l.shard(c.key)
	sh.mu.Lock()
	here, _ := sh.clients.get(c.key)
	running := here == c
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
		b := written.Get().(*[]byte)
		defer written.Put(b)
		*b = c.req.Append((*b)[:0])
		_ = c.l.out.Send(c.flow, *b)
	}
}

// finish ends a transaction; false when it had ended before: c may be another one's by then.
func (l *Layer) finish(k Key, c *Client, m *sip.Message, err error) bool {
	sh := l.shard(k)
	sh.mu.Lock()
	if here, _ := sh.clients.get(k); here != c {
		sh.mu.Unlock()
		return false
	}
	sh.drop(c)
	sh.mu.Unlock()
	c.end(m, err)
	return true
}

// end tells how a transaction ended that was dropped from its shard.
func (c *Client) end(m *sip.Message, err error) {
	l, w, size, lent := c.l, c.req, c.size, c.lent
	if !lent {
		c.req = nil
		clients.Put(c)
	}
	l.release(&l.Counters.Clients, size)
	w.Done(m, err)
	if !lent {
		w.Over()
	}
}

// drop takes a client transaction out of the shard, which is locked.
func (sh *shard) drop(c *Client) {
	sh.clients.remove(c.key)
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

// Response takes a response that was received. One of no transaction is
// dropped: this server forwards none statelessly (RFC 3261 §18.1.2, RFC 4320
// §4.2 for late ones).
func (l *Layer) Response(m *sip.Message) {
	k := l.branchKey(m.Via().Branch)
	sh := l.shard(k)
	sh.mu.Lock()
	c, _ := sh.clients.get(k)
	if c != nil && c.method != m.Method() { // RFC 3261 §17.1.3 item 2
		c = nil
	}
	final := m.Status() >= 200
	switch {
	case c == nil:
	case final:
		sh.drop(c)
	default:
		c.interval = l.o.Timers.T2 // §17.1.2.2: Proceeding
	}
	sh.mu.Unlock()
	switch {
	case c == nil:
		l.Counters.Stray.Add(1)
	case final:
		c.end(m, nil)
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
			for i := range sh.clients.slot {
				if c := sh.clients.slot[i].value; c != nil && c.flow == f {
					c.lent = true
					lost = append(lost, c)
				}
			}
		}
		sh.mu.Unlock()
	}
	for _, c := range lost {
		l.finish(c.key, c, nil, ErrTransport)
	}
}
