package registrar_test

import (
	"slices"
	"strings"
	"testing"

	"rollcall/registrar"
)

const (
	one = `;+sip.instance="<urn:uuid:11111111-0000-1000-8000-AABBCCDDEEFF>"`
	two = `;+sip.instance="<urn:uuid:22222222-0000-1000-8000-AABBCCDDEEFF>"`
)

// TestDeviceHasOnePlace: RFC 5626 §6, and what follows from it for devices that
// do not use reg-id.
func TestDeviceHasOnePlace(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps [][]string
		want  []string
	}{
		{"reg-id with another contact", [][]string{
			{"Contact: <sip:a@192.0.2.1>;reg-id=1" + one},
			{"Contact: <sip:b@192.0.2.2>;reg-id=1" + one},
		}, []string{"sip:b@192.0.2.2"}},
		{"two flows", [][]string{
			{"Contact: <sip:a@192.0.2.1>;reg-id=1" + one},
			{"Contact: <sip:a@192.0.2.1>;reg-id=2" + one},
			{"Contact: <sip:a@192.0.2.1:5070>;reg-id=1" + one},
		}, []string{"sip:a@192.0.2.1:5070", "sip:a@192.0.2.1"}},
		{"two devices behind one address", [][]string{
			{"Contact: <sip:a@10.0.0.1>;reg-id=1" + one},
			{"Contact: <sip:a@10.0.0.1>;reg-id=1" + two},
		}, []string{"sip:a@10.0.0.1", "sip:a@10.0.0.1"}},
		{"instance alone with another contact", [][]string{
			{"Contact: <sip:a@192.0.2.1>" + one},
			{"Contact: <sip:z@192.0.2.9>" + two},
			{"Contact: <sip:b@192.0.2.2>" + one},
		}, []string{"sip:b@192.0.2.2", "sip:z@192.0.2.9"}},
		{"from instance alone to reg-id", [][]string{
			{"Contact: <sip:a@192.0.2.1>" + one},
			{"Contact: <sip:b@192.0.2.2>;reg-id=1" + one},
		}, []string{"sip:b@192.0.2.2"}},
		{"from two flows to instance alone", [][]string{
			{"Contact: <sip:a@192.0.2.1>;reg-id=1" + one},
			{"Contact: <sip:b@192.0.2.2>;reg-id=2" + one},
			{"Contact: <sip:c@192.0.2.3>" + one},
		}, []string{"sip:c@192.0.2.3"}},
		{"several contacts of a device in one request", [][]string{
			{"Contact: <sip:a@192.0.2.1>" + one + ", <sips:a@192.0.2.1>" + one},
			{"Contact: <sip:a@192.0.2.1>" + one + ", <sips:a@192.0.2.1>" + one},
		}, []string{"sip:a@192.0.2.1", "sips:a@192.0.2.1"}},
		{"the old contact removed beside the new", [][]string{
			{"Contact: <sip:a@192.0.2.1>" + one},
			{"Contact: <sip:b@192.0.2.2>" + one + ", <sip:a@192.0.2.1>;expires=0" + one},
		}, []string{"sip:b@192.0.2.2"}},
		{"the same in the other order, with reg-id", [][]string{
			{"Contact: <sip:a@192.0.2.1>;reg-id=1" + one},
			{"Contact: <sip:a@192.0.2.1>;reg-id=1;expires=0" + one + ", <sip:b@192.0.2.2>;reg-id=1" + one},
			{"Contact: <sip:c@192.0.2.3>;reg-id=1" + one + ", <sip:b@192.0.2.2>;reg-id=1;expires=0" + one},
		}, []string{"sip:c@192.0.2.3"}},
		{"removal by reg-id, whatever the contact", [][]string{
			{"Contact: <sip:a@192.0.2.1>;reg-id=1" + one},
			{"Contact: <sip:b@192.0.2.2>;reg-id=2" + one},
			{"Contact: <sip:x@192.0.2.7>;reg-id=1;expires=0" + one},
		}, []string{"sip:b@192.0.2.2"}},
		{"removal by contact of a binding with reg-id", [][]string{
			{"Contact: <sip:a@192.0.2.1>;reg-id=1" + one},
			{"Contact: <sip:a@192.0.2.1>;expires=0"},
		}, nil},
		{"removal of a contact that the device has left", [][]string{
			{"Contact: <sip:b@192.0.2.2>" + one},
			{"Contact: <sip:a@192.0.2.1>;expires=0" + one},
		}, []string{"sip:b@192.0.2.2"}},
		{"reg-id without instance is ignored", [][]string{
			{"Contact: <sip:a@192.0.2.1>;reg-id=1"},
			{"Contact: <sip:b@192.0.2.2>;reg-id=1"},
			{"Contact: <sip:a@192.0.2.1>;reg-id=2"},
		}, []string{"sip:a@192.0.2.1", "sip:b@192.0.2.2"}},
		{"reg-id behind a proxy without Path is ignored", [][]string{
			{"Via: SIP/2.0/UDP 192.0.2.30;branch=z9hG4bKx, SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKy", "Contact: <sip:a@192.0.2.1>;reg-id=1" + one},
			{"Via: SIP/2.0/UDP 192.0.2.30;branch=z9hG4bKx\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKy", "Contact: <sip:a@192.0.2.1>;reg-id=2" + one},
		}, []string{"sip:a@192.0.2.1"}},
		{"an edge proxy with ob", [][]string{
			{"Via: SIP/2.0/UDP 192.0.2.30;branch=z9hG4bKx, SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKy", "Path: <sip:t1@192.0.2.30;lr;ob>", "Contact: <sip:a@192.0.2.1>;reg-id=1" + one},
			{"Via: SIP/2.0/UDP 192.0.2.30;branch=z9hG4bKx, SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKy", "Path: <sip:hop@192.0.2.31;lr>, <sip:t2@192.0.2.30;lr;ob>", "Contact: <sip:a@192.0.2.1>;reg-id=2" + one},
		}, []string{"sip:a@192.0.2.1", "sip:a@192.0.2.1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
			for _, lines := range c.steps {
				for _, l := range p.ok(lines...) {
					if strings.HasPrefix(l, "Require: ") {
						t.Errorf("%s, but outbound is off", l)
					}
				}
			}
			equal(t, "contacts", contacts(t, p.r), c.want)
		})
	}
}

func TestReplacedIsTheSameBinding(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	p.ok("Contact: <sip:a@192.0.2.1>" + one)
	if !slices.Equal(p.change.NewDevices, []string{"urn:uuid:11111111-0000-1000-8000-AABBCCDDEEFF"}) {
		t.Errorf("new devices %q", p.change.NewDevices)
	}
	id := lookup(t, p.r)[0].ID
	for _, lines := range []string{"<sip:b@192.0.2.2>" + one, "<sip:c@192.0.2.3>;reg-id=1" + one, "<sip:d@192.0.2.4>;reg-id=1" + one} {
		p.ok("Contact: " + lines)
		if b := lookup(t, p.r)[0]; b.ID != id || len(p.change.Added)+len(p.change.Removed)+len(p.change.NewDevices) > 0 {
			t.Errorf("%s: ID %s was %s, %+v", lines, b.ID, id, p.change)
		}
	}
	p.ok("Contact: <sip:d@192.0.2.4>;reg-id=2" + one) // one more flow, no new device
	if len(p.change.Added) != 1 || len(p.change.NewDevices) != 0 {
		t.Errorf("second flow: %+v", p.change)
	}
	p.ok("Contact: <sip:e@192.0.2.5>")
	p.ok("Contact: <sip:e@192.0.2.5>" + two) // another device at a known contact
	if !slices.Equal(p.change.NewDevices, []string{"urn:uuid:22222222-0000-1000-8000-AABBCCDDEEFF"}) {
		t.Errorf("new devices %q", p.change.NewDevices)
	}
}

// TestSupersedeKeepsTheOrderOfCSeq: an older request does not push out what a
// newer one of the same series has put.
func TestSupersedeKeepsTheOrderOfCSeq(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	p.ok("Contact: <sip:a@192.0.2.1>" + one)
	p.cseq -= 5
	p.refused(500, "Contact: <sip:b@192.0.2.2>"+one)
	equal(t, "contacts", contacts(t, p.r), []string{"sip:a@192.0.2.1"})
}

func TestOutbound(t *testing.T) {
	o := options()
	o.Outbound = true
	p := newPhone(t, registrar.New(open(t, t.TempDir()), o))
	if !slices.Contains(p.r.Extensions(), "outbound") || !slices.Contains(p.r.Extensions(), "path") {
		t.Errorf("extensions %q", p.r.Extensions())
	}
	required := func(lines ...string) bool { return slices.Contains(p.ok(lines...), "Require: outbound") }
	contact := "Contact: <sip:a@192.0.2.1;ob>;reg-id=1" + one
	if !required("Supported: path, outbound", contact) {
		t.Error("no Require: outbound")
	}
	if b := lookup(t, p.r)[0]; !b.Outbound || b.RegID != 1 {
		t.Errorf("binding %+v", b)
	}
	for _, lines := range [][]string{
		{"Supported: path", contact},
		{"Supported: outbound", "Contact: <sip:b@192.0.2.2>" + two},
		{"Supported: outbound", "Contact: <sip:c@192.0.2.3>;reg-id=1"},
		{"Supported: outbound"},
	} {
		if required(lines...) {
			t.Errorf("Require: outbound to %q", lines)
		}
	}
	// "more than one header field value with a non-zero expiration and any of these
	// contain a reg-id"
	p.refused(400, contact+", <sip:b@192.0.2.2>"+two)
	p.ok(contact + ", <sip:b@192.0.2.2>;expires=0" + two)
	hop := "Via: SIP/2.0/UDP 192.0.2.30;branch=z9hG4bKx, SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKy"
	p.refused(439, hop, "Supported: outbound", contact)
	p.refused(439, hop, "Supported: outbound", "Path: <sip:192.0.2.30;lr>", contact)
	if !required(hop, "Supported: outbound", "Path: <sip:192.0.2.30;lr;ob>", contact) {
		t.Error("no Require: outbound behind an edge proxy")
	}
}

// TestPathIsOfTheRequest: RFC 3327 §5.3; each REGISTER brings its own route.
func TestPathIsOfTheRequest(t *testing.T) {
	p := newPhone(t, registrar.New(open(t, t.TempDir()), options()))
	p.ok("Contact: <sip:a@192.0.2.1>", "Supported: path", "Path: <sip:p1.example.net;lr>,<sip:p2.example.net;lr>")
	equal(t, "path", lookup(t, p.r)[0].Path, []string{"<sip:p1.example.net;lr>", "<sip:p2.example.net;lr>"})
	equal(t, "other contact", p.ok("Contact: <sip:b@192.0.2.2>"), []string{"Contact: <sip:a@192.0.2.1>;expires=3600", "Contact: <sip:b@192.0.2.2>;expires=3600"})
	equal(t, "query", p.ok("Path: <sip:p9.example.net;lr>"), []string{
		"Contact: <sip:a@192.0.2.1>;expires=3600", "Contact: <sip:b@192.0.2.2>;expires=3600", "Path: <sip:p9.example.net;lr>",
	})
	p.ok("Contact: <sip:a@192.0.2.1>")
	equal(t, "path gone", lookup(t, p.r)[0].Path, nil)
}
