package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
)

const openOnly = `<filter-set xmlns="urn:ietf:params:xml:ns:simple-filter"><ns-bindings><ns-binding prefix="pidf" urn="urn:ietf:params:xml:ns:pidf"/></ns-bindings>` +
	`<filter id="1"><what><exclude>//pidf:note</exclude><exclude type="namespace">urn:ietf:params:xml:ns:pidf:data-model</exclude></what>` +
	`<trigger><changed>/pidf:presence/pidf:tuple/pidf:status/pidf:basic</changed></trigger></filter></filter-set>`

// TestFilter: a watcher is told what it asked for, when it asked for it (RFC 4660
// §5.3).
func TestFilter(t *testing.T) {
	h := start(t)
	bob := h.client("bob", "TCP")
	tag := bob.publish(200, pidf("bob", "open", "first"))
	c := h.client("alice", "TCP")
	w := &watcher{client: c, contact: "<sip:alice@" + c.conn.LocalAddr().String() + ";transport=tcp>", from: "<sip:alice@example.com>;tag=f", callID: "filter"}
	subscribe := func(filter string, cseq int) string {
		lines := []string{"Event: presence", "Contact: " + w.contact, "From: " + w.from, "Call-ID: filter", fmt.Sprintf("CSeq: %d SUBSCRIBE", cseq),
			"Content-Type: " + presence.TypeFilter}
		if w.session == nil {
			return w.request("SUBSCRIBE", "sip:bob@example.com", filter, lines...)
		}
		return w.session.request("SUBSCRIBE", "sip:bob@example.com", filter, lines...)
	}
	w.session = c.session(w.ask(subscribe(openOnly, 1)))
	if m := w.asking(subscribe(strings.Replace(openOnly, "//pidf:note", "pidf:note", 1), 2)); m.Status() != 488 {
		t.Errorf("a filter that is wrong:\n%s", m.Raw())
	}
	if m := w.asking(subscribe(openOnly, 3)); m.Status() != 200 {
		t.Fatalf("SUBSCRIBE:\n%s", m.Raw())
	}
	if first := w.notify(); !strings.Contains(first.Body(), "<basic>open</basic>") || strings.Contains(first.Body(), "first") {
		t.Errorf("first NOTIFY:\n%s", first.Raw())
	}
	tag = bob.publish(200, strings.Replace(pidf("bob", "open", "second"), "<contact>", `<x xmlns="urn:example:x"/><contact>`, 1), "SIP-If-Match: "+tag)
	w.quiet(200 * time.Millisecond)
	bob.publish(200, pidf("bob", "closed", "third"), "SIP-If-Match: "+tag)
	if m := w.notify(); !strings.Contains(m.Body(), "<basic>closed</basic>") {
		t.Errorf("NOTIFY after the trigger:\n%s", m.Raw())
	}
}
