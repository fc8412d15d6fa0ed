package presrules_test

import (
	"strings"
	"testing"
	"time"

	"rollcall/policy/presrules"
	"rollcall/sip"
	"rollcall/xmltree"
)

func parse(t testing.TB, s string) *xmltree.Element {
	t.Helper()
	e, err := xmltree.Parse([]byte(s), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func aor(t testing.TB, s string) sip.AOR {
	t.Helper()
	a, err := sip.ParseAORString(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const document = `<cr:ruleset xmlns="urn:ietf:params:xml:ns:pres-rules" xmlns:cr="urn:ietf:params:xml:ns:common-policy">
<cr:rule id="friends"><cr:conditions><cr:identity><cr:one id="sip:alice@example.com"/><cr:one id="pres:dave@example.com"/></cr:identity></cr:conditions>
 <cr:actions><sub-handling>allow</sub-handling></cr:actions>
 <cr:transformations><provide-services><service-uri-scheme>sip</service-uri-scheme></provide-services>
  <provide-persons><all-persons/></provide-persons><provide-activities>true</provide-activities><provide-user-input>bare</provide-user-input>
  <provide-unknown-attribute ns="urn:example:x" name="foo">true</provide-unknown-attribute></cr:transformations></cr:rule>
<cr:rule id="notes"><cr:conditions><cr:identity><cr:one id="sip:alice@example.com"/></cr:identity></cr:conditions>
 <cr:transformations><provide-note>true</provide-note></cr:transformations></cr:rule>
<cr:rule id="company"><cr:conditions><cr:identity><cr:many domain="example.com"><cr:except id="sip:mallory@example.com"/></cr:many></cr:identity></cr:conditions>
 <cr:actions><sub-handling>confirm</sub-handling></cr:actions></cr:rule>
<cr:rule id="polite"><cr:conditions><cr:identity><cr:many><cr:except domain="example.com"/></cr:many></cr:identity>
 <cr:validity><cr:from>2026-01-01T00:00:00Z</cr:from><cr:until>2027-01-01T00:00:00Z</cr:until></cr:validity></cr:conditions>
 <cr:actions><sub-handling>polite-block</sub-handling></cr:actions></cr:rule>
<cr:rule id="home"><cr:conditions><cr:sphere value="home"/></cr:conditions><cr:actions><sub-handling>allow</sub-handling></cr:actions></cr:rule>
<cr:rule id="later"><cr:conditions><x:moon xmlns:x="urn:x"/></cr:conditions><cr:actions><sub-handling>allow</sub-handling></cr:actions></cr:rule>
</cr:ruleset>`

func TestJudge(t *testing.T) {
	r, err := presrules.Parse(parse(t, document))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		watcher, sphere string
		now             time.Time
		want            presrules.Handling
		rules           string
	}{
		{"sip:alice@example.com", "", now, presrules.Allow, "friends, notes, company"},
		{"sip:dave@example.com", "", now, presrules.Allow, "friends, company"},
		{"sip:carol@example.com", "", now, presrules.Confirm, "company"},
		{"sip:mallory@example.com", "", now, presrules.Block, ""},
		{"sip:mallory@example.com", "home", now, presrules.Allow, "home"},
		{"sip:eve@example.net", "", now, presrules.PoliteBlock, "polite"},
		{"sip:eve@example.net", "", now.AddDate(1, 0, 0), presrules.Block, ""},
	} {
		a := r.Judge(aor(t, c.watcher), c.sphere, c.now, nil)
		if a.Handling != c.want || a.Rules != c.rules {
			t.Errorf("%s: %s by %q, want %s by %q", c.watcher, a.Handling, a.Rules, c.want, c.rules)
		}
	}
	if a := r.Judge(aor(t, "sip:eve@example.net"), "", now, nil); a.Until.Year() != 2027 {
		t.Errorf("until %s", a.Until)
	}
}

func TestTransform(t *testing.T) {
	r, err := presrules.Parse(parse(t, document))
	if err != nil {
		t.Fatal(err)
	}
	doc := `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:bob@example.com">
<tuple id="a"><status><basic>open</basic><secret xmlns="urn:s"/></status><foo xmlns="urn:example:x"/><bar xmlns="urn:example:x"/><contact>sip:bob@example.com</contact><note>private</note></tuple>
<tuple id="b"><status><basic>open</basic></status><contact>tel:1</contact></tuple>
<dm:person id="p"><r:activities><r:busy/></r:activities><r:mood/><r:user-input idle-threshold="600" last-input="2026-01-01T00:00:00Z">idle</r:user-input><dm:note>hi</dm:note></dm:person>
<dm:device id="d"><dm:deviceID>x</dm:deviceID></dm:device><note>whole</note></presence>`
	now := time.Now()
	seen := func(watcher string) string {
		return string(presrules.Transform(r.Judge(aor(t, watcher), "", now, nil).Class, parse(t, doc)).AppendTo(nil))
	}
	alice, dave := seen("sip:alice@example.com"), seen("sip:dave@example.com")
	for _, c := range []struct {
		text        string
		alice, dave bool
	}{
		{"<basic>open", true, true}, {"secret", false, false}, {"foo", true, true}, {"<bar", false, false}, {"private", true, false},
		{"tel:1", false, false}, {"busy", true, true}, {"mood", false, false}, {"user-input", true, true}, {"idle-threshold", false, false},
		{">hi<", true, false}, {"deviceID", false, false}, {"whole", true, false},
	} {
		if strings.Contains(alice, c.text) != c.alice || strings.Contains(dave, c.text) != c.dave {
			t.Errorf("%s: want alice %t, dave %t:\n%s\n%s", c.text, c.alice, c.dave, alice, dave)
		}
	}
	if presrules.Transform("rules\n", parse(t, doc)) != nil {
		t.Error("no permission shows something")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(document))
	watcher := aor(f, "sip:alice@example.com")
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := xmltree.Parse(b, xmltree.Limits{})
		if err != nil {
			return
		}
		if r, err := presrules.Parse(e); err == nil {
			a := r.Judge(watcher, "", time.Unix(0, 0), func(string) bool { return true })
			presrules.Transform(a.Class, e)
		}
	})
}
