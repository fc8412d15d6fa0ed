package im_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/sip"
)

// TestNextHop registers a device in the ways devices do and looks where a
// message for it goes.
func TestNextHop(t *testing.T) {
	const source = "198.51.100.10:40000"
	const instance = `;+sip.instance="<urn:uuid:1>"`
	for _, c := range []struct {
		name    string
		contact string
		lines   []string
		tcp     bool   // it registers over a connection
		cut     bool   // which then closes
		want    string // "": nowhere
		uri     string // "": the contact's
	}{
		{name: "public contact", contact: "<sip:bob@203.0.113.10:5062>", want: "udp 203.0.113.10:5062"},
		{name: "without port", contact: "<sip:bob@203.0.113.10>", want: "udp 203.0.113.10:5060"},
		{name: "parameters stay", contact: "<sip:bob@203.0.113.10;ob;x=y>", want: "udp 203.0.113.10:5060"},
		{name: "private contact behind NAT", contact: "<sip:bob@10.0.0.5:5060>", want: "udp " + source},
		{name: "loopback contact of another", contact: "<sip:bob@127.0.0.1:5060>", want: "udp " + source},
		{name: "link-local contact", contact: "<sip:bob@169.254.1.1:5060>", want: "udp " + source},
		{name: "unspecified contact", contact: "<sip:bob@0.0.0.0:5060>", want: "udp " + source},
		{name: "name that only the device knows", contact: "<sip:bob@d8f3.invalid>", want: "udp " + source},
		{name: "own address, other port", contact: "<sip:bob@198.51.100.10:5062>", want: "udp 198.51.100.10:5062"},
		{name: "outbound over UDP", contact: "<sip:bob@203.0.113.10:5062>" + instance + ";reg-id=1", lines: []string{"Supported: outbound, path"}, want: "udp " + source},
		{name: "instance without reg-id", contact: "<sip:bob@203.0.113.10:5062>" + instance, want: "udp 203.0.113.10:5062"},
		{name: "contact over TCP", contact: "<sip:bob@203.0.113.10:5062;transport=TCP>", want: "tcp 203.0.113.10:5062"},
		{name: "private TCP contact, registered over UDP", contact: "<sip:bob@10.0.0.5;transport=tcp>", want: "udp " + source},
		{name: "contact over TLS", contact: "<sip:bob@203.0.113.10;transport=tls>"},
		{name: "sips contact", contact: "<sips:bob@203.0.113.10>"},
		{name: "maddr", contact: "<sip:bob@203.0.113.10;maddr=203.0.113.11>", want: "udp 203.0.113.11:5060"},
		{name: "multicast maddr", contact: "<sip:bob@203.0.113.10;maddr=224.0.1.75>"},
		{name: "connection", contact: "<sip:bob@203.0.113.10;transport=tcp>", tcp: true, want: "tcp " + source},
		{name: "connection, whatever the contact says", contact: "<sip:bob@d8f3.invalid>", tcp: true, want: "tcp " + source},
		{name: "closed connection", contact: "<sip:bob@203.0.113.10;transport=tcp>", tcp: true, cut: true},
		{name: "Path", contact: "<sip:bob@10.0.0.5>", lines: []string{"Path: <sip:203.0.113.20:5070;lr>", "Supported: path"}, want: "udp 203.0.113.20:5070"},
		{name: "Path of two", contact: "<sip:bob@10.0.0.5>", lines: []string{"Path: <sip:203.0.113.20;lr>, <sip:edge.invalid;lr>", "Supported: path"}, want: "udp 203.0.113.20:5060"},
		{name: "Path over TCP", contact: "<sip:bob@10.0.0.5>", lines: []string{"Path: <sip:203.0.113.20;transport=tcp;lr>", "Supported: path"}, want: "tcp 203.0.113.20:5060"},
		{name: "Path by name", contact: "<sip:bob@10.0.0.5>", lines: []string{"Path: <sip:edge.example.com;lr>", "Supported: path"}, want: "udp " + source},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				for _, a := range []string{source, "203.0.113.10:5060", "203.0.113.10:5062", "203.0.113.20:5060"} {
					h.wire.phone(t, a)
				}
				p := h.wire.phones[addr(source)]
				f := p.udp()
				if c.tcp {
					f = h.wire.connect(p.addr)
				}
				h.bind("bob", f, c.contact, c.lines...)
				if c.cut {
					h.wire.mu.Lock() // before anybody is told
					delete(h.wire.conns, f)
					h.wire.mu.Unlock()
				}
				r := h.send("bob", "hello")
				settle(time.Second)
				sent := h.wire.messages()
				if c.want == "" {
					r.want(202)
					if len(sent) != 0 {
						t.Errorf("it was sent to %s", sent[0].flow)
					}
					return
				}
				if len(sent) == 0 {
					t.Fatal("nothing was sent")
				}
				m := sent[0].m
				if got := sent[0].flow.String(); got != c.want {
					t.Errorf("sent to %s, want %s", got, c.want)
				}
				uri, _, _ := strings.Cut(strings.TrimPrefix(c.contact, "<"), ">")
				if m.RequestURI() != uri {
					t.Errorf("Request-URI %s, want the contact %s", m.RequestURI(), uri)
				}
				if proto := strings.ToUpper(c.want[:3]); !strings.HasPrefix(m.Get(sip.HeaderVia), "SIP/2.0/"+proto+" ") {
					t.Errorf("Via %s", m.Get(sip.HeaderVia))
				}
				var path []string
				for _, l := range c.lines {
					if v, ok := strings.CutPrefix(l, "Path: "); ok {
						path = strings.Split(v, ", ")
					}
				}
				var routes []string
				_ = m.EachItem(sip.HeaderRoute, func(v string) bool { routes = append(routes, v); return true })
				if strings.Join(routes, " ") != strings.Join(path, " ") {
					t.Errorf("Route %q, want the Path %q", routes, path)
				}
			})
		})
	}
}

// Requests over 1300 bytes move to TCP (RFC 3261 §18.1.1), and come back to UDP
// where the peer refuses it; it is not asked again for five minutes.
func TestLongRequests(t *testing.T) {
	long := strings.Repeat("x", 1400)
	flows := func(h *house) string {
		var list []string
		for _, p := range h.wire.messages() {
			list = append(list, p.flow.Proto.Param())
		}
		return strings.Join(list, " ")
	}
	inHouse(t, func(t *testing.T, h *house) {
		h.online("bob", "192.0.2.10:5060")
		h.send("bob", "short").want(200)
		h.send("bob", long).want(200)
		h.send("bob", long).want(200)
		if got := flows(h); got != "udp tcp tcp" {
			t.Errorf("sent over %s", got)
		}
		if m := h.wire.messages()[1].m; !strings.HasPrefix(m.Get(sip.HeaderVia), "SIP/2.0/TCP ") || m.RequestURI() != "sip:bob@192.0.2.10:5060" {
			t.Errorf("sent over TCP:\n%.300s", m.Raw())
		}
	})
	inHouse(t, func(t *testing.T, h *house) {
		p := h.online("bob", "192.0.2.10:5060")
		h.wire.noTCP[p.addr] = true
		h.send("bob", long).want(200)
		h.send("bob", long).want(200)
		if got := flows(h); got != "udp udp" || h.wire.dials != 1 {
			t.Errorf("sent over %s with %d tries to connect", got, h.wire.dials)
		}
		if m := h.wire.messages()[0].m; !strings.HasPrefix(m.Get(sip.HeaderVia), "SIP/2.0/UDP ") {
			t.Errorf("Via %s", m.Get(sip.HeaderVia))
		}
		settle(6 * time.Minute)
		delete(h.wire.noTCP, p.addr)
		h.send("bob", long).want(200)
		if got := flows(h); got != "udp udp tcp" {
			t.Errorf("sent over %s", got)
		}
	})
}

// A panic on the way to a device costs that message an answer of 500 or a new
// try, and nothing else.
func TestPanicIsContained(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		a, b := h.wire.phone(t, "192.0.2.10:40001"), h.wire.phone(t, "192.0.2.10:40002")
		a.answers(430)
		for i, p := range []*phone{a, b} {
			h.bind("bob", h.wire.connect(p.addr), fmt.Sprintf(`<sip:bob@192.0.2.10>;+sip.instance="<urn:uuid:1>";reg-id=%d`, i+1), "Supported: outbound")
		}
		calls := 0
		h.wire.panics = func() bool { calls++; return calls > 4 } // not in Lookup, but when the second flow is tried
		r := h.send("bob", "hello")
		settle(10 * time.Second)
		h.wire.panics = nil
		if r.answer() == nil {
			t.Error("no answer")
		}
		if h.panics.Load() == 0 {
			t.Errorf("no panic was told of after %d calls", calls)
		}
		h.send("bob", "again").want(200)
	})
}
