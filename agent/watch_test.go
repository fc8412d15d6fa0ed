package agent

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

func startSilent(t *testing.T) string {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc.LocalAddr().String()
}

func TestWatchRegistersAndLeaves(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			r := startRegistrar(t, func(r *testRegistrar) { r.minExpires, r.grant = 60, 120 })
			cfg := config(r, "bob", transport)
			cfg.Expires = 10 * time.Second // refused with 423
			events, stop := watch(t, cfg)
			r.mu.Lock()
			contact := r.bindings["bob"].GetHeader("Contact").Value()
			r.mu.Unlock()
			if !strings.Contains(contact, `+sip.instance="<`+cfg.Instance+`>"`) {
				t.Errorf("contact %s has no instance", contact)
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if e := next(t, events); e.Kind != Unregistered || e.Reason != "" {
				t.Errorf("last event %v", e)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.bindings["bob"] != nil {
				t.Error("binding is still there")
			}
		})
	}
}

func TestWatchRefreshes(t *testing.T) {
	t.Parallel()
	r := startRegistrar(t, func(r *testRegistrar) { r.grant = 2 })
	watch(t, config(r, "bob", "udp"))
	deadline := time.Now().Add(10 * time.Second)
	for len(r.seen(sip.REGISTER)) < 4 {
		if time.Now().After(deadline) {
			t.Fatal("no refresh")
		}
		time.Sleep(50 * time.Millisecond)
	}
	sent := r.seen(sip.REGISTER)
	for i, req := range sent[1:] {
		if *req.CallID() != *sent[0].CallID() || req.CSeq().SeqNo <= sent[i].CSeq().SeqNo {
			t.Errorf("REGISTER %d: Call-ID %s CSeq %d after %d", i+1, *req.CallID(), req.CSeq().SeqNo, sent[i].CSeq().SeqNo)
		}
	}
	// The nonce is used again with a rising count: no further challenge.
	if h := sent[2].GetHeader("Authorization"); h == nil || !strings.Contains(h.Value(), "nc=00000002") {
		t.Errorf("refresh carries %v", h)
	}
}

func TestWatchEndsWhenTheAccountIsRefused(t *testing.T) {
	t.Parallel()
	r := startRegistrar(t, nil)
	cfg := config(r, "bob", "udp")
	cfg.Password = "wrong"
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := Watch(ctx, cfg, func(e Event) { t.Errorf("event %v", e) })
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("got %v", err)
	}
}

func TestWatchComesBack(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			r := startRegistrar(t, func(r *testRegistrar) { r.grant = 2 })
			events, _ := watch(t, config(r, "bob", transport))
			r.mu.Lock()
			r.unhealthy = 503
			r.mu.Unlock()
			if e := next(t, events); e.Kind != Unregistered || e.Status != 503 {
				t.Fatalf("got %v", e)
			}
			r.mu.Lock()
			r.unhealthy = 0
			r.mu.Unlock()
			if e := next(t, events); e.Kind != Registered {
				t.Fatalf("got %v", e)
			}
		})
	}
}

func TestWatchRegistersAgainWhenTheConnectionIsLost(t *testing.T) {
	t.Parallel()
	r := startRegistrar(t, nil)
	events, _ := watch(t, config(r, "bob", "tcp"))
	r.stop()
	r.mu.Lock()
	r.bindings = map[string]*sip.Request{}
	r.mu.Unlock()
	r.start()
	deadline := time.Now().Add(20 * time.Second)
	for {
		r.mu.Lock()
		back := r.bindings["bob"] != nil
		r.mu.Unlock()
		if back {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("not registered again")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if status, err := r.deliver(t.Context(), "bob", r.request("MESSAGE", "bob", "after")); err != nil || status != 200 {
		t.Fatalf("deliver: %d, %v", status, err)
	}
	for {
		if e := next(t, events); e.Kind == Message {
			if e.Text != "after" {
				t.Errorf("got %v", e)
			}
			return
		}
	}
}

func TestWatchShowsOneMessageOnce(t *testing.T) {
	t.Parallel()
	r := startRegistrar(t, nil)
	events, _ := watch(t, config(r, "bob", "udp"))
	r.mu.Lock()
	contact, source := r.bindings["bob"].Contact().Address, r.bindings["bob"].Source()
	r.mu.Unlock()
	// The same bytes from two ports, as from a server that crashed and came
	// back; the second is another transaction for the transport.
	for range 2 {
		conn, err := net.Dial("udp", source)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "MESSAGE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKsame;rport\r\nMax-Forwards: 70\r\n"+
			"From: <sip:carol@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: once\r\nCSeq: 1 MESSAGE\r\n"+
			"Content-Type: text/plain\r\nContent-Length: 4\r\n\r\nonce", contact.String(), conn.LocalAddr())
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 2000)
		n, err := conn.Read(buf)
		if err != nil || !bytes.HasPrefix(buf[:n], []byte("SIP/2.0 200")) {
			t.Fatalf("answer %q, %v", buf[:n], err)
		}
		conn.Close()
	}
	if e := next(t, events); e.Text != "once" {
		t.Errorf("got %v", e)
	}
	select {
	case e := <-events:
		t.Errorf("shown again: %v", e)
	case <-time.After(200 * time.Millisecond):
	}
}

func TestWatchAnswers(t *testing.T) {
	t.Parallel()
	r := startRegistrar(t, nil)
	events, _ := watch(t, config(r, "bob", "tcp"))
	for _, c := range []struct {
		method sip.RequestMethod
		header string
		want   int
	}{
		{"OPTIONS", "Accept: */*", 200},
		{"MESSAGE", "Content-Type: text/plain", 200},
		{"MESSAGE", "Require: time-travel", 420},
		{"NOTIFY", "Event: presence", 481},
		{"NOTIFY", "Event: message-summary", 489},
		{"INFO", "X: y", 405},
	} {
		req := r.request(c.method, "bob", "", c.header)
		r.mu.Lock()
		binding := r.bindings["bob"]
		r.mu.Unlock()
		req.Recipient = binding.Contact().Address
		req.SetTransport("TCP")
		req.SetDestination(binding.Source())
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		res, err := r.client.Do(ctx, req, sipgo.ClientRequestAddVia)
		cancel()
		if err != nil || res.StatusCode != c.want {
			t.Errorf("%s with %s: %v, %v; want %d", c.method, c.header, res, err, c.want)
			continue
		}
		if c.want == 405 && (res.GetHeader("Allow") == nil || res.GetHeader("Allow").Value() != allow) {
			t.Errorf("405 without Allow: %s", res)
		}
	}
	if e := next(t, events); e.Kind != Message {
		t.Errorf("got %v", e)
	}
}

func TestWatchShowsBodies(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	const imdn = `<?xml version="1.0"?><imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>m1</message-id>` +
		`<datetime>2026-01-02T03:04:05Z</datetime><delivery-notification><status><delivered/></status></delivery-notification></imdn>`
	z.Write([]byte(imdn))
	z.Close()
	cpim := func(inner string) string {
		return "From: Dave <sip:dave@example.com>\r\nTo: <sip:bob@example.com>\r\nDateTime: 2026-01-02T03:04:05Z\r\n" +
			"NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: m7\r\n\r\n" + inner
	}
	r := startRegistrar(t, nil)
	events, _ := watch(t, config(r, "bob", "udp"))
	for _, c := range []struct {
		name, body string
		headers    []string
		kind       Kind
		text, line string
	}{
		{"plain", greeting, []string{"Content-Type: text/plain"}, Message, greeting, "Carol <sip:carol@example.com>: " + greeting},
		{"cpim", cpim("Content-Type: text/plain; charset=utf-8\r\n\r\n" + greeting), []string{"Content-Type: message/cpim"},
			Message, greeting, "Dave <sip:dave@example.com>: " + greeting},
		{"cpim with imdn", cpim("Content-Type: message/imdn+xml\r\n\r\n" + imdn), []string{"Content-Type: message/cpim"},
			Receipt, "delivered", "Dave <sip:dave@example.com> reports message m1 delivered"},
		{"broken cpim", "From: x", []string{"Content-Type: message/cpim"}, Message, "From: x", "Carol <sip:carol@example.com>: From: x"},
		{"deflated imdn", packed.String(), []string{"Content-Type: message/imdn+xml", "Content-Encoding: deflate"},
			Receipt, "delivered", "Carol <sip:carol@example.com> reports message m1 delivered"},
		{"typing", `<?xml version="1.0"?><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>`,
			[]string{"Content-Type: application/im-iscomposing+xml"}, Typing, "active", "… Carol <sip:carol@example.com> is typing"},
		{"idle", `<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>idle</state></isComposing>`,
			[]string{"Content-Type: application/im-iscomposing+xml"}, Typing, "idle", "Carol <sip:carol@example.com> stopped typing"},
		{"picture", "\x89PNG", []string{"Content-Type: image/png"}, Message, "[image/png, 4 bytes]", "Carol <sip:carol@example.com>: [image/png, 4 bytes]"},
		{"escape sequence", "a\x1b[2Jb\nc", []string{"Content-Type: text/plain"}, Message, "a\x1b[2Jb\nc", "Carol <sip:carol@example.com>: a\ufffd[2Jb c"},
		{"not UTF-8", "a\xffb", []string{"Content-Type: text/plain"}, Message, "a\ufffdb", "Carol <sip:carol@example.com>: a\ufffdb"},
		{"Latin-1", "Gr\xfc\xdfe", []string{"Content-Type: text/plain;charset=ISO-8859-1"}, Message, "Grüße", "Carol <sip:carol@example.com>: Grüße"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, err := r.deliver(t.Context(), "bob", r.request("MESSAGE", "bob", c.body, c.headers...))
			if err != nil || status != 200 {
				t.Fatalf("deliver: %d, %v", status, err)
			}
			e := next(t, events)
			if e.Kind != c.kind || e.Text != c.text {
				t.Errorf("got %v %q, want %v %q", e.Kind, e.Text, c.kind, c.text)
			}
			if line := e.String(); line[len("15:04:05 "):] != c.line {
				t.Errorf("line %q, want %q", line, c.line)
			}
		})
	}
}
