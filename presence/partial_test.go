package presence_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"rollcall/event"
	"rollcall/presence"
	"rollcall/xmltree"
)

const diffHead = `<p:pidf-diff xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff"` +
	` xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" entity="sip:alice@example.com">`

func number(t *testing.T, b event.Body, digit string) string {
	t.Helper()
	if b.Bytes[b.Version] != '0' || !bytes.HasSuffix(b.Bytes[:b.Version], []byte(` version="`)) {
		t.Fatalf("version is not at %d of\n%s", b.Version, b.Bytes)
	}
	return string(b.Bytes[:b.Version]) + digit + string(b.Bytes[b.Version+1:])
}

func parse(t *testing.T, text string) *xmltree.Element {
	t.Helper()
	e, err := xmltree.Parse([]byte(text), xmltree.Limits{})
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return e
}

// TestPartialNotification: a watcher that applies each pidf-diff has what the
// server has.
func TestPartialNotification(t *testing.T) {
	d := newDesk(t, presence.Options{})
	view := event.View{Type: presence.TypeDiff}
	last := d.body(view)
	if full, ok := d.p.Full(presence.TypeDiff); last.Type != presence.TypeDiff || !ok || full != presence.TypeDiff {
		t.Fatal(last.Type, full, ok)
	}
	local := parse(t, number(t, last, "1"))
	if !local.Is(presence.SpaceDiff, "pidf-full") {
		t.Fatal(local)
	}
	diffs := 0
	for _, client := range []string{"libpurple", "linphone", "pjsua", "baresip"} {
		d.publish(published(t, client))
		for lost := range 2 {
			d.pubs[len(d.pubs)-1].Lost = lost == 1
			next := d.body(view)
			diff, ok := d.p.Diff(last, next, presence.TypeDiff)
			if !ok {
				local = parse(t, string(next.Bytes))
			} else {
				diffs++
				root := parse(t, number(t, diff, "2"))
				if entity, _ := root.Attr("", "entity"); !root.Is(presence.SpaceDiff, "pidf-diff") || entity != "sip:alice@example.com" {
					t.Fatal(root)
				}
				patched, err := xmltree.Patch(local, slices.Collect(root.Elements()), xmltree.Limits{})
				if err != nil {
					t.Fatalf("%v of\n%s", err, root)
				}
				local = patched
			}
			want := parse(t, string(next.Bytes))
			local.SetAttr("", "version", "0")
			if !local.EqualIgnoringSpace(want) {
				t.Fatalf("after %s the watcher has\n%s\nwant\n%s", diff.Bytes, local, want)
			}
			last = next
		}
	}
	if diffs < 4 {
		t.Error("only", diffs, "diffs")
	}
	if _, ok := d.p.Diff(d.body(event.View{}), last, presence.TypeDiff); ok {
		t.Error("a diff of what was no pidf-full")
	}
}

func TestPartialPublication(t *testing.T) {
	d := newDesk(t, presence.Options{})
	full := strings.NewReplacer("<presence ", `<p:pidf-full version="7" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" `, "</presence>", "</p:pidf-full>").
		Replace(doc(`<tuple id="r1230d"><status><basic>closed</basic></status></tuple>`))
	parsed, typ, body, err := d.p.Parse(alice(t), presence.TypeDiff, []byte(full), nil)
	if err != nil || typ != presence.TypePIDF {
		t.Fatal(typ, err)
	}
	pub := d.publish(string(body))
	pub.Parsed = parsed
	d.sees(tuple("r1230d", "closed", ""))

	change := diffHead + `<p:replace sel="presence/tuple[@id='r1230d']/status/basic/text()">open</p:replace>` +
		`<p:add sel="presence"><dm:person id="p"><dm:note>hello</dm:note></dm:person></p:add></p:pidf-diff>`
	parsed, typ, body, err = d.p.Parse(alice(t), presence.TypeDiff, []byte(change), pub)
	if err != nil || typ != presence.TypePIDF {
		t.Fatal(typ, err)
	}
	if before := pub.Parsed.(*presence.Document); strings.Contains(before.Root.String(), "hello") {
		t.Error("the publication was changed in place")
	}
	again, err := presence.ParseDocument(alice(t), body)
	if err != nil || !again.Root.EqualIgnoringSpace(parsed.(*presence.Document).Root) {
		t.Error("what is stored is not what was read:", err)
	}
	pub.Parsed = parsed
	d.sees(tuple("r1230d", "open", "<note>hello</note>") + `<dm:person id="person"><dm:note>hello</dm:note></dm:person>`)

	for _, c := range []struct {
		doc  string
		old  *event.Publication
		want string
	}{
		{change, nil, "400 Invalid Partial Publication"},
		{strings.Replace(change, "r1230d", "other", 1), pub, "unlocated-node"},
		{strings.Replace(change, "sip:alice@", "sip:bob@", 1), pub, "entity"},
		{diffHead + `<p:remove sel="*/*[1]/*[1]"/></p:pidf-diff>`, pub, "0 status"},
		{doc(""), pub, "neither pidf-full nor pidf-diff"},
		{"<", pub, "xml line"},
		{diffHead + `<p:add sel="*">` + strings.Repeat("<note>"+strings.Repeat("a", 600)+"</note>", 105) + `</p:add></p:pidf-diff>`, pub, "more than 100"},
	} {
		if _, _, _, err := d.p.Parse(alice(t), presence.TypeDiff, []byte(c.doc), c.old); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.200s: %v, want %q", c.doc, err, c.want)
		}
	}
}

// TestPartialExample is the example of RFC 5262 §6, with alice as someone.
func TestPartialExample(t *testing.T) {
	const spaces = `xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid"
		xmlns:ci="urn:ietf:params:xml:ns:pidf:cipid" xmlns:c="urn:ietf:params:xml:ns:pidf:caps" xmlns:d="urn:ietf:params:xml:ns:pidf:data-model" entity="pres:alice@example.com"`
	const full = `<?xml version="1.0" encoding="UTF-8"?>
	<p:pidf-full ` + spaces + ` version="567">
	 <tuple id="sg89ae"><status><basic>open</basic></status><c:servcaps><c:audio>true</c:audio><c:message>true</c:message><c:video>false</c:video></c:servcaps>
	  <contact priority="0.8">tel:09012345678</contact></tuple>
	 <tuple id="cg231jcr"><status><basic>open</basic></status><contact priority="1.0">im:pep@example.com</contact></tuple>
	 <tuple id="r1230d"><status><basic>closed</basic></status><ci:homepage>http://example.com/~pep/</ci:homepage>
	  <ci:icon>http://example.com/~pep/icon.gif</ci:icon><ci:card>http://example.com/~pep/card.vcd</ci:card><contact priority="0.9">sip:pep@example.com</contact></tuple>
	 <note xml:lang="en">Full state presence document</note>
	 <d:person id="p123"><r:activities>
	   <r:on-the-phone/>
	   <r:busy/>
	 </r:activities></d:person>
	 <d:device id="u600b40c7"><c:devcaps><c:mobility><c:supported><c:mobile/></c:supported></c:mobility></c:devcaps><d:deviceID>urn:esn:600b40c7</d:deviceID></d:device>
	</p:pidf-full>`
	const diff = `<p:pidf-diff ` + spaces + ` version="568">
	 <p:add sel="presence/note" pos="before"><tuple id="ert4773"><status><basic>open</basic></status><contact priority="0.4">mailto:pep@example.com</contact>
	  <note xml:lang="en">A new tuple</note></tuple></p:add>
	 <p:replace sel="*/tuple[@id='r1230d']/status/basic/text()">open</p:replace>
	 <p:remove sel="*/d:person/r:activities/r:busy" ws="after"/>
	 <p:replace sel="*/tuple[@id='cg231jcr']/contact/@priority">0.7</p:replace>
	</p:pidf-diff>`
	d := newDesk(t, presence.Options{})
	_, _, body, err := d.p.Parse(alice(t), presence.TypeDiff, []byte(full), nil)
	if err != nil {
		t.Fatal(err)
	}
	pub := d.publish(string(body))
	if pub.Parsed, _, _, err = d.p.Parse(alice(t), presence.TypeDiff, []byte(diff), pub); err != nil {
		t.Fatal(err)
	}
	text := string(d.body(event.View{}).Bytes)
	for _, want := range []string{`<contact priority="0.7">im:pep@example.com</contact>`, `<caps:servcaps><caps:audio>true</caps:audio>`,
		`<tuple id="ert4773"><status><basic>open</basic></status><contact priority="0.4">mailto:pep@example.com</contact><note xml:lang="en">A new tuple</note></tuple>`,
		`<tuple id="r1230d"><status><basic>open</basic></status><cipid:homepage>http://example.com/~pep/</cipid:homepage>`, `<contact priority="0.9">sip:alice@example.com</contact>`,
		`<note xml:lang="en">Full state presence document</note>`, `<rpid:activities><rpid:on-the-phone/></rpid:activities>`,
		`<dm:device id="u600b40c7"><caps:devcaps><caps:mobility><caps:supported><caps:mobile/></caps:supported></caps:mobility></caps:devcaps><dm:deviceID>urn:esn:600b40c7</dm:deviceID></dm:device>`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
