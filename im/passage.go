package im

import (
	"sync"
	"sync/atomic"

	"rollcall/archive"
	"rollcall/policy"
	"rollcall/registrar"
	"rollcall/sip"
	"rollcall/sip/transaction"
)

// passage is all that a message needs from its authentication to the answer, in one
// piece. Nearly every message goes to one binding, which takes it at once: then the
// piece is used again, with its transaction. Whatever else happens leaves it to the
// collector, as then others may refer to parts of it.
type passage struct {
	r        *Relay
	tx       *transaction.Server
	o        outgoing
	decision policy.Decision
	told     func(archive.ID)

	// Where it was to go when it came, if somebody looked.
	looked  bool
	devices []device
	fault   *sip.Error

	// Room for the usual.
	device  [1]device
	binding [1]registrar.Binding
	a       attempt

	f fork

	durable func(archive.Receipt, error) // journaled
	heard   func(result)                 // f.result

	holders atomic.Int32 // deliver, and the transaction with the device
	kept    bool         // others may refer to parts of it
	spent   bool         // the device took the message at once, and the sender knows
}

var passages sync.Pool

// passage begins one for a message.
func (r *Relay) passage(tx *transaction.Server, told func(archive.ID)) *passage {
	p, _ := passages.Get().(*passage)
	if p == nil {
		p = new(passage)
		p.durable, p.heard = p.journaled, p.f.result
	}
	p.r, p.tx, p.told = r, tx, told
	return p
}

// journaled is told that the message is durable, or why not.
func (p *passage) journaled(receipt archive.Receipt, err error) {
	if p.told != nil && err == nil {
		p.told(receipt.ID())
	}
	p.r.recorded(p.tx, &p.o, p.decision, receipt, err)
}

// drop says that one of the holders is done with it.
func (p *passage) drop() {
	if p.holders.Add(-1) == 0 && p.spent && !p.kept {
		p.free()
	}
}

// free gives the memory to another message.
func (p *passage) free() {
	p.tx.Release()
	p.f.reset()
	p.r, p.tx, p.o, p.decision, p.told = nil, nil, outgoing{}, policy.Decision{}, nil
	p.looked, p.devices, p.fault = false, nil, nil
	p.device[0], p.binding[0], p.a = device{}, registrar.Binding{}, attempt{via: p.a.via[:0]}
	p.kept, p.spent = false, false
	passages.Put(p)
}

// keep says that others may refer to parts of the message's passage from now on.
func (o *outgoing) keep() {
	if o.passage != nil {
		o.passage.kept = true
	}
}

// room returns memory for the usual: one device with one binding.
func (o *outgoing) room() ([]device, []registrar.Binding) {
	if o.passage == nil {
		return nil, nil
	}
	return o.passage.device[:0], o.passage.binding[:0]
}
