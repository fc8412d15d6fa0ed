package siptest

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Packet is one datagram.
type Packet struct {
	From, To netip.AddrPort
	Data     []byte
	At       time.Time // when it was sent
	Lost     bool
}

// Network carries datagrams between the addresses that are attached to it. The
// exported fields are set before it is used; its methods are safe for
// concurrent use.
type Network struct {
	Delay     time.Duration // of every packet
	Jitter    time.Duration // at most so much more, by chance: packets overtake each other
	Loss      float64       // part that is lost, 0 to 1
	Duplicate float64       // part that arrives twice, 0 to 1

	// Drop, when set, loses the packets that it returns true for, before chance
	// has its turn.
	Drop func(p Packet) bool

	mu    sync.Mutex
	rand  *rand.Rand
	nodes map[netip.AddrPort]func(b []byte, from netip.AddrPort)
	trace []Packet
}

// NewNetwork makes a network without delay and loss; seed decides what chance
// brings.
func NewNetwork(seed uint64) *Network {
	return &Network{rand: rand.New(rand.NewPCG(seed, seed)), nodes: map[netip.AddrPort]func([]byte, netip.AddrPort){}}
}

// Attach hands what is sent to addr to receive, each packet on a goroutine of
// its own and in memory of its own. A nil receive detaches the address.
func (n *Network) Attach(addr netip.AddrPort, receive func(b []byte, from netip.AddrPort)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if receive == nil {
		delete(n.nodes, addr)
		return
	}
	n.nodes[addr] = receive
}

// Send puts a packet on its way; the bytes are copied.
func (n *Network) Send(from, to netip.AddrPort, b []byte) {
	p := Packet{From: from, To: to, Data: bytes.Clone(b), At: time.Now()}
	p.Lost = n.Drop != nil && n.Drop(p)
	n.mu.Lock()
	copies := 1
	if p.Lost = p.Lost || n.rand.Float64() < n.Loss; p.Lost {
		copies = 0
	} else if n.rand.Float64() < n.Duplicate {
		copies = 2
	}
	delays := make([]time.Duration, copies)
	for i := range delays {
		delays[i] = n.Delay
		if n.Jitter > 0 {
			delays[i] += time.Duration(n.rand.Int64N(int64(n.Jitter)))
		}
	}
	n.trace = append(n.trace, p)
	n.mu.Unlock()
	for _, d := range delays {
		time.AfterFunc(d, func() { n.deliver(p) })
	}
}

func (n *Network) deliver(p Packet) {
	n.mu.Lock()
	receive := n.nodes[p.To]
	n.mu.Unlock()
	if receive != nil {
		receive(bytes.Clone(p.Data), p.From)
	}
}

// Trace returns all packets sent so far, lost ones too, in order.
func (n *Network) Trace() []Packet {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Packet(nil), n.trace...)
}
