package server

import (
	"bytes"
	"compress/zlib"
	"strings"
	"testing"

	"rollcall/sip"
)

const adHoc = `<?xml version="1.0"?><resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>` +
	`<entry uri="sip:bob@example.com"><display-name>Bob</display-name></entry><entry uri="sip:nobody@example.com"/></list></resource-lists>`

func TestListInSubscribe(t *testing.T) {
	h := start(t)
	bob := h.client("bob", "TCP")
	bob.publish(200, pidf("bob", "open", "first"))
	c := h.client("alice", "TCP")
	w := &watcher{client: c, contact: "<sip:alice@" + c.conn.LocalAddr().String() + ";transport=tcp>", from: "<sip:alice@example.com>;tag=l", callID: "list"}
	var z bytes.Buffer
	zw := zlib.NewWriter(&z)
	_, _ = zw.Write([]byte(adHoc))
	_ = zw.Close()
	lines := []string{"Event: presence", "Contact: " + w.contact, "From: " + w.from, "Call-ID: list", "CSeq: 1 SUBSCRIBE",
		"Require: recipient-list-subscribe", "Supported: eventlist", "Content-Type: application/resource-lists+xml",
		"Content-Encoding: deflate", "Content-Disposition: recipient-list", "User-Agent: LinphoneTest (belle-sip)"}
	m := w.ask(w.request("SUBSCRIBE", "sip:alice@example.com", z.String(), lines...))
	w.session = c.session(m)
	lines[4] = "CSeq: 2 SUBSCRIBE"
	m = w.asking(w.session.request("SUBSCRIBE", "sip:alice@example.com", z.String(), lines...))
	if m.Status() != 200 || m.Get(sip.HeaderRequire) != "eventlist" {
		t.Fatalf("SUBSCRIBE:\n%s", m.Raw())
	}
	first := w.notify()
	for _, want := range []string{`fullState="true"`, `version="0"`, `<name>Bob</name>`, `state="active"`, `state="terminated" reason="rejected"`, "first"} {
		if !strings.Contains(first.Body(), want) {
			t.Errorf("no %s in\n%s", want, first.Raw())
		}
	}
	if typ := first.Get(sip.HeaderContentType); first.Get(sip.HeaderEvent) != "Presence" || strings.Contains(typ, `boundary="`) || strings.Contains(first.Body(), "Content-Id: <") {
		t.Errorf("not for linphone:\n%s", first.Raw())
	}
	bob.publish(200, pidf("bob", "open", "second"))
	if m := w.sees("second"); !strings.Contains(m.Body(), `fullState="false"`) || strings.Contains(m.Body(), "nobody") {
		t.Errorf("partial list:\n%s", m.Raw())
	}
}
