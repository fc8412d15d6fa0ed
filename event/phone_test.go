package event_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transport"
)

// phone is a watcher's device with one subscription to bob's board.
type phone struct {
	h      *house
	addr   netip.AddrPort
	user   string
	callID string
	tag    string // of the server
	seq    int    // of its SUBSCRIBEs
	status int    // of the last answer, 0 for none
	answer *sip.Message

	mu sync.Mutex
	// answers are the statuses and fields of its answers to NOTIFYs, 200 when there
	// are none; a status of 0 says nothing.
	answers func(m *sip.Message) (status int, fields []sip.Field)
	heard   []notice
	given   map[string][]byte // answers by branch
}

// notice is a NOTIFY that came.
type notice struct {
	cseq  uint32
	state string // Subscription-State
	body  string
	etag  string
	at    time.Time
}

// text is the document without its number.
func (n notice) text() string {
	_, text, _ := strings.Cut(n.body, " ")
	return text
}

// phone makes a device with an address of its own.
func (h *house) phone(user string) *phone {
	h.phones++
	n := h.phones
	p := &phone{h: h, user: user, callID: fmt.Sprintf("call%d", n), given: map[string][]byte{},
		addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}), 5060)}
	h.net.Attach(p.addr, p.receive)
	return p
}

func (p *phone) receive(b []byte, from netip.AddrPort) {
	m := new(sip.Message)
	if err := m.Parse(b); err != nil {
		p.h.t.Errorf("%v in\n%s", err, b)
		return
	}
	if fault := m.Check(); fault != nil {
		p.h.t.Errorf("%v in\n%s", fault, b)
		return
	}
	if !m.IsRequest() {
		p.h.clients.Response(m)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	branch := m.Via().Branch
	if answer, again := p.given[branch]; again {
		if answer != nil {
			p.h.net.Send(p.addr, from, answer)
		}
		return
	}
	cseq, _ := m.CSeq()
	n := notice{cseq: cseq, state: m.Get(sip.HeaderSubscriptionState), body: m.Body(), etag: m.Other("SIP-ETag"), at: time.Now()}
	if k := len(p.heard); k > 0 && cseq <= p.heard[k-1].cseq {
		p.h.t.Errorf("%s: NOTIFY %d comes after %d", p.user, cseq, p.heard[k-1].cseq)
	}
	p.heard = append(p.heard, n)
	status, fields := 200, []sip.Field(nil)
	if p.answers != nil {
		status, fields = p.answers(m)
	}
	if p.given[branch] = nil; status != 0 {
		p.given[branch] = m.AppendReply(nil, from, &sip.Reply{Status: status, ToTag: "phone", Fields: fields})
		p.h.net.Send(p.addr, from, p.given[branch])
	}
}

// subscribe sends SUBSCRIBE, within the dialog once there is one, and does not wait.
func (p *phone) subscribe(lines ...string) {
	p.mu.Lock()
	p.seq++
	p.status = 0
	to := "<sip:bob@example.com>"
	if p.tag != "" {
		to += ";tag=" + p.tag
	}
	branch := fmt.Sprintf("z9hG4bK%s.%d", p.callID, p.seq)
	head := fmt.Sprintf("SUBSCRIBE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/UDP %s;branch=%s\nFrom: <sip:%s@example.com>;tag=%[4]s\nTo: %s\n"+
		"Call-ID: %[4]s\nCSeq: %[6]d SUBSCRIBE\nMax-Forwards: 70\nContact: <sip:%[3]s@%[1]s>", p.addr, branch, p.user, p.callID, to, p.seq)
	event := "Event: board"
	for _, l := range lines {
		if strings.HasPrefix(l, "Event: ") {
			event = l
			continue
		}
		head += "\n" + l
	}
	p.mu.Unlock()
	flow := transport.Flow{Proto: transport.UDP, Local: p.addr, Remote: serverAddr}
	p.h.clients.Request(flow, branch, siptest.Text(head+"\n"+event, ""), func(m *sip.Message, err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if err != nil {
			return
		}
		p.status, p.answer = m.Status(), m.Clone()
		if to, err := m.To(); err == nil && m.Status() < 300 {
			p.tag = strings.Clone(to.Tag())
		}
	})
}

// watches subscribes and waits for the first NOTIFY.
func (p *phone) watches(lines ...string) *phone {
	p.h.t.Helper()
	p.subscribe(lines...)
	settle(time.Second)
	if p.status != 200 || len(p.notices()) == 0 {
		p.h.t.Fatalf("%s: SUBSCRIBE is answered %d, and %d NOTIFYs came", p.user, p.status, len(p.notices()))
	}
	return p
}

// answersWith makes it answer NOTIFYs so.
func (p *phone) answersWith(status int, fields ...sip.Field) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = func(*sip.Message) (int, []sip.Field) { return status, fields }
}

// wakes makes a phone that was silent answer the next copy of the NOTIFY that waits.
func (p *phone) wakes() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers, p.heard = nil, p.heard[:len(p.heard)-1]
	clear(p.given)
}

// notices is what came so far.
func (p *phone) notices() []notice {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard
}

// last is the NOTIFY that came last.
func (p *phone) last() notice {
	p.h.t.Helper()
	n := p.notices()
	if len(n) == 0 {
		p.h.t.Fatalf("%s heard nothing", p.user)
	}
	return n[len(n)-1]
}
