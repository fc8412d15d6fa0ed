package server

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/im"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/transport"
)

// programs are the ends of flows that stay in this process (transport.Program):
// programs with a token of the HTTP API that send a message, and those that take
// messages as a device of their account. What they send and take goes through the
// same transactions and the same relay as everything else.
type programs struct {
	mu      sync.Mutex
	last    uint64                        // number of the newest flow
	calls   map[transport.Flow]chan<- int // that wait for the final answer to what they sent
	devices map[sip.AOR][]*program
	flows   map[transport.Flow]*program
	any     atomic.Bool         // there is a device
	once    map[string]struct{} // messages with a key that are under way, by their owner in the store
}

// program is a device that takes messages over HTTP.
type program struct {
	aor     sip.AOR
	name    string // of the device: that of its token, over reconnects
	flow    transport.Flow
	since   time.Time
	in      chan *sip.Message
	end     context.CancelFunc
	waiting map[string]waiting // messages that were given and are not confirmed, by ID; programs.mu guards it
}

// waiting is a message that its program has not confirmed.
type waiting struct {
	m     *sip.Message
	until time.Time // when its transaction has ended
}

const (
	// programQueue is how many messages wait to be written to one program.
	programQueue = 64
	// mostUnconfirmed bounds the messages that one program has not confirmed.
	mostUnconfirmed = 256
	// confirmWithin is how long a program has to confirm a message: Timer F (RFC 3261 §17.1.2.2).
	confirmWithin = 32 * time.Second
)

// programHost stands in contacts and Vias of programs, where nobody looks it up.
var programHost = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 5060)

// newFlow makes a flow; mu is held.
func (p *programs) newFlow(remote netip.AddrPort) transport.Flow {
	p.last++
	return transport.Flow{Proto: transport.Program, Conn: p.last, Local: programHost, Remote: remote}
}

// call makes a flow for one request, whose final answer's status comes over the
// channel. Done ends it.
func (p *programs) call(remote netip.AddrPort) (f transport.Flow, answer <-chan int, done func()) {
	c := make(chan int, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	f = p.newFlow(remote)
	if p.calls == nil {
		p.calls = map[transport.Flow]chan<- int{}
	}
	p.calls[f] = c
	return f, c, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.calls, f)
	}
}

// begin notes that a message with a key is under way, until over; false when it is already.
func (p *programs) begin(owner string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.once[owner]; ok {
		return false
	}
	if p.once == nil {
		p.once = map[string]struct{}{}
	}
	p.once[owner] = struct{}{}
	return true
}

func (p *programs) over(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.once, owner)
}

// join makes a device of an account. The one that the same token had before ends.
func (p *programs) join(aor sip.AOR, name string, remote netip.AddrPort, end context.CancelFunc) *program {
	d := &program{aor: aor, name: name, since: time.Now(), in: make(chan *sip.Message, programQueue), end: end, waiting: map[string]waiting{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	d.flow = p.newFlow(remote)
	if p.devices == nil {
		p.devices, p.flows = map[sip.AOR][]*program{}, map[transport.Flow]*program{}
	}
	for _, old := range p.devices[aor] {
		if old.name == name {
			old.end()
			p.drop(old)
			break
		}
	}
	p.devices[aor] = append(p.devices[aor], d)
	p.flows[d.flow] = d
	p.any.Store(true)
	return d
}

// leave ends a device: nothing is given to it any more.
func (p *programs) leave(d *program) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(d)
}

// drop is leave; mu is held.
func (p *programs) drop(d *program) {
	delete(p.flows, d.flow)
	p.any.Store(len(p.flows) > 0)
	list := slices.DeleteFunc(slices.Clone(p.devices[d.aor]), func(o *program) bool { return o == d })
	if len(list) == 0 {
		delete(p.devices, d.aor)
		return
	}
	p.devices[d.aor] = list
}

// bindings are the devices of an account that are programs.
func (p *programs) bindings(aor sip.AOR) (list []registrar.Binding) {
	if !p.any.Load() {
		return nil // nearly always
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.devices[aor] {
		list = append(list, registrar.Binding{
			ID: d.name, AOR: d.aor, Contact: "sip:" + d.name + "@" + programHost.String(), Q: 1000, Instance: d.name,
			Flow: d.flow, Direct: true, Registered: d.since, Updated: d.since,
		})
	}
	return list
}

// alive reports whether a flow still leads to a device.
func (p *programs) alive(f transport.Flow) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flows[f] != nil
}

// take implements transaction.Options.Programs: it gives what is sent over a flow
// to its end, without waiting.
func (p *programs) take(f transport.Flow, b []byte) error {
	m := new(sip.Message)
	if err := m.Parse(slices.Clone(b)); err != nil {
		return err
	}
	if fault := m.Check(); fault != nil {
		return fault
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.calls[f]; c != nil {
		if !m.IsRequest() && m.Status() >= 200 {
			select {
			case c <- m.Status():
			default: // it has one
			}
		}
		return nil
	}
	d := p.flows[f]
	if d == nil || !m.IsRequest() {
		return transport.ErrFlow
	}
	select {
	case d.in <- m:
		return nil
	default:
		return transport.ErrBusy
	}
}

// await notes that a message has been given to a device and must be confirmed;
// false when too many must.
func (p *programs) await(d *program, id string, m *sip.Message) bool {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(d.waiting) >= mostUnconfirmed {
		for old, w := range d.waiting {
			if now.After(w.until) {
				delete(d.waiting, old)
			}
		}
		if len(d.waiting) >= mostUnconfirmed {
			return false
		}
	}
	d.waiting[id] = waiting{m, now.Add(confirmWithin)}
	return true
}

// confirmed returns a message that a device has confirmed, once.
func (p *programs) confirmed(aor sip.AOR, name, id string) (*sip.Message, transport.Flow, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.devices[aor] {
		if d.name != name {
			continue
		}
		w, ok := d.waiting[id]
		delete(d.waiting, id)
		return w.m, d.flow, ok && time.Now().Before(w.until)
	}
	return nil, transport.Flow{}, false
}

// reaching is the transport as the relay sees it, with the programs.
type reaching struct {
	*transport.Transport
	programs *programs
}

var _ im.Transport = reaching{}

// Alive implements im.Transport.
func (r reaching) Alive(f transport.Flow) bool {
	if f.Proto == transport.Program {
		return r.programs.alive(f)
	}
	return r.Transport.Alive(f)
}

// SentBy implements im.Transport.
func (r reaching) SentBy(f transport.Flow) netip.AddrPort {
	if f.Proto == transport.Program {
		return f.Local
	}
	return r.Transport.SentBy(f)
}
