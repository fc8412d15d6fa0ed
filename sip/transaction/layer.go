package transaction

import (
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/sip"
	"rollcall/sip/transport"
)

// Timers are the base values of RFC 3261 §17.1.1.1.
type Timers struct {
	T1 time.Duration // round trip estimate; 500 ms
	T2 time.Duration // longest retransmit interval of non-INVITE requests; 4 s
}

// Options sets limits. Zero values mean the defaults named beside them.
type Options struct {
	Timers    Timers
	Bytes     int   // memory for finished transactions; 256 MiB
	MaxActive int   // unfinished server transactions; 100,000
	MaxClient int   // unfinished client transactions; 200,000
	MaxBytes  int64 // of the requests of both; 512 MiB
	// Programs is given what goes over flows that stay in this process
	// (transport.Program). It must not wait. With nil such flows lead nowhere.
	Programs func(f transport.Flow, b []byte) error
}

// within sends to programs what is for them, and all else to the network.
type within struct {
	Sender
	programs func(f transport.Flow, b []byte) error
}

// Send implements Sender.
func (w within) Send(f transport.Flow, b []byte) error {
	if f.Proto == transport.Program {
		return w.programs(f, b)
	}
	return w.Sender.Send(f, b)
}

// Sender writes a message to a flow without waiting.
type Sender interface {
	Send(f transport.Flow, b []byte) error
}

// Key identifies a transaction.
type Key uint64

// Tag is the To tag of this server's own answers to the request: the same for
// the same request, so that an answer without state does not change (RFC 3261
// §8.2.7).
func (k Key) Tag() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(k)*0x9e3779b97f4a7c15)
	var t [16]byte
	hex.Encode(t[:], b[:])
	return string(t[:])
}

const shardCount = 64

// Layer holds all transactions. It is safe for concurrent use.
type Layer struct {
	Counters Counters

	o      Options
	out    Sender
	seed   maphash.Seed
	shards [shardCount]shard
	stop   chan struct{}
	done   chan struct{}
}

// Counters count what happens; read with Load.
type Counters struct {
	Retransmitted atomic.Uint64 // requests seen again
	Resent        atomic.Uint64 // our requests sent again by Timer E
	TimedOut      atomic.Uint64 // Timer F
	Stray         atomic.Uint64 // responses of no transaction: dropped
	Evicted       atomic.Uint64 // finished transactions that left before Timer J
	Refused       atomic.Uint64 // over a limit
	Active        atomic.Int64  // unfinished server transactions
	Clients       atomic.Int64  // unfinished client transactions

	UnfinishedBytes atomic.Int64 // of the requests of unfinished transactions
}

// shard is a part of the tables. mu guards everything in it and is never held
// while something is sent.
type shard struct {
	mu      sync.Mutex
	active  table[*Server]
	done    ring
	clients table[*Client]
	streams map[uint64]int // connection → client transactions over it
	wheel   wheel
}

// New starts a layer; Close ends it.
func New(out Sender, o Options) *Layer {
	if o.Programs != nil {
		out = within{out, o.Programs}
	}
	if o.Timers.T1 == 0 {
		o.Timers.T1 = 500 * time.Millisecond
	}
	if o.Timers.T2 == 0 {
		o.Timers.T2 = 4 * time.Second
	}
	if o.Bytes == 0 {
		o.Bytes = 256 << 20
	}
	if o.MaxActive == 0 {
		o.MaxActive = 100_000
	}
	if o.MaxClient == 0 {
		o.MaxClient = 200_000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 512 << 20
	}
	l := &Layer{o: o, out: out, seed: maphash.MakeSeed(), stop: make(chan struct{}), done: make(chan struct{})}
	base := time.Now()
	for i := range l.shards {
		s := &l.shards[i]
		s.streams = map[uint64]int{}
		s.done.init(o.Bytes/shardCount, base)
		s.wheel.base = base
	}
	go l.run()
	return l
}

// Close stops the timers. Transactions that run are not told.
func (l *Layer) Close() {
	close(l.stop)
	<-l.done
}

// admit counts an unfinished transaction, unless it is over a limit.
func (l *Layer) admit(count *atomic.Int64, most int, size int64) bool {
	n, bytes := count.Add(1), l.Counters.UnfinishedBytes.Add(size)
	if n <= int64(most) && bytes <= l.o.MaxBytes {
		return true
	}
	l.release(count, size)
	l.Counters.Refused.Add(1)
	return false
}

// release gives back what an unfinished transaction took of the limits.
func (l *Layer) release(count *atomic.Int64, size int64) {
	count.Add(-1)
	l.Counters.UnfinishedBytes.Add(-size)
}

func (l *Layer) shard(k Key) *shard { return &l.shards[uint64(k)>>(64-6)] }

// run turns the wheels.
func (l *Layer) run() {
	defer close(l.done)
	t := time.NewTicker(tick)
	defer t.Stop()
	var due []timed
	for {
		select {
		case <-l.stop:
			return
		case now := <-t.C:
			for i := range l.shards {
				s := &l.shards[i]
				s.mu.Lock()
				due = s.wheel.advance(s.wheel.tickOf(now), due[:0])
				s.done.expire(now)
				s.mu.Unlock()
				for _, x := range due {
					x.expired(now)
				}
				clear(due)
			}
		}
	}
}

// FinishedBytes tells how much memory finished transactions take.
func (l *Layer) FinishedBytes() (transactions, bytes int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		transactions += s.done.index.n
		bytes += s.done.bytes
		s.mu.Unlock()
	}
	return transactions, bytes
}

// KeyOf returns the key of a request's server transaction (RFC 3261 §17.2.3).
func (l *Layer) KeyOf(m *sip.Message) Key {
	b := make([]byte, 0, 256) // on the stack, unless somebody writes long branches
	via := m.Via()
	if len(via.Branch) > len(sip.MagicCookie) && via.Branch[:len(sip.MagicCookie)] == sip.MagicCookie {
		b = append(b, via.Branch...)
	} else { // RFC 2543: the fields that identify the request
		b = append(append(b, m.RequestURI()...), 0)
		for _, id := range [...]sip.HeaderID{sip.HeaderTo, sip.HeaderFrom, sip.HeaderCallID, sip.HeaderCSeq, sip.HeaderVia} {
			b = append(append(b, m.Get(id)...), 0)
		}
	}
	b = append(append(b, 0), via.Host...)
	b = append(b, 0, byte(via.Port), byte(via.Port>>8))
	return Key(maphash.Bytes(l.seed, append(b, m.Method()...)))
}

// branchKey is the key of a client transaction: the branch is ours and unique.
func (l *Layer) branchKey(branch string) Key { return Key(maphash.String(l.seed, branch)) }
