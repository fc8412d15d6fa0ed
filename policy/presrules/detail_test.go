package presrules_test

import (
	"strings"
	"testing"
	"time"

	"rollcall/policy/presrules"
)

const head = `<cr:ruleset xmlns:cr="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules"` +
	` xmlns:ocp="urn:oma:xml:xdm:common-policy" xmlns:op="urn:oma:xml:prs:pres-rules">`

// rule makes a rule of what stands in its three parts.
func rule(id, conditions, actions, transformations string) string {
	return `<cr:rule id="` + id + `"><cr:conditions>` + conditions + `</cr:conditions><cr:actions>` + actions +
		`</cr:actions><cr:transformations>` + transformations + `</cr:transformations></cr:rule>`
}

func handling(h string) string { return "<pr:sub-handling>" + h + "</pr:sub-handling>" }
func identity(s string) string { return "<cr:identity>" + s + "</cr:identity>" }

func ruleset(t testing.TB, rules ...string) *presrules.Ruleset {
	t.Helper()
	s, err := presrules.Parse(parse(t, head+strings.Join(rules, "")+"</cr:ruleset>"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestIdentity(t *testing.T) {
	const bob, carol, dave = "sip:bob@example.com", "sip:carol@example.com", "sip:dave@example.net"
	for _, c := range []struct {
		name, condition string
		who             string // the three who match, in blanks
	}{
		{"one", identity(`<cr:one id="sip:bob@example.com"/>`), bob},
		{"one in other writing", identity(`<cr:one id=" SIP:%62ob@EXAMPLE.com "/>`), bob},
		{"two", identity(`<cr:one id="sip:bob@example.com"/><cr:one id="sip:dave@example.net"/>`), bob + " " + dave},
		{"tel", identity(`<cr:one id="tel:+15550100"/>`), ""},
		{"one with what is not known", identity(`<cr:one id="sip:bob@example.com"><x xmlns="urn:x"/></cr:one>`), ""},
		{"many", identity(`<cr:many/>`), bob + " " + carol + " " + dave}, // RFC 4745 §7.1.3.1
		{"domain", identity(`<cr:many domain="Example.com"/>`), bob + " " + carol},
		{"empty domain", identity(`<cr:many domain=""/>`), ""},
		{"except domain", identity(`<cr:many><cr:except domain="example.com"/></cr:many>`), dave}, // RFC 4745 §7.1.3.2
		{"except id", identity(`<cr:many><cr:except id="sip:bob@example.com"/></cr:many>`), carol + " " + dave},
		{"domain except id", identity(`<cr:many domain="example.com"><cr:except id="sip:bob@example.com"/></cr:many>`), carol}, // RFC 4745 §7.1.3.3
		{"many with what is not known", identity(`<cr:many><x xmlns="urn:x"/></cr:many>`), ""},
		{"empty", identity(""), bob + " " + carol + " " + dave},
		{"none", "", bob + " " + carol + " " + dave},
		{"condition not known", `<x xmlns="urn:x"/>`, ""}, // RFC 4745 §7
		{"extension of identity", identity(`<x xmlns="urn:x"/><cr:one id="sip:bob@example.com"/>`), bob},
		{"other", `<ocp:other-identity/>`, bob + " " + carol + " " + dave},
	} {
		s := ruleset(t, rule("a", c.condition, handling("allow"), ""))
		for _, who := range []string{bob, carol, dave} {
			p := s.Judge(aor(t, who), "", now, nil)
			if got, want := p.Handling == presrules.Allow, strings.Contains(c.who, who); got != want {
				t.Errorf("%s: %s %v", c.name, who, p.Handling)
			}
		}
	}
}

// TestCombining follows RFC 4745 §10.3: numbers by the greatest, sets by union.
func TestCombining(t *testing.T) {
	s := ruleset(t,
		rule("a", identity(`<cr:one id="sip:bob@example.com"/>`), handling("block"), `<pr:provide-user-input>bare</pr:provide-user-input>`),
		rule("b", identity(`<cr:many/>`), handling("allow"), `<pr:provide-persons><pr:class>home</pr:class></pr:provide-persons>`),
		rule("c", "", handling("confirm"), `<pr:provide-persons><pr:class>biz</pr:class></pr:provide-persons><pr:provide-user-input>thresholds</pr:provide-user-input><pr:provide-mood>false</pr:provide-mood>`))
	p := s.Judge(aor(t, "sip:bob@example.com"), "", now, nil)
	same := ruleset(t, rule("x", "", handling("allow"), `<pr:provide-persons><pr:class>biz</pr:class><pr:class>home</pr:class></pr:provide-persons><pr:provide-user-input>thresholds</pr:provide-user-input>`))
	q := same.Judge(aor(t, "sip:carol@example.com"), "", now, nil)
	if p.Handling != presrules.Allow || p.Class != q.Class || p.Rules != "a, b, c" {
		t.Errorf("%v %q %q %v", p.Handling, p.Class, q.Class, p.Rules)
	}
	if p := ruleset(t).Judge(aor(t, "sip:bob@example.com"), "", now, nil); p.Handling != presrules.Block || p.Class != presrules.Nothing {
		t.Error("without a rule", p.Handling, p.Class)
	}
}

const pidf = `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"` +
	` xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:f="urn:vendor-specific:foo-namespace" entity="sip:alice@example.com">`

const whole = pidf +
	`<tuple id="t1"><status><basic>open</basic><f:foo>1</f:foo></status><r:class>biz</r:class><dm:deviceID>urn:uuid:D27459B7-8213-4395-AA77-ED859A3E5B3A</dm:deviceID>` +
	`<r:relationship><r:self/></r:relationship><r:user-input idle-threshold="600" since="2026-05-01T10:00:00Z">idle</r:user-input><f:foo/><f:bar/>` +
	`<contact>sip:alice@example.com</contact><note>in tuple</note><timestamp>2026-05-01T11:00:00Z</timestamp></tuple>` +
	`<tuple id="t2"><status><basic>open</basic></status><contact>xmpp:alice@example.com</contact></tuple>` +
	`<note>of all</note>` +
	`<dm:person id="p1"><r:activities><r:meeting/></r:activities><r:mood><r:sad/></r:mood><dm:note>in person</dm:note></dm:person>` +
	`<dm:device id="d1"><r:class>biz</r:class><dm:deviceID>urn:uuid:d27459b7-8213-4395-aa77-ed859a3e5b3a</dm:deviceID></dm:device>` +
	`<f:top/></presence>`

func TestProvide(t *testing.T) {
	const t1 = `<tuple id="t1"><status><basic>open</basic>`
	const t1end = `<contact>sip:alice@example.com</contact>`
	const stamp = `<timestamp>2026-05-01T11:00:00Z</timestamp></tuple>`
	const t2 = `<tuple id="t2"><status><basic>open</basic></status><contact>xmpp:alice@example.com</contact></tuple>`
	const device = `<dm:device id="d1"><dm:deviceID>urn:uuid:d27459b7-8213-4395-aa77-ed859a3e5b3a</dm:deviceID></dm:device>`
	for _, c := range []struct{ grant, want string }{
		{ // RFC 5025 §6
			`<pr:provide-services><pr:service-uri-scheme>sip</pr:service-uri-scheme><pr:service-uri-scheme>mailto</pr:service-uri-scheme></pr:provide-services>` +
				`<pr:provide-persons><pr:all-persons/></pr:provide-persons><pr:provide-activities>true</pr:provide-activities><pr:provide-user-input>bare</pr:provide-user-input>` +
				`<pr:provide-unknown-attribute ns="urn:vendor-specific:foo-namespace" name="foo">true</pr:provide-unknown-attribute>`,
			t1 + `<f:foo>1</f:foo></status><r:user-input>idle</r:user-input><f:foo/>` + t1end + stamp +
				`<dm:person id="p1"><r:activities><r:meeting/></r:activities></dm:person>`,
		},
		{`<pr:provide-services><pr:service-uri>xmpp:alice@example.com</pr:service-uri></pr:provide-services>`, t2},
		{`<pr:provide-services><pr:service-uri>SIP:alice@EXAMPLE.com</pr:service-uri></pr:provide-services><pr:provide-user-input>thresholds</pr:provide-user-input>`,
			t1 + `</status><r:user-input idle-threshold="600">idle</r:user-input>` + t1end + stamp},
		{`<pr:provide-services><pr:occurrence-id>t2</pr:occurrence-id></pr:provide-services><pr:provide-note>true</pr:provide-note>`, t2},
		{`<pr:provide-services><pr:class>biz</pr:class></pr:provide-services><pr:provide-class>1</pr:provide-class><pr:provide-deviceID>true</pr:provide-deviceID>` +
			`<pr:provide-relationship>true</pr:provide-relationship><pr:provide-note>true</pr:provide-note>`,
			t1 + `</status><r:class>biz</r:class><dm:deviceID>urn:uuid:D27459B7-8213-4395-AA77-ED859A3E5B3A</dm:deviceID><r:relationship><r:self/></r:relationship>` +
				t1end + `<note>in tuple</note>` + stamp},
		{`<pr:provide-devices><pr:class>biz</pr:class></pr:provide-devices>`, device},
		{`<pr:provide-devices><pr:deviceID>URN:uuid:D27459b7-8213-4395-aa77-ed859a3e5b3a</pr:deviceID></pr:provide-devices>`, device},
		{`<pr:provide-persons><pr:all-persons/></pr:provide-persons><pr:provide-note>true</pr:provide-note><pr:provide-mood>true</pr:provide-mood>`,
			`<note>of all</note><dm:person id="p1"><r:mood><r:sad/></r:mood><dm:note>in person</dm:note></dm:person>`},
		{`<pr:provide-persons><pr:occurrence-id>p1</pr:occurrence-id></pr:provide-persons><pr:provide-all-attributes/>`,
			`<dm:person id="p1"><r:activities><r:meeting/></r:activities><r:mood><r:sad/></r:mood><dm:note>in person</dm:note></dm:person>`},
		{`<pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-persons><pr:all-persons/></pr:provide-persons>` +
			`<pr:provide-devices><pr:all-devices/></pr:provide-devices><pr:provide-all-attributes/>`,
			strings.TrimSuffix(strings.TrimPrefix(whole, pidf), "</presence>")},
	} {
		p := ruleset(t, rule("a", "", handling("allow"), c.grant)).Judge(aor(t, "sip:bob@example.com"), "", now, nil)
		got := presrules.Transform(p.Class, parse(t, whole))
		if want := parse(t, pidf+c.want+"</presence>"); !got.Equal(want) {
			t.Errorf("%s\nclass %s\ngot  %s\nwant %s", c.grant, p.Class, got, want)
			continue
		}
		if again := presrules.Transform(p.Class, got.Clone()); !strings.Contains(p.Class, "class") && !again.Equal(got) { // RFC 5025 §4
			t.Errorf("again: %s", again)
		}
	}
	for _, class := range []string{presrules.Nothing, "unknown", "rules?%zz"} {
		if presrules.Transform(class, parse(t, whole)) != nil {
			t.Errorf("class %q sees something", class)
		}
	}
}

// TestOMA: who is named is not judged by lists, and who is in a list not as other.
func TestOMA(t *testing.T) {
	s := ruleset(t,
		rule("granted", `<ocp:external-list><ocp:entry anc="friends"/></ocp:external-list>`, handling("allow"), ""),
		rule("blocked", identity(`<cr:one id="sip:mallory@example.com"/>`), handling("block"), ""),
		rule("all", "", "", "<pr:provide-mood>true</pr:provide-mood>"),
		rule("unlisted", `<ocp:other-identity/>`, handling("confirm"), ""))
	for who, want := range map[string]string{"bob": "granted, all", "mallory": "blocked, all", "carol": "all, unlisted"} {
		inList := func(anchor string) bool { return anchor == "friends" && who != "carol" }
		if a := s.Judge(aor(t, "sip:"+who+"@example.com"), "", now, inList); a.Rules != want {
			t.Errorf("%s: %v by %q, want %q", who, a.Handling, a.Rules, want)
		}
	}
	if a := s.Judge(aor(t, "sip:bob@example.com"), "", now, nil); a.Rules != "all, unlisted" {
		t.Errorf("without lists: %+v", a)
	}
}

// TestLexicalForms: what a schema takes is understood.
func TestLexicalForms(t *testing.T) {
	s := ruleset(t, rule("a", `<cr:validity><cr:from> 2026-05-01T10:00:00 </cr:from><cr:until>
		2026-05-01T15:00:00+02:00</cr:until></cr:validity>`+identity(`<cr:one id=" pres:bob@example.com "/>`),
		"<pr:sub-handling>\n  allow\n</pr:sub-handling>", "<pr:provide-persons><pr:all-persons/></pr:provide-persons><pr:provide-mood> 1 </pr:provide-mood>"))
	a := s.Judge(aor(t, "sip:bob@example.com"), "", now, nil)
	if a.Handling != presrules.Allow || !strings.Contains(a.Class, "mood") || !a.Until.Equal(now.Add(time.Hour)) {
		t.Errorf("%+v", a)
	}
}

func TestClass(t *testing.T) {
	class := func(h, grant string) string {
		p := ruleset(t, rule("a", "", handling(h), grant)).Judge(aor(t, "sip:bob@example.com"), "", now, nil)
		return p.Class
	}
	const everything = `<pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-persons><pr:all-persons/></pr:provide-persons>` +
		`<pr:provide-devices><pr:all-devices/></pr:provide-devices><pr:provide-all-attributes/>`
	for _, c := range []struct{ handling, grant, want string }{
		{"allow", everything, ""},
		{"polite-block", everything, presrules.Nothing},
		{"confirm", everything, presrules.Nothing},
		{"block", everything, presrules.Nothing},
	} {
		if got := class(c.handling, c.grant); got != c.want {
			t.Errorf("%s %s: %q", c.handling, c.grant, got)
		}
	}
	persons := func(s string) string { return "<pr:provide-persons>" + s + "</pr:provide-persons>" }
	a := class("allow", persons(`<pr:class>a</pr:class><pr:class>b</pr:class>`)+"<pr:provide-mood>true</pr:provide-mood><pr:provide-note>1</pr:provide-note>")
	b := class("allow", "<pr:provide-note>true</pr:provide-note><pr:provide-mood>1</pr:provide-mood><pr:provide-class>false</pr:provide-class>"+persons(`<pr:class> b </pr:class><pr:class>a</pr:class><pr:class>a</pr:class>`))
	if a != b {
		t.Errorf("%q and %q show the same", a, b)
	}
	// What a permission of its own is about is not unknown (RFC 5025 §3.3.2.14).
	x := class("allow", persons(`<pr:all-persons/>`)+`<pr:provide-unknown-attribute ns="urn:ietf:params:xml:ns:pidf:rpid" name="mood">true</pr:provide-unknown-attribute>`)
	if y := class("allow", persons(`<pr:all-persons/>`)); x != y {
		t.Errorf("%q is not %q", x, y)
	}
}
