package xmltree

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func ops(t *testing.T, s string) []*Element {
	t.Helper()
	return slices.Collect(parse(t, `<diff xmlns:p="u:p" xmlns:d="u:d">`+s+`</diff>`).Elements())
}

func TestPatch(t *testing.T) {
	const doc = `<doc><note>one</note>
  <foo id="a"/><foo id="b"><child>v</child></foo><!-- c --><?pi x?></doc>`
	for _, c := range []struct{ op, want string }{
		{`<add sel="doc"><x id="1">t</x></add>`, `<doc><note>one</note>
  <foo id="a"/><foo id="b"><child>v</child></foo><!-- c --><?pi x?><x id="1">t</x></doc>`},
		{`<add sel="doc/foo[@id='a']" type="@user">Bob</add>`, `<doc><note>one</note>
  <foo id="a" user="Bob"/><foo id="b"><child>v</child></foo><!-- c --><?pi x?></doc>`},
		{`<add sel="/doc" type="namespace::pref">urn:x</add>`, `<doc xmlns:pref="urn:x"><note>one</note>
  <foo id="a"/><foo id="b"><child>v</child></foo><!-- c --><?pi x?></doc>`},
		{`<add sel="doc" pos="prepend"><y/></add>`, `<doc><y/><note>one</note>
  <foo id="a"/><foo id="b"><child>v</child></foo><!-- c --><?pi x?></doc>`},
		{`<add sel="doc/foo[child='v']" pos="before"><y/></add>`, `<doc><note>one</note>
  <foo id="a"/><y/><foo id="b"><child>v</child></foo><!-- c --><?pi x?></doc>`},
		{`<add sel="*/foo[1]" pos="after"><y/></add>`, `<doc><note>one</note>
  <foo id="a"/><y/><foo id="b"><child>v</child></foo><!-- c --><?pi x?></doc>`},
		{`<replace sel="doc/*[3]"><z/></replace>`, `<doc><note>one</note>
  <foo id="a"/><z/><!-- c --><?pi x?></doc>`},
		{`<replace sel="doc/foo[2]/@id">"</replace>`, `<doc><note>one</note>
  <foo id="a"/><foo id="&quot;"><child>v</child></foo><!-- c --><?pi x?></doc>`},
		{`<replace sel="doc/note/text()">two</replace>`, `<doc><note>two</note>
  <foo id="a"/><foo id="b"><child>v</child></foo><!-- c --><?pi x?></doc>`},
		{`<replace sel="doc/note[.='one']/text()[1]"/>`, `<doc><note/>
  <foo id="a"/><foo id="b"><child>v</child></foo><!-- c --><?pi x?></doc>`},
		{`<replace sel="doc/comment()"><!-- d --></replace>`, `<doc><note>one</note>
  <foo id="a"/><foo id="b"><child>v</child></foo><!-- d --><?pi x?></doc>`},
		{`<replace sel="doc/processing-instruction('pi')"><?pi y?></replace>`, `<doc><note>one</note>
  <foo id="a"/><foo id="b"><child>v</child></foo><!-- c --><?pi y?></doc>`},
		{`<remove sel="doc/foo[1]" ws="before"/>`, `<doc><note>one</note><foo id="b"><child>v</child></foo><!-- c --><?pi x?></doc>`},
		{`<remove sel="doc/comment()[1]"/><remove sel="doc/processing-instruction()"/><remove sel="doc/foo[2]/@id"/>`, `<doc><note>one</note>
  <foo id="a"/><foo><child>v</child></foo></doc>`},
		{`<remove sel="doc/note"/><remove sel="doc/text()[1]"/>`, `<doc><foo id="a"/><foo id="b"><child>v</child></foo><!-- c --><?pi x?></doc>`},
		{`<replace sel="doc"><d:doc/></replace><add sel="d:doc" type="@p:x">1</add>`, `<d:doc p:x="1" xmlns:d="u:d" xmlns:p="u:p"/>`},
	} {
		root := parse(t, doc)
		got, err := Patch(root, ops(t, c.op), Limits{})
		if err != nil {
			t.Errorf("%s: %v", c.op, err)
			continue
		}
		if got.String() != c.want {
			t.Errorf("%s gives\n%s, want\n%s", c.op, got, c.want)
		}
		if root.String() != doc {
			t.Errorf("%s changed the document", c.op)
		}
	}
}

func TestPatchNamespaces(t *testing.T) {
	root := parse(t, `<a xmlns="u:d" xmlns:q="u:p"><q:b q:x="1"><c/></q:b></a>`)
	got, err := Patch(root, ops(t, `<add sel="d:a/p:b/d:c"><d:e p:y="2"/></add><replace sel="d:a/namespace::q">u:n</replace>
		<remove sel="*/*/*/*"/>`), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != `<a xmlns="u:d" xmlns:q="u:n"><q:b q:x="1"><c/></q:b></a>` {
		t.Error(got)
	}
	if _, err = Patch(got, slices.Collect(parse(t, `<x xmlns="u:d"><remove sel="a/namespace::q"/></x>`).Elements()), Limits{}); err != nil {
		t.Error(err) // a name without prefix is in the default namespace of the patch
	}
}

// TestPatchPrefixes has the examples of RFC 5261 §4.2.3.
func TestPatchPrefixes(t *testing.T) {
	for _, c := range []struct{ doc, op, want string }{
		{`<r xmlns:b="foo:"/>`, `<add sel="r" xmlns:a="foo:"><a:bar/></add>`, `<r xmlns:b="foo:"><b:bar/></r>`},
		{`<r xmlns:a="foo:" xmlns:b="foo:"/>`, `<add sel="r" xmlns:b="foo:"><b:bar/></add>`, `<r xmlns:a="foo:" xmlns:b="foo:"><b:bar/></r>`},
		{`<y:r xmlns:x="foo:" xmlns:y="foo:"/>`, `<add sel="*" xmlns:x2="foo:"><x2:bar/></add>`, `<y:r xmlns:x="foo:" xmlns:y="foo:"><y:bar/></y:r>`},
		{`<r xmlns:x="foo:" xmlns:y="foo:"/>`, `<add sel="r" xmlns:xx="foo:"><xx:bar xx:z="1"/></add>`, `<r xmlns:x="foo:" xmlns:y="foo:"><x:bar x:z="1"/></r>`},
		{`<r xmlns:x="foo:" xmlns:y="foo:"/>`, `<add sel="r" xmlns:a="foo:"><a:bar/></add>`, `<r xmlns:x="foo:" xmlns:y="foo:"><x:bar/></r>`},
		{`<r/>`, `<add sel="r" xmlns:a="foo:"><a:bar><a:c/></a:bar></add>`, `<r><a:bar xmlns:a="foo:"><a:c/></a:bar></r>`},
		{`<r/>`, `<add sel="r"><a:bar xmlns:a="foo:"/></add>`, `<r><a:bar xmlns:a="foo:"/></r>`},
	} {
		got, err := Patch(parse(t, c.doc), ops(t, c.op), Limits{})
		if err != nil || got.String() != c.want {
			t.Errorf("%s in %s gives %s, want %s (%v)", c.op, c.doc, got, c.want, err)
		}
	}
}

func TestPatchFaults(t *testing.T) {
	root := parse(t, `<doc x="1"><a/><a/>t<b>u</b></doc>`)
	for op, want := range map[string]string{
		`<add sel="doc/c"/>`: "unlocated-node", `<add sel="doc/a"/>`: "unlocated-node", `<remove sel="doc/@y"/>`: "unlocated-node",
		`<remove sel="doc/a[3]"/>`: "unlocated-node", `<replace sel="doc/namespace::q">u</replace>`: "unlocated-node",
		`<remove sel="doc/comment()"/>`: "unlocated-node",
		`<add sel="id('x')"/>`:          "unsupported-id-function", `<add sel="q:doc"/>`: "invalid-namespace-prefix",
		`<add sel="doc" type="@x">2</add>`: "invalid-patch-directive", `<add sel="doc" pos="over"/>`: "invalid-patch-directive",
		`<add/>`: "invalid-patch-directive", `<add sel=""/>`: "invalid-patch-directive", `<move sel="doc"/>`: "invalid-patch-directive",
		`<add sel="doc//a"/>`: "invalid-patch-directive", `<add sel="doc/a[0]"/>`: "invalid-patch-directive", `<add sel="doc/a[x]"/>`: "invalid-patch-directive",
		`<add sel="@x"/>`: "invalid-patch-directive", `<add sel="doc/a[1"/>`: "invalid-patch-directive",
		`<remove sel="doc"/>`: "invalid-root-element-operation", `<add sel="doc" pos="after"><e/></add>`: "invalid-root-element-operation",
		`<add sel="doc" pos="before"><!-- c --></add>`: "invalid-xml-prolog-operation",
		`<remove sel="doc/a[1]" ws="both"/>`:           "invalid-whitespace-directive", `<remove sel="doc/a[1]" ws="x"/>`: "invalid-whitespace-directive",
		`<replace sel="doc/a[1]">t</replace>`: "invalid-node-types", `<replace sel="doc/a[1]"><e/><e/></replace>`: "invalid-node-types",
		`<replace sel="doc/@x"><e/></replace>`: "invalid-node-types", `<add sel="doc" type="namespace::x"/>`: "invalid-namespace-uri",
		`<add sel="doc" type="namespace::xml">u</add>`: "invalid-namespace-prefix",
	} {
		got, err := Patch(root, ops(t, `<add sel="doc"><ok/></add>`+op), Limits{})
		var fault *PatchError
		if got != nil || !errors.As(err, &fault) || fault.Condition != want || fault.Op != 1 {
			t.Errorf("%s: %v, want %s", op, err, want)
		}
	}
	if root.Child("", "ok") != nil {
		t.Error("half applied")
	}
	if _, err := Patch(root, ops(t, `<add sel="doc"><c/><c/><c/></add>`), Limits{Elements: 6}); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
}

// random grows a document of few names, so that two are often alike.
func random(r *rand.Rand, depth int) *Element {
	e := New([]string{"u:a", "u:b", ""}[r.IntN(3)], []string{"a", "b", ""}[r.IntN(3)], string(rune('k'+r.IntN(2))))
	for range r.IntN(3) {
		e.SetAttr("", []string{"id", "x", "y"}[r.IntN(3)], fmt.Sprint(r.IntN(4)))
	}
	if r.IntN(8) == 0 {
		e.SetAttr("u:z", "x", fmt.Sprint(r.IntN(2)))
	}
	for range r.IntN(6) {
		switch {
		case depth > 0 && r.IntN(4) > 0:
			e.Append(random(r, depth-1))
		case r.IntN(3) == 0:
			e.Append(Text([]string{"t", "\n  ", "<"}[r.IntN(3)]))
		case r.IntN(10) == 0:
			e.Append(Comment("c"))
		}
	}
	return e
}

// mutate changes a few places.
func mutate(r *rand.Rand, root *Element) {
	all := slices.Collect(root.All())
	for range 1 + r.IntN(3) {
		e := all[r.IntN(len(all))]
		switch r.IntN(5) {
		case 0:
			e.SetAttr("", "x", fmt.Sprint(r.IntN(9)))
		case 1:
			e.InsertAt(r.IntN(len(e.Nodes)+1), random(r, 1))
		case 2:
			if len(e.Nodes) > 0 {
				e.RemoveAt(r.IntN(len(e.Nodes)))
			}
		case 3:
			e.RemoveAttr("", "y")
		case 4:
			if !hasElements(e) {
				e.SetText([]string{"", " ", "other"}[r.IntN(3)])
			}
		}
	}
}

// TestDiff: what Diff makes turns one document into the other, also after both
// were written and read.
func TestDiff(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		a := random(r, 3)
		b := a.Clone()
		if mutate(r, b); i%5 == 0 {
			b = random(r, 3)
		}
		a, b = parse(t, a.String()), parse(t, b.String())
		envelope := New("urn:diff", "", "diff")
		for _, op := range Diff(a, b, "urn:diff") {
			envelope.Append(op)
		}
		envelope = parse(t, envelope.String())
		got, err := Patch(a, slices.Collect(envelope.Elements()), Limits{})
		if err != nil {
			t.Fatalf("%v\n%s\n%s\n%s", err, a, b, envelope)
		}
		if !got.EqualIgnoringSpace(b) {
			t.Fatalf("\n%s to\n%s by\n%s gives\n%s", a, b, envelope, got)
		}
		if len(Diff(a, a, "")) != 0 {
			t.Fatal("a document differs from itself")
		}
	}
}

// TestDiffSmall: one change makes one operation.
func TestDiffSmall(t *testing.T) {
	a := parse(t, `<l><e uri="1"/><e uri="2"><n>x</n></e><e uri="3"/></l>`)
	for _, c := range []struct{ to, want string }{
		{`<l><e uri="2"><n>x</n></e><e uri="3"/></l>`, `<remove sel="/*/*[1]"/>`},
		{`<l><e uri="1"/><e uri="2"><n>y</n></e><e uri="3"/></l>`, `<replace sel="/*/*[2]/*[1]/text()">y</replace>`},
		{`<l><e uri="1"/><e uri="2"><n>x</n></e><e uri="3"/><e uri="4"/></l>`, `<add sel="/*"><e uri="4"/></add>`},
		{`<l><e uri="1"/><e uri="9"/><e uri="2"><n>x</n></e><e uri="3"/></l>`, `<add sel="/*/*[1]" pos="after"><e uri="9"/></add>`},
		{`<l><e uri="1"/><e uri="9"/><e uri="3"/></l>`, `<replace sel="/*/*[2]"><e uri="9"/></replace>`},
		{`<l v="1"><e uri="1"/><e uri="2"><n>x</n></e><e uri="3"/></l>`, `<add sel="/*" type="@v">1</add>`},
	} {
		ops := Diff(a, parse(t, c.to), "")
		if len(ops) != 1 || ops[0].String() != c.want {
			t.Errorf("to %s: %v, want %s", c.to, ops, c.want)
		}
	}
}

func FuzzPatch(f *testing.F) {
	f.Add("<doc><a x='1'/>t</doc>", "<d><add sel='doc/a[1]' pos='after'><b/></add><remove sel='doc/text()[1]'/></d>")
	f.Add("<doc xmlns:p='u'><p:a/></doc>", "<d xmlns:q='u'><replace sel='doc/namespace::p'>v</replace><add sel='doc/q:a' type='@q:x'>1</add></d>")
	f.Fuzz(func(t *testing.T, doc, patch string) {
		root, err := Parse([]byte(doc), Limits{})
		if err != nil {
			return
		}
		d, err := Parse([]byte(patch), Limits{})
		if err != nil {
			return
		}
		before := root.String()
		got, err := Patch(root, slices.Collect(d.Elements()), Limits{})
		if root.String() != before {
			t.Fatal("the document was changed")
		}
		if err != nil {
			return
		}
		again, err := Parse(got.AppendTo(nil), Limits{Bytes: 1 << 22, Attributes: 1000})
		if err != nil || !again.Equal(got) {
			t.Fatalf("%q patched by %q gives %q: %v", doc, patch, got, err)
		}
	})
}
