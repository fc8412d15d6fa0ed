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

// noNotes is a filter for the members of a list, by its URI.
const noNotes = `<filter-set xmlns="urn:ietf:params:xml:ns:simple-filter"><ns-bindings><ns-binding prefix="pidf" urn="urn:ietf:params:xml:ns:pidf"/></ns-bindings>` +
	`<filter id="1" uri="sip:contacts@example.com"><what><exclude>//pidf:note</exclude>` +
	`<exclude type="namespace">urn:ietf:params:xml:ns:pidf:data-model</exclude></what>` +
	`<trigger><changed>/pidf:presence/pidf:tuple/pidf:status/pidf:basic</changed></trigger></filter></filter-set>`

// TestFilterChanges: a SUBSCRIBE of the dialog with a filter replaces the one before,
// one without leaves it (RFC 4660 §4.2, §5.2.2), and one that is wrong changes
// nothing. A filter that names a list is for all its members (§4.1).
func TestFilterChanges(t *testing.T) {
	for _, resource := range []string{bobURI, "sip:contacts@example.com"} {
		t.Run(resource, func(t *testing.T) {
			h := start(t)
			h.service("contacts", `<list><entry xmlns="urn:ietf:params:xml:ns:resource-lists" uri="sip:bob@example.com"/></list>`)
			bob := h.client("bob", "TCP")
			tag := bob.publish(200, pidf("bob", "open", "first"))
			filter := noNotes
			if resource == bobURI {
				filter = strings.Replace(filter, ` uri="sip:contacts@example.com"`, "", 1)
			}
			w := h.watch("alice", "TCP", resource, "Supported: eventlist")
			w.sees("first")
			refresh := func(status int, body string) {
				t.Helper()
				w.cseq++
				lines := []string{"Event: presence", "Contact: " + w.contact, "From: " + w.from, "Call-ID: " + w.callID, "Supported: eventlist",
					fmt.Sprintf("CSeq: %d SUBSCRIBE", w.cseq), "To: <" + resource + ">;tag=" + w.tag}
				if body != "" {
					lines = append(lines, "Content-Type: "+presence.TypeFilter)
				}
				if m := w.asking(w.session.request("SUBSCRIBE", resource, body, lines...)); m.Status() != status {
					t.Fatalf("SUBSCRIBE:\n%s", m.Raw())
				}
			}
			next := func() string {
				t.Helper()
				for {
					if m := w.notify(); strings.Contains(m.Body(), "<presence") {
						return m.Body()
					}
				}
			}
			refresh(200, filter)
			if b := next(); strings.Contains(b, "first") || !strings.Contains(b, "<basic>open</basic>") {
				t.Errorf("with a filter:\n%s", b)
			}
			tag = bob.publish(200, pidf("bob", "open", "second"), "SIP-If-Match: "+tag) // no trigger
			tag = bob.publish(200, pidf("bob", "closed", "third"), "SIP-If-Match: "+tag)
			if b := w.sees("<basic>closed</basic>").Body(); strings.Contains(b, "third") {
				t.Errorf("after the trigger:\n%s", b)
			}
			refresh(200, "")
			if b := next(); strings.Contains(b, "third") {
				t.Errorf("the filter is gone:\n%s", b)
			}
			refresh(488, strings.Replace(filter, "//pidf:note", "pidf:note", 1))
			refresh(200, strings.Replace(filter, "//pidf:note", "//pidf:contact", 1))
			if b := next(); !strings.Contains(b, "third") || strings.Contains(b, "<contact") {
				t.Errorf("with another filter:\n%s", b)
			}
			bob.publish(200, pidf("bob", "open", "fourth"), "SIP-If-Match: "+tag)
			if b := w.sees("fourth").Body(); strings.Contains(b, "<contact") {
				t.Errorf("after the trigger:\n%s", b)
			}
		})
	}
}

// TestTwoFiltersForAList: one that names the list and one that names nothing are both
// for all its members (RFC 4660 §4.1).
func TestTwoFiltersForAList(t *testing.T) {
	h := start(t)
	h.service("contacts", `<list><entry xmlns="urn:ietf:params:xml:ns:resource-lists" uri="sip:bob@example.com"/></list>`)
	two := strings.Replace(noNotes, "</filter-set>", `<filter id="2"><what><exclude>//pidf:note</exclude></what></filter></filter-set>`, 1)
	h.client("alice", "TCP").want(488, "SUBSCRIBE", "sip:contacts@example.com", two, "Event: presence", "Contact: <sip:alice@192.0.2.1>",
		"Supported: eventlist", "Content-Type: "+presence.TypeFilter)
	if n := h.notifier.Counters.Subscriptions.Load(); n != 0 {
		t.Errorf("%d subscriptions", n)
	}
}
