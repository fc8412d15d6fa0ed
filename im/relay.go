package im

import (
	"context"
	"crypto/x509"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rollcall/archive"
	"rollcall/auth"
	"rollcall/policy"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/transaction"
	"rollcall/sip/transport"
	"rollcall/store"
)

// Journal makes records durable. It keeps no reference to a record that it was
// given, nor to the bytes in it.
type Journal interface {
	// AppendFunc calls done when the record is durable, or can't be. An error that
	// is returned means that done is not called.
	AppendFunc(r *archive.Record, done func(archive.Receipt, error)) error
	// Note writes a record behind those before it and does not wait.
	Note(r *archive.Record) error
	// Recent reads the end of the journal, from since on.
	Recent(since time.Time, f func(*archive.Record) error) error
	// Recall returns the receipt of a record that was made durable before.
	Recall(id archive.ID, seq uint64) archive.Receipt
}

// Locations tells where an account is bound.
type Locations interface {
	Lookup(ctx context.Context, aor sip.AOR) ([]registrar.Binding, error)
	// AppendTo is Lookup that appends to a list; now is the time.
	AppendTo(ctx context.Context, list []registrar.Binding, aor sip.AOR, now time.Time) ([]registrar.Binding, error)
}

// Accounts tells which addresses of record exist.
type Accounts interface {
	Has(ctx context.Context, aor sip.AOR) (bool, error)
	// Owner returns the account that an address is an alias of. It waits for nothing.
	Owner(alias sip.AOR) (sip.AOR, bool)
}

// Transport sends and connects.
type Transport interface {
	Alive(f transport.Flow) bool
	Dial(ctx context.Context, to transport.Target) (transport.Flow, error)
	UDPFlow(remote netip.AddrPort) (transport.Flow, bool)
	SentBy(f transport.Flow) netip.AddrPort
}

// Peer is a server of a foreign domain.
type Peer struct {
	Name    string
	Domain  string
	Address string // host:port
	Proto   transport.Proto
	Roots   *x509.CertPool // who signs its certificate, for TLS; nil: whom the system trusts
}

// Settings may change while the server runs.
type Settings struct {
	OfflineLife  time.Duration // how long a message waits for a device
	OfflineLimit int           // messages waiting for one account
	AnswerAfter  time.Duration // how long a sender waits for silent devices
	Rules        *policy.Rules
	Peers        []Peer
}

// Options are what a Relay works with.
type Options struct {
	Journal   Journal
	Store     store.Store
	Locations Locations
	Accounts  Accounts
	GRUUs     *registrar.GRUUs // nil knows none
	// Parties tells what the rules want to know of a sender and of the one a message is
	// for. It must not block. It may be nil: then the addresses are all they get.
	Parties func(from, to sip.AOR) (policy.Party, policy.Party)
	// Describe adds to the record of a message what is known of its sender and of the
	// one it is for. It must not block. It may be nil.
	Describe     func(rec *archive.Record, from auth.Identity, to sip.AOR)
	Transport    Transport
	Transactions *transaction.Layer
	Key          []byte // of branches; the same after a restart
	Log          *zap.Logger

	// Go runs what has to wait on a goroutine of its own.
	Go func(func())
	// Panicked hears of a panic that was contained.
	Panicked func(m *sip.Message, p any)
}

// Counters count messages by how they ended; read with Load.
type Counters struct {
	Received, Delivered, Stored, Refused, Failed, Expired atomic.Uint64
	Unrecorded                                            atomic.Uint64 // answered 503: the journal failed
	Redelivered                                           atomic.Uint64 // taken from the offline queue
}

// Relay carries messages. It is safe for concurrent use.
type Relay struct {
	Counters Counters

	o        Options
	settings atomic.Pointer[Settings]
	known    atomic.Pointer[map[requestKey]*past] // requests of just before the start
	offline  *offline
	patience patience
	noTCP    refusals

	complaints complaints // about the journal
	loopSeed   uint64     // of loop marks; from the key
	stop       context.CancelFunc
	ctx        context.Context // ends with Close
	wg         sync.WaitGroup
}

// New makes a relay. Recover must be called before the first message.
func New(o Options, s Settings) *Relay {
	r := &Relay{o: o, loopSeed: newLoopSeed(o.Key)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.settings.Store(&s)
	r.offline = newOffline(r)
	r.patience.wait = func() time.Duration { return r.settings.Load().AnswerAfter }
	r.wg.Add(1)
	go r.run()
	return r
}

// Reload applies new settings to messages from now on.
func (r *Relay) Reload(s Settings) { r.settings.Store(&s) }

// Close stops the work in the background. Messages that wait for a device are
// kept in the store.
func (r *Relay) Close() {
	r.stop()
	r.wg.Wait()
	r.offline.close()
}

// sweepEvery is how often expired messages are looked for.
const sweepEvery = time.Minute

// run tells senders that waited long enough and sweeps what expired.
func (r *Relay) run() {
	defer r.wg.Done()
	t := time.NewTicker(patienceTick)
	defer t.Stop()
	swept := time.Now()
	for {
		select {
		case <-r.ctx.Done():
			return
		case now := <-t.C:
			r.patience.expire(now)
			if now.Sub(swept) >= sweepEvery {
				swept = now
				r.offline.sweep(now)
			}
		}
	}
}

// patienceTick is how exactly AnswerAfter is kept.
const patienceTick = 250 * time.Millisecond

// patience holds the forks whose senders wait, oldest first. All wait equally
// long, so one queue does for all and nobody needs a timer of its own.
type patience struct {
	wait func() time.Duration

	mu    sync.Mutex
	queue []waiting
}

type waiting struct {
	f     *fork
	turn  uint64 // of f: its memory is used again
	since time.Time
}

func (p *patience) add(f *fork, now time.Time) {
	p.mu.Lock()
	p.queue = append(p.queue, waiting{f, f.turn, now})
	p.mu.Unlock()
}

// expire takes off the forks that are answered or have waited long enough, and
// tells the latter.
func (p *patience) expire(now time.Time) {
	limit := now.Add(-p.wait())
	p.mu.Lock()
	var late []waiting
	rest := p.queue[:0]
	for _, w := range p.queue {
		switch {
		case w.f.over(w.turn): // also behind one that still waits: it holds its request in memory
		case w.since.After(limit):
			rest = append(rest, w)
		default:
			late = append(late, w)
		}
	}
	clear(p.queue[len(rest):])
	p.queue = rest
	p.mu.Unlock()
	for _, w := range late {
		w.f.impatient(w.turn)
	}
}

// complaints keeps a fault that comes with every message from filling the log: one
// line a second tells as much.
type complaints struct{ last atomic.Int64 }

func (c *complaints) allow(now time.Time) bool {
	last := c.last.Load()
	return now.UnixNano()-last >= int64(time.Second) && c.last.CompareAndSwap(last, now.UnixNano())
}
