package im_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/archive"
	"rollcall/sip"
	"rollcall/sip/transport"
	"rollcall/store/storetest"
)

// scenarios is how many random ones TestNoPacketWithoutRecord runs, each about a
// minute of package time.
const scenarios = 300

// TestNoPacketWithoutRecord lets a journal be slow, refuse and crash at random
// moments, and the store fail now and then, under random messages to devices that
// answer, refuse, are slow, silent or gone, starts the server again on what is left, and asserts that
//
//   - no MESSAGE left before its record was durable,
//   - each that left is in the archive, and stands there once,
//   - every 2xx belongs to a recorded message,
//   - every message with a 2xx is taken by a device, if not at once then by the
//     next that comes,
//   - no device takes a message twice: repeats have the same branch.
func TestNoPacketWithoutRecord(t *testing.T) {
	for part := range 4 {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			for n := range scenarios / 4 {
				seed := uint64(part*scenarios + n)
				inHouse(t, func(t *testing.T, h *house) { newScenario(t, h, seed).run() })
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// A scenario is one run of chance. Everything in it comes from its seed but for
// the order of goroutines.
type scenario struct {
	*house
	t        *testing.T
	rand     *rand.Rand
	devices  []*station
	requests []*request
	kinds    map[string]string // Call-ID → what is special about it
}

// station is a phone and how it registers.
type station struct {
	*phone
	user    string
	stream  bool
	contact string
	lines   []string
	flow    transport.Flow
}

func newScenario(t *testing.T, h *house, seed uint64) *scenario {
	s := &scenario{house: h, t: t, rand: rand.New(rand.NewPCG(seed, 1)), kinds: map[string]string{}}
	h.wire.check = func(m *sip.Message) {
		if !h.journal.isDurable(m.CallID()) {
			t.Errorf("left without a durable record:\n%s", m.Raw())
		}
	}
	for i := range 1 + s.rand.IntN(4) {
		s.devices = append(s.devices, s.station(i))
	}
	return s
}

func (s *scenario) station(i int) *station {
	d := &station{phone: s.wire.phone(s.t, fmt.Sprintf("192.0.2.%d:5060", 10+i)), stream: s.rand.IntN(3) == 0}
	d.user = []string{"bob", "bob", "carol"}[s.rand.IntN(3)]
	d.contact = fmt.Sprintf("<sip:%s@%s>", d.user, d.addr)
	if d.stream {
		d.contact = fmt.Sprintf("<sip:%s@%s;transport=tcp>", d.user, d.addr)
	}
	switch s.rand.IntN(3) {
	case 0:
		d.contact += fmt.Sprintf(`;+sip.instance="<urn:uuid:%d>";reg-id=1`, i)
		d.lines = []string{"Supported: outbound, path"}
	case 1:
		d.contact += fmt.Sprintf(`;+sip.instance="<urn:uuid:%d>"`, i)
	}
	statuses := []int{200, 200, 200, 200, 0, 480, 503, 603, 415, 500}
	mood := s.rand.IntN(3)
	r := rand.New(rand.NewPCG(uint64(i), s.rand.Uint64()))
	d.answer = func(*sip.Message) (int, time.Duration) { // under the phone's lock
		switch mood {
		case 0:
			return 200, 0
		case 1:
			return statuses[r.IntN(len(statuses))], 0
		}
		return statuses[r.IntN(len(statuses))], time.Duration(r.IntN(12_000)) * time.Millisecond
	}
	return d
}

// register brings the station on the line; the answer may be an error.
func (s *scenario) register(d *station) {
	d.flow = d.udp()
	if d.stream {
		d.flow = s.wire.connect(d.addr)
	}
	_ = s.tryBind(d.user, d.flow, d.contact, d.lines...)
}

func (s *scenario) pause(ms int) { time.Sleep(time.Duration(s.rand.IntN(ms)) * time.Millisecond) }

func (s *scenario) run() {
	for range 6 + s.rand.IntN(14) {
		switch s.rand.IntN(13) {
		case 0, 1, 2, 3, 4, 5:
			s.write()
		case 6, 7:
			s.register(s.devices[s.rand.IntN(len(s.devices))])
		case 8:
			if d := s.devices[s.rand.IntN(len(s.devices))]; d.stream && d.flow != (transport.Flow{}) {
				s.wire.cut(d.flow)
			}
		case 9:
			delay := time.Duration(s.rand.IntN(2)) * time.Duration(s.rand.IntN(3000)) * time.Millisecond
			s.journal.set(delay, s.rand.IntN(2) == 0, false)
		case 10:
			s.repeat()
		case 11:
			if s.rand.IntN(2) == 0 {
				s.crash()
			}
		case 12:
			s.store.Set(storetest.Faults{Unavailable: s.rand.Float64() / 2, LostAnswer: s.rand.Float64() / 2, Delay: time.Duration(s.rand.IntN(100)) * time.Millisecond})
		}
		s.pause(3000)
	}
	s.finish()
	s.check()
}

// write sends a message, sometimes one that must not wait.
func (s *scenario) write() {
	to := []string{"bob", "carol"}[s.rand.IntN(2)]
	body := fmt.Sprint("text ", len(s.requests))
	var lines []string
	kind := ""
	switch s.rand.IntN(10) {
	case 0:
		kind, lines = "composing", []string{"Content-Type: application/im-iscomposing+xml"}
	case 1:
		kind, lines = "momentary", []string{"Expires: 0"}
	}
	r := s.send(to, body, lines...)
	s.kinds[r.callID] = kind
	s.requests = append(s.requests, r)
}

// repeat does what Timer E of the sender does.
func (s *scenario) repeat() {
	for _, r := range s.requests {
		if r.answer() == nil {
			r.again()
		}
	}
}

// crash takes journal and process away. Between the two the process lives on
// without its disk.
func (s *scenario) crash() {
	s.journal.set(0, false, true)
	if s.rand.IntN(2) == 0 {
		s.write()
	}
	s.pause(1500)
	s.restart()
	if s.rand.IntN(2) == 0 {
		s.pause(500)
		s.repeat()
	}
}

// finish repairs everything and gives each account a device that takes all.
func (s *scenario) finish() {
	s.journal.set(0, false, false)
	s.restart()
	s.repeat()
	settle(time.Second)
	for i, user := range []string{"bob", "carol"} {
		d := &station{phone: s.wire.phone(s.t, fmt.Sprintf("192.0.2.%d:5060", 100+i)), user: user}
		d.contact = fmt.Sprintf("<sip:%s@%s>", user, d.addr)
		s.devices = append(s.devices, d)
	}
	for range 2 { // what a station answered before is answered again to a repeat
		for _, d := range s.devices {
			d.answers(200)
			d.hear()
			s.register(d)
		}
		settle(45 * time.Second)
	}
}

func (s *scenario) check() {
	t := s.t
	recorded := map[string]int{}
	expired := map[archive.ID]bool{}
	byCall := map[string]archive.ID{}
	for _, r := range s.records() {
		switch {
		case r.Type == archive.TypeMessage:
			recorded[r.CallID]++
			byCall[r.CallID] = r.ID
		case r.Disposition == archive.Expired:
			expired[r.Cites] = true
		}
	}
	for _, p := range s.wire.messages() {
		if id := p.m.CallID(); recorded[id] != 1 {
			t.Errorf("%s left and has %d records", id, recorded[id])
		}
	}
	took := map[string]int{}
	for _, d := range s.devices {
		for id, n := range d.took {
			took[id] += n
			if n > 1 {
				t.Errorf("%s took %s %d times:\n%s", d.addr, id, n, s.story(id))
			}
		}
	}
	for _, r := range s.requests {
		id := r.callID
		if recorded[id] > 1 {
			t.Errorf("%s has %d records", id, recorded[id])
		}
		a := r.answer()
		if a == nil || a.Status()/100 != 2 {
			continue
		}
		if recorded[id] == 0 {
			t.Errorf("%s was answered %d and not recorded", id, a.Status())
		}
		if took[id] == 0 && !expired[byCall[id]] {
			t.Errorf("%s (%s) was answered %d and nobody took it:\n%s", id, s.kinds[id], a.Status(), s.story(id))
		}
	}
}

// story tells what happened to a message.
func (s *scenario) story(callID string) string {
	var b strings.Builder
	for _, p := range s.wire.messages() {
		if p.m.CallID() == callID {
			fmt.Fprintf(&b, "%s to %s branch %s\n", p.at.Format("04:05.000"), p.flow, p.m.Via().Branch)
		}
	}
	for _, d := range s.devices {
		for _, branch := range slices.Sorted(maps.Keys(d.answered)) {
			for _, m := range d.requests {
				if m.CallID() == callID && m.Via().Branch == branch {
					fmt.Fprintf(&b, "%s %s answered %d to %s\n", d.user, d.addr, d.answered[branch], branch)
				}
			}
		}
	}
	fmt.Fprintf(&b, "outcomes %q\n", s.outcomesOf(callID))
	return b.String()
}

// A request that comes again after a restart meets its record.
func TestRepeatAfterRestart(t *testing.T) {
	t.Run("interrupted", func(t *testing.T) {
		inHouse(t, func(t *testing.T, h *house) {
			p := h.online("bob", "192.0.2.10:5060")
			p.answers(0)
			r := h.send("bob", "hello")
			settle(time.Second)
			h.journal.set(0, false, true)
			h.restart()
			p.mu.Lock() // it had taken the message, its answer was lost
			for b := range p.answered {
				p.answered[b] = 200
			}
			p.mu.Unlock()
			r.again()
			r.want(200)
			p.want("hello") // the second was a retransmission to it
			h.wantOutcomes(r.callID, "interrupted 0", "delivered 200")
		})
	})
	for name, status := range map[string]int{"delivered": 200, "refused": 603} {
		t.Run(name, func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				p := h.online("bob", "192.0.2.10:5060")
				p.answers(status)
				r := h.send("bob", "hello")
				r.want(status)
				h.restart()
				clear(h.sender.final)
				n := len(h.wire.messages())
				r.again()
				r.want(status)
				if len(h.wire.messages()) != n {
					t.Error("it was sent on again")
				}
				h.wantOutcomes(r.callID, fmt.Sprintf("%s %d", name, status))
			})
		})
	}
	t.Run("stored, and the outcome lost", func(t *testing.T) {
		inHouse(t, func(t *testing.T, h *house) {
			p := h.online("bob", "192.0.2.10:5060")
			p.answer = func(*sip.Message) (int, time.Duration) { return 480, time.Second }
			r := h.send("bob", "hello")
			settle(500 * time.Millisecond)
			h.journal.set(0, false, true) // its record is there, what follows is not
			r.want(202)
			h.restart()
			h.waiting("bob", 1)
			clear(h.sender.final)
			n := len(h.wire.messages())
			r.again()
			r.want(202)
			h.waiting("bob", 1)
			if len(h.wire.messages()) != n {
				t.Error("it was sent on again")
			}
			h.wantOutcomes(r.callID, "stored 202")
		})
	})
	t.Run("other bytes are another one", func(t *testing.T) {
		inHouse(t, func(t *testing.T, h *house) {
			r := h.send("bob", "hello")
			r.want(202)
			h.restart()
			for text, want := range map[string]bool{
				string(r.text): true,
				strings.Replace(string(r.text), "hello", "hallo", 1):                                       false,
				strings.Replace(string(r.text), "sip:bob@example.com SIP", "sip:carol@example.com SIP", 1): false,
				strings.Replace(string(r.text), "tag=a", "tag=b", 1):                                       false,
			} {
				m := new(sip.Message)
				if err := m.Parse([]byte(text)); err != nil {
					t.Fatal(err)
				}
				if fault := m.Check(); fault != nil {
					t.Fatal(fault)
				}
				if _, known := h.relay.Past(m); known != want {
					t.Errorf("known %v, want %v:\n%s", known, want, text)
				}
			}
		})
	})
	t.Run("after 33 s it is another one", func(t *testing.T) {
		inHouse(t, func(t *testing.T, h *house) {
			r := h.send("bob", "hello")
			r.want(202)
			h.restart()
			settle(34 * time.Second)
			clear(h.sender.final)
			r.again()
			r.want(202)
			h.waiting("bob", 2)
		})
	})
}

// The branch towards a device does not change with the process.
func TestSameBranchAfterRestart(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.online("bob", "192.0.2.10:5060")
		p.answers(0)
		r := h.send("bob", "hello")
		settle(time.Second)
		h.journal.set(0, false, true)
		h.restart()
		r.again()
		settle(time.Second)
		branches := map[string]bool{}
		for _, m := range h.wire.messages() {
			branches[m.m.Via().Branch] = true
		}
		if len(branches) != 1 {
			t.Errorf("branches %v", slices.Sorted(maps.Keys(branches)))
		}
	})
}

func TestJournalFails(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.online("bob", "192.0.2.10:5060")
		for _, delay := range []time.Duration{0, 300 * time.Millisecond} {
			h.journal.set(delay, true, false)
			r := h.send("bob", "lost")
			if m := r.want(503); m.Get(sip.HeaderRetryAfter) == "" {
				t.Errorf("no Retry-After:\n%s", m.Raw())
			}
		}
		p.want()
		h.waiting("bob", 0)
		h.journal.set(0, false, false)
		h.send("bob", "kept").want(200) // that message only
		p.want("kept")
		if n := h.relay.Counters.Unrecorded.Load(); n != 2 {
			t.Errorf("%d counted as unrecorded", n)
		}
	})
}
