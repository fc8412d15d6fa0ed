package im_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/sip"
	"rollcall/sip/siptest"
	"rollcall/sip/transport"
)

func TestForkToEveryDevice(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		desk, mobile := h.online("bob", "192.0.2.10:5060"), h.online("bob", "192.0.2.11:5060")
		call := h.wire.phone(t, "192.0.2.12:5060")
		h.bind("bob", call.udp(), `<sip:bob@192.0.2.12:5060>;methods="INVITE,BYE"`)
		r := h.send("bob", "hello")
		r.want(200)
		settle(time.Second)
		desk.want("hello")
		mobile.want("hello")
		call.want() // it does not take MESSAGE
		if a, b := desk.last().Via().Branch, mobile.last().Via().Branch; a == b {
			t.Errorf("one branch %q for two devices", a)
		}
		h.wantOutcomes(r.callID, "delivered 200", "delivered 200")
		h.waiting("bob", 0)
	})
}

// One flow at a time of a +sip.instance is used, and the next one when the
// first is gone or silent (RFC 5626 §5.3).
func TestFlowsOfOneInstance(t *testing.T) {
	const contact = `<sip:bob@192.0.2.10:5060;transport=tcp>;+sip.instance="<urn:uuid:1>";reg-id=%d`
	for _, c := range []struct {
		name string
		ill  func(h *house, first *phone)
	}{
		{"gone", func(h *house, first *phone) { h.wire.cut(first.flowOf(h)) }},
		{"430", func(h *house, first *phone) { first.answers(430) }},
		{"well", func(*house, *phone) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				a, b := h.wire.phone(t, "192.0.2.10:40001"), h.wire.phone(t, "192.0.2.10:40002")
				for i, p := range []*phone{a, b} {
					h.bind("bob", h.wire.connect(p.addr), fmt.Sprintf(contact, i+1), "Supported: outbound, path")
				}
				c.ill(h, a)
				h.send("bob", "hello").want(200)
				settle(time.Second)
				if n := len(a.got()) + len(b.got()); c.name == "430" && n != 2 || c.name != "430" && n != 1 {
					t.Errorf("first flow %q, second %q", a.got(), b.got())
				}
				if c.name != "well" {
					b.want("hello")
				}
			})
		})
	}
}

// flowOf is the open connection to a phone.
func (p *phone) flowOf(h *house) (found transport.Flow) {
	h.wire.mu.Lock()
	defer h.wire.mu.Unlock()
	for f := range h.wire.conns {
		if f.Remote == p.addr {
			return f
		}
	}
	p.t.Fatalf("no connection to %s", p.addr)
	return
}

// A flow that is silent until Timer F is followed by the next one under the same
// branch: the device may have the request already.
func TestSilentFlowFailsOver(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		a, b := h.wire.phone(t, "192.0.2.10:40001"), h.wire.phone(t, "192.0.2.10:40002")
		a.answers(0)
		for i, p := range []*phone{a, b} {
			h.bind("bob", p.udp(), fmt.Sprintf(`<sip:bob@192.0.2.10:5060>;+sip.instance="<urn:uuid:1>";reg-id=%d`, i+1), "Supported: outbound, path")
		}
		r := h.send("bob", "hello")
		r.want(202) // the sender does not wait so long
		h.waiting("bob", 1)
		settle(time.Minute)
		a.want("hello")
		b.want("hello")
		if x, y := a.last().Via().Branch, b.last().Via().Branch; x != y {
			t.Errorf("branches %q and %q", x, y)
		}
		h.waiting("bob", 0)
		h.wantOutcomes(r.callID, "stored 202", "delivered 200")
	})
}

func TestBestResponse(t *testing.T) {
	for _, c := range []struct {
		devices []int
		want    int
		waits   int
	}{
		{[]int{200, 603}, 200, 0},
		{[]int{480, 200}, 200, 0},
		{[]int{415}, 415, 0},
		{[]int{603}, 603, 0},
		{[]int{403, 415}, 415, 0}, // within 4xx those that help the sender
		{[]int{415, 603}, 603, 0}, // a 6xx speaks for the user
		{[]int{480, 603}, 603, 0},
		{[]int{0, 603}, 603, 0},
		{[]int{501, 403}, 403, 0}, // the lowest class
		{[]int{480}, 202, 1},
		{[]int{503}, 202, 1},
		{[]int{500}, 202, 1},
		{[]int{404}, 202, 1},
		{[]int{487}, 202, 1},
		{[]int{408}, 202, 1}, // RFC 4320 §4.2
		{[]int{0}, 202, 1},
		{[]int{480, 415}, 202, 1}, // the first may take it later
		{[]int{503, 480, 0}, 202, 1},
	} {
		t.Run(strings.ReplaceAll(fmt.Sprint(c.devices), " ", ","), func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				h.settings.AnswerAfter = time.Minute
				h.relay.Reload(h.settings)
				for i, status := range c.devices {
					h.online("bob", fmt.Sprintf("192.0.2.%d:5060", 10+i)).answers(status)
				}
				r := h.send("bob", "hello")
				answer := r.want(c.want)
				if n := answer.Count(sip.HeaderVia); n != 1 {
					t.Errorf("%d Via values in the answer", n)
				}
				h.waiting("bob", c.waits)
				settle(2 * time.Minute) // nobody hears another answer, least of all 408
				h.sender.mu.Lock()
				defer h.sender.mu.Unlock()
				for _, m := range h.sender.final[r.branch] {
					if s := m.Status(); s != c.want && s != 100 {
						t.Errorf("a second answer: %d", s)
					}
				}
			})
		})
	}
}

func TestConnectionClosesBeforeTheAnswer(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.wire.phone(t, "192.0.2.10:40001")
		p.answers(0)
		f := h.wire.connect(p.addr)
		h.bind("bob", f, "<sip:bob@192.0.2.10:5060;transport=tcp>")
		r := h.send("bob", "hello")
		settle(time.Second)
		p.want("hello")
		h.wire.cut(f)
		settle(time.Second)
		if a := r.answer(); a == nil || a.Status() != 202 {
			t.Fatalf("answer %v, want 202 at once", a)
		}
		h.waiting("bob", 1)
	})
}

// The sender waits AnswerAfter for silent devices, hears 202 and never 408; a
// device that takes the message later ends its wait.
func TestAnswerAfter(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.online("bob", "192.0.2.10:5060")
		p.answer = func(*sip.Message) (int, time.Duration) { return 200, 8 * time.Second }
		start := time.Now()
		r := h.send("bob", "hello")
		r.want(202)
		if d := time.Since(start); d < 5*time.Second || d > 6*time.Second {
			t.Errorf("answered after %v", d)
		}
		h.waiting("bob", 1)
		settle(5 * time.Second)
		h.waiting("bob", 0)
		h.wantOutcomes(r.callID, "stored 202", "delivered 200")
		p.want("hello")
	})
}

// A device that refuses after the message was kept is not asked again under the
// branch that it has answered.
func TestLateRefusalIsRemembered(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.online("bob", "192.0.2.10:5060")
		late := func(status int) func(*sip.Message) (int, time.Duration) {
			return func(*sip.Message) (int, time.Duration) { return status, 8 * time.Second }
		}
		p.answer = late(480)
		h.send("bob", "hello").want(202)
		settle(5 * time.Second)
		p.answers(200)
		h.refresh("bob", p)
		settle(time.Second)
		p.want("hello", "hello")
		if a, b := p.requests[0].Via().Branch, p.requests[1].Via().Branch; a == b {
			t.Error("the second try is a retransmission of the first")
		}
		h.waiting("bob", 0)
	})
}

func TestMaxForwardsAndLoops(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		p := h.online("bob", "192.0.2.10:5060")
		h.send("bob", "hop", "Max-Forwards: 0").want(483)
		h.send("bob", "hop", "Max-Forwards: 00").want(483)
		p.want()
		h.send("bob", "hop", "Max-Forwards: 1").want(200)
		if v := p.last().Get(sip.HeaderMaxForwards); v != "0" {
			t.Errorf("Max-Forwards %q", v)
		}
		// What this server sent comes back to it on its way to the same user.
		back := p.last().Bytes()
		text := strings.Replace(string(back), "sip:bob@192.0.2.10:5060", "sip:bob@example.com", 1)
		text = strings.Replace(text, "Max-Forwards: 0", "Max-Forwards: 10", 1)
		text = strings.Replace(text, "Via: ", "Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKloop\r\nVia: ", 1)
		m := new(sip.Message)
		if err := m.Parse([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if fault := m.Check(); fault != nil {
			t.Fatal(fault)
		}
		if _, fault := h.relay.Admit(m, 0); fault == nil || fault.Status != 482 {
			t.Errorf("a loop: %v", fault)
		}
		// The same message to somebody else is a spiral, not a loop.
		if err := m.Parse([]byte(strings.Replace(text, "sip:bob@example.com", "sip:carol@example.com", 1))); err != nil {
			t.Fatal(err)
		}
		if fault := m.Check(); fault != nil {
			t.Fatal(fault)
		}
		if _, fault := h.relay.Admit(m, 0); fault != nil {
			t.Errorf("a spiral: %v", fault)
		}
		h.send("bob", "x", "Proxy-Require: foo").want(420)
	})
}

func TestRequestURIThatIsNobodyHere(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		for to, want := range map[string]int{"nobody": 404, "x@example.net": 403} {
			r := h.send(to, "hello")
			r.want(want)
			settle(time.Second)
			h.wantOutcomes(r.callID, fmt.Sprintf("refused %d", want))
		}
		if n := len(h.wire.messages()); n != 0 {
			t.Errorf("%d packets left", n)
		}
		for uri, want := range map[string]int{"tel:+49": 416, "sip:example.com": 404} {
			m := new(sip.Message)
			text := strings.Replace(string(siptest.Request("MESSAGE", "z9hG4bK1", serverAddr)), "sip:bob@example.com SIP", uri+" SIP", 1)
			if err := m.Parse([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if fault := m.Check(); fault != nil {
				t.Fatal(fault)
			}
			if _, fault := h.relay.Admit(m, 0); fault == nil || fault.Status != want {
				t.Errorf("%s: %v, want %d", uri, fault, want)
			}
		}
	})
}

// TestSlowRecord: a message whose record takes long goes where its account is
// then, not where it was when the message came.
func TestSlowRecord(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		before := h.wire.phone(t, "192.0.2.10:5060")
		h.bind("bob", before.udp(), `<sip:bob@192.0.2.10:5060>;+sip.instance="<urn:uuid:1>"`)
		h.journal.set(2*time.Second, false, false)
		r := h.send("bob", "hello")
		settle(time.Second)
		after := h.wire.phone(t, "192.0.2.11:5060")
		h.bind("bob", after.udp(), `<sip:bob@192.0.2.11:5060>;+sip.instance="<urn:uuid:1>"`)
		r.want(200)
		settle(2 * time.Second)
		before.want()
		after.want("hello")
		h.wantOutcomes(r.callID, "delivered 200")
	})
}
