package xmltree

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

const pidf = `<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
  xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:alice@example.com">
  <tuple id="t1">
    <status><basic>open</basic></status>
    <contact priority="0.8">sip:alice@192.0.2.7</contact>
    <note xml:lang="en">Tea &amp; <![CDATA[<cake>]]></note>
    <timestamp>2026-01-02T10:00:00Z</timestamp>
  </tuple>
  <dm:person id="p1">
    <rpid:activities><rpid:on-the-phone/></rpid:activities>
    <dm:note>busy</dm:note>
  </dm:person>
</presence>
`

func parse(t *testing.T, s string) *Element {
	t.Helper()
	e, err := Parse([]byte(s), Limits{})
	if err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	return e
}

func TestParse(t *testing.T) {
	const dm = "urn:ietf:params:xml:ns:pidf:data-model"
	root := parse(t, "\uFEFF"+pidf)
	if !root.Is("urn:ietf:params:xml:ns:pidf", "presence") {
		t.Error(root.Name)
	}
	if v, _ := root.Attr("", "entity"); v != "sip:alice@example.com" {
		t.Error(v)
	}
	note := root.Child("urn:ietf:params:xml:ns:pidf", "tuple").Child("urn:ietf:params:xml:ns:pidf", "note")
	if note.Text() != "Tea & <cake>" {
		t.Errorf("%q", note.Text())
	}
	if v, _ := note.Attr(XMLSpace, "lang"); v != "en" {
		t.Error(v)
	}
	person := root.Child(dm, "person")
	if p, ok := person.LookupPrefix(dm); p != "dm" || !ok {
		t.Error(p, ok)
	}
	if person.Root() != root || person.Child(dm, "note").Text() != "busy" {
		t.Error("tree")
	}
	again := parse(t, root.String())
	if !again.Equal(root) {
		t.Errorf("written: %s", root)
	}
}

func TestValues(t *testing.T) {
	for in, want := range map[string]string{
		"<a>x&#65;&#x42;&lt;&gt;&quot;&apos;</a>":                    `xAB<>"'`,
		"<a>one\r\ntwo\rthree</a>":                                   "one\ntwo\nthree",
		"<a>&#13;\n</a>":                                             "\r\n",
		"<a><![CDATA[]]]]><![CDATA[>]]></a>":                         "]]>",
		"<a>a<!-- c -->b<?p d?>c</a>":                                "abc",
		"<é:a xmlns:é='x'>\U0001F600</é:a>":                          "\U0001F600",
		"<?xml version='1.0' encoding='utf-8'?><a/>\n<!-- after -->": "",
	} {
		e := parse(t, in)
		if e.Text() != want {
			t.Errorf("%s: %q, want %q", in, e.Text(), want)
		}
		if again := parse(t, e.String()); !again.Equal(e) {
			t.Errorf("%s is written as %s", in, e)
		}
	}
	e := parse(t, "<a b='1\t2\n3&#10;4&#9;' c='\"'/>")
	if v, _ := e.Attr("", "b"); v != "1 2 3\n4\t" {
		t.Errorf("%q", v)
	}
	if again := parse(t, e.String()); !again.Equal(e) {
		t.Error(e)
	}
}

func TestRefused(t *testing.T) {
	deep := strings.Repeat("<a>", 33) + strings.Repeat("</a>", 33)
	for _, c := range []struct {
		in    string
		cause error
	}{
		{"", ErrMalformed}, {"x", ErrMalformed}, {"<a>", ErrMalformed}, {"<a></b>", ErrMalformed}, {"<a></ab>", ErrMalformed},
		{"<a/><b/>", ErrMalformed}, {"<a/>x", ErrMalformed}, {"</a>", ErrMalformed}, {"<a", ErrMalformed}, {"<", ErrMalformed},
		{"<a b/>", ErrMalformed}, {"<a b=c/>", ErrMalformed}, {"<a b='c/>", ErrMalformed}, {"<a b='<'/>", ErrMalformed},
		{"<a b='1' b='2'/>", ErrMalformed}, {"<a b='1'c='2'/>", ErrMalformed},
		{"<a xmlns:x='u' xmlns:y='u' x:b='1' y:b='2'/>", ErrMalformed},
		{"<x:a/>", ErrMalformed}, {"<a x:b='1'/>", ErrMalformed}, {"<a:b:c xmlns:a='u'/>", ErrMalformed},
		{"<:a/>", ErrMalformed}, {"<a:/>", ErrMalformed}, {"<1a/>", ErrMalformed}, {"<a xmlns:x=''/>", ErrMalformed},
		{"<a xmlns:xmlns='u'/>", ErrMalformed}, {"<a xmlns:xml='u'/>", ErrMalformed}, {"<a xmlns='" + XMLSpace + "'/>", ErrMalformed},
		{"<a xmlns:x='u' xmlns:x='v'/>", ErrMalformed}, {"<xmlns:a/>", ErrMalformed},
		{"<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>", ErrMalformed}, {"<!DOCTYPE a SYSTEM 'http://example.com/'><a/>", ErrMalformed},
		{"<a>&e;</a>", ErrMalformed}, {"<a>&</a>", ErrMalformed}, {"<a>&#0;</a>", ErrMalformed}, {"<a>&#xD800;</a>", ErrMalformed},
		{"<a>&#x110000;</a>", ErrMalformed}, {"<a>&#;</a>", ErrMalformed}, {"<a>]]></a>", ErrMalformed},
		{"<a>\x00</a>", ErrMalformed}, {"<a>\uFFFE</a>", ErrMalformed}, {"<a><!-- -- --></a>", ErrMalformed}, {"<a><!-- ", ErrMalformed},
		{"<a><![CDATA[</a>", ErrMalformed}, {"<![CDATA[x]]><a/>", ErrMalformed}, {" <?xml version='1.0'?><a/>", ErrMalformed},
		{"<?xml?><a/>", ErrMalformed}, {"<?xml version='1.1'?><a/>", ErrMalformed}, {"<a><?xml version='1.0'?></a>", ErrMalformed},
		{"<a><?p</a>", ErrMalformed}, {"<a><?></a>", ErrMalformed},
		{"<?xml version='1.0' encoding='ISO-8859-1'?><a/>", ErrEncoding}, {"<a>\xff</a>", ErrEncoding}, {"\xfe\xff\x00<\x00a", ErrEncoding},
		{deep, ErrLimit}, {"<a>" + strings.Repeat("<b/>", 4096) + "</a>", ErrLimit}, {"<a>" + strings.Repeat("x", 64<<10) + "</a>", ErrLimit},
		{"<" + strings.Repeat("a", 300) + "/>", ErrLimit}, {"<a " + strings.Repeat("b='' ", 65) + "/>", ErrLimit},
	} {
		_, err := Parse([]byte(c.in), Limits{})
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !errors.Is(err, c.cause) {
			t.Errorf("%.60q: %v, want %v", c.in, err, c.cause)
		}
	}
	_, err := Parse([]byte("<a>\n  <é x=1/>"), Limits{})
	if err == nil || err.Error() != "xml line 2 column 8: attribute value without quotes" {
		t.Error(err)
	}
}

func TestParseIn(t *testing.T) {
	scope := parse(t, `<a xmlns="u" xmlns:p="v"><b xmlns:q="w"/></a>`).Child("u", "b")
	e, err := ParseIn([]byte(`<p:c q:d="1"><e/></p:c>`), Limits{}, scope)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Is("v", "c") || e.Child("u", "e") == nil {
		t.Error(e)
	}
	scope.Append(e)
	if got := string(e.AppendInPlace(nil)); got != `<p:c q:d="1"><e/></p:c>` {
		t.Error(got)
	}
	alone := e.Clone()
	if again := parse(t, alone.String()); !again.Equal(e) {
		t.Error(alone)
	}
	if s, ok := alone.LookupNamespace("q"); s != "w" || !ok {
		t.Error(s)
	}
}

// TestMoved writes subtrees where their prefixes mean something else.
func TestMoved(t *testing.T) {
	from := parse(t, `<a xmlns="u" xmlns:p="v" xmlns:q="w"><p:b q:x="1" p:y="2"><c/><d xmlns=""/></p:b></a>`)
	for _, to := range []string{
		`<z/>`, `<z xmlns="other"/>`, `<z xmlns:p="other" xmlns:q="v" xmlns:ns1="n"/>`, `<q:z xmlns="v" xmlns:q="u"/>`,
	} {
		target := parse(t, to)
		moved := from.Child("v", "b").copy()
		target.Append(moved)
		again := parse(t, target.String())
		if !again.Equal(target) {
			t.Errorf("into %s: %s", to, target)
		}
		if alone := parse(t, string(moved.AppendTo(nil))); !alone.Equal(moved) {
			t.Errorf("alone: %s", alone)
		}
	}
	e := New("u", "", "a")
	e.Decls = []Decl{{"", "v"}}
	e.SetAttr("w", "x", "1")
	e.Append(New("v", "", "b"))
	if again := parse(t, e.String()); !again.Equal(e) {
		t.Error(e)
	}
}

func TestEqual(t *testing.T) {
	a := parse(t, `<a xmlns="u" x="1" y="2"><b/> <c>t</c></a>`)
	for s, want := range map[string]bool{
		`<p:a xmlns:p="u" y="2" x="1"><!-- c --><p:b/> <p:c>t</p:c></p:a>`: true,
		`<a xmlns="u" x="1" y="2"><b/> <c> t</c></a>`:                      false,
		`<a xmlns="u" x="1"><b/> <c>t</c></a>`:                             false,
		`<a xmlns="u" x="1" y="3"><b/> <c>t</c></a>`:                       false,
		`<a xmlns="v" x="1" y="2"><b/> <c>t</c></a>`:                       false,
		`<a xmlns="u" x="1" y="2"><b/> <c>t</c><d/></a>`:                   false,
		`<a xmlns="u" x="1" y="2"><b/> <c>t</c>.</a>`:                      false,
	} {
		if b := parse(t, s); a.Equal(b) != want || b.Equal(a) != want {
			t.Errorf("%s: not %v", s, want)
		}
	}
	b := parse(t, `<a xmlns="u" x="1" y="2"><b/><c>t</c></a>`)
	if a.Equal(b) || !a.EqualIgnoringSpace(b) {
		t.Error("white space")
	}
}

func TestChange(t *testing.T) {
	e := parse(t, `<a><b/><c/></a>`)
	b, c := e.Child("", "b"), e.Child("", "c")
	d := New("", "", "d")
	if !e.Replace(b, d) || d.Parent != e || b.Parent != nil || e.Replace(b, d) {
		t.Error(e)
	}
	if !e.Remove(c) || e.Remove(c) || c.Parent != nil {
		t.Error(e)
	}
	e.InsertAt(0, c)
	e.SetAttr("", "x", "1")
	e.SetAttr("", "x", "2")
	d.SetText("<")
	if got := e.String(); got != `<a x="2"><c/><d>&lt;</d></a>` {
		t.Error(got)
	}
	if !e.RemoveAttr("", "x") || e.RemoveAttr("", "x") {
		t.Error(e)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(pidf))
	f.Add([]byte("<a b='&#10;'>&amp;<![CDATA[x]]><!-- --><?p q?></a>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Parse(b, Limits{})
		if err != nil {
			return
		}
		again, err := Parse(e.AppendTo(nil), Limits{Bytes: 1 << 20})
		if err != nil || !again.Equal(e) {
			t.Fatalf("%q is written as %q: %v", b, e, err)
		}
		d := xml.NewDecoder(strings.NewReader(string(b)))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return // it knows no names with combining characters, and is stricter elsewhere
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.SetBytes(int64(len(pidf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse([]byte(pidf), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncodingXML is what the own tokenizer is measured against.
func BenchmarkEncodingXML(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		d := xml.NewDecoder(strings.NewReader(pidf))
		for {
			if _, err := d.Token(); err != nil {
				break
			}
		}
	}
}

func BenchmarkAppendTo(b *testing.B) {
	e, _ := Parse([]byte(pidf), Limits{})
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendTo(buf[:0])
	}
}
